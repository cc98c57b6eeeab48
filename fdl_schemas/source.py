"""From the bytes of a file to plain data, with the place of every key and value.

The file is hostile until proven otherwise: it may be a picture, 10 MB long, nested a thousand times, or eight
lines of anchors that expand to gigabytes. So the YAML *events* are put together here, in one loop without
recursion, with limits on size, depth and number of values (aliases counted as often as they expand); PyYAML's
own composer recurses in C, and its constructor drops positions and keeps the last of two equal keys.

Values are read as SCAR's PyYAML read them, apart from what surprises people: dates, `12:30` and `0777` stay
text. What YAML 1.1 takes for a boolean (`on`, `yes`) is one, but remembers its spelling, so that the schema's
station can say what happened where text was wanted.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import yaml

from fdl_schemas.diagnostics import Diagnostic, FdlError, Position, Severity, quoted

PathInFile = tuple[str | int, ...]
"""Keys and indexes that lead from the top of the file to a value."""

MAX_BYTES: Final = 1024 * 1024
MAX_DEPTH: Final = 50
MAX_VALUES: Final = 100_000
"""Of keys, scalars and collections, aliases expanded: some 500 functions use a third of it."""

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # ten times faster where libyaml is there
_LINE_END = re.compile("\r\n|[\n\r\x85\u2028\u2029]")  # what YAML 1.1 takes for the end of a line
_STANDARD_TAG = "tag:yaml.org,2002:"

_BOOLEANS: Final = {
    spelling: value
    for words, value in ((("yes", "true", "on"), True), (("no", "false", "off"), False))
    for word in words
    for spelling in (word, word.capitalize(), word.upper())
}
_NULLS: Final = frozenset({"", "~", "null", "Null", "NULL"})
_INTEGER = re.compile(r"[-+]?(?:0|[1-9][0-9_]{0,30})")
_HEXADECIMAL = re.compile(r"0x[0-9a-fA-F]{1,16}")
_FLOAT = re.compile(
    r"[-+]?(?:[0-9]{1,30}\.[0-9]{0,30}|\.[0-9]{1,30}|[0-9]{1,30}(?=[eE]))(?:[eE][-+]?[0-9]{1,3})?"
)


@dataclass(slots=True, eq=False)
class Node:
    """A value of the file and where it stands."""

    data: Any
    line: int
    column: int
    length: int = 1
    text: str | None = None
    """Of a scalar: as it was written, without quotes."""
    quoted: bool = False
    """Of a scalar: whether it was written in quotes."""
    size: int = 1
    """How many values it holds, aliases expanded, itself included."""
    height: int = 1
    """How deep it is nested, itself included."""
    children: dict[str | int, Node] = field(default_factory=dict)
    keys: dict[str | int, Position] = field(default_factory=dict)
    """Of a map: where its keys stand."""

    @property
    def position(self) -> Position:
        """Where the value stands."""
        return Position(self.line, self.column, self.length)


class Document:
    """A parsed FDL file: `data`, and for each path in it the place in the text."""

    def __init__(self, file: str, text: str, root: Node) -> None:
        self.file = file
        self.root = root
        self._lines = _LINE_END.split(text)

    @property
    def data(self) -> Any:
        """The file as plain maps, lists and scalars."""
        return self.root.data

    def node(self, path: PathInFile) -> Node:
        """The value at a path, or the nearest one above it that exists."""
        node = self.root
        for step in path:
            child = node.children.get(step)
            if child is None:
                break
            node = child
        return node

    def value_position(self, path: PathInFile) -> Position:
        """Where the value at `path` starts."""
        return self.node(path).position

    def key_position(self, path: PathInFile) -> Position:
        """Where the key that leads to `path` stands; of an entry of a list, where the entry starts."""
        if not path:
            return self.root.position
        parent = self.node(path[:-1])
        return parent.keys.get(path[-1]) or self.value_position(path)

    def diagnostic(
        self,
        code: str,
        message: str,
        position: Position,
        *,
        expected: str | None = None,
        help: str | None = None,
        severity: Severity = Severity.ERROR,
    ) -> Diagnostic:
        """A diagnostic at a place of this file, with the source line."""
        line = self._lines[position.line - 1] if position.line <= len(self._lines) else ""
        return Diagnostic(
            code=code,
            message=message,
            file=self.file,
            line=position.line,
            column=position.column,
            length=position.length,
            source_line=line,
            expected=expected,
            help=help,
            severity=severity,
        )


def read(path: str | Path) -> Document:
    """Reads and parses one file.

    Raises:
        FdlError: the file cannot be read, is no text, no YAML, empty, too large, or uses YAML in a way that
        FDL does not allow.
    """
    return parse(_read_bytes(path), str(path))


def parse(content: bytes, file: str) -> Document:
    """Parses the content of a file; `file` is its name in diagnostics. Raises FdlError as `read` does."""
    if len(content) > MAX_BYTES:
        raise FdlError(
            [
                Diagnostic(
                    "FDL003",
                    f"the file has {len(content):,} bytes",
                    file,
                    expected=f"at most {MAX_BYTES:,} bytes",
                    help="split the workflow into several FDL files",
                )
            ]
        )
    text = _decode(content, file)
    return _Composer(file, text).compose()


def _read_bytes(path: str | Path) -> bytes:
    file = str(path)
    reason: str
    try:
        target = Path(path)
        if target.exists() and not target.is_file():
            # A pipe or a device would block or never end.
            reason = "it is a folder" if target.is_dir() else "it is not a regular file"
            advice = "give the path of an FDL file, such as workflow.yaml"
        else:
            with target.open("rb") as stream:
                return stream.read(MAX_BYTES + 1)
    except FileNotFoundError:
        reason, advice = "there is no such file", "check the path; it is relative to the current folder"
    except PermissionError:
        reason, advice = "permission denied", "make the file readable"
    except (OSError, ValueError, RuntimeError) as error:
        # RuntimeError: a loop of symbolic links. ValueError: a NUL byte in the path.
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        reason, advice = reason[:1].lower() + reason[1:], "check the path"
    raise FdlError([Diagnostic("FDL001", f"cannot read the file: {reason}", file, help=advice)])


def _decode(content: bytes, file: str) -> str:
    advice = "save the file as UTF-8 text"
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise FdlError([Diagnostic("FDL002", "the file is UTF-16", file, expected="UTF-8 text", help=advice)])
    if b"\0" in content:
        message = "the file is binary: it holds NUL bytes"
        raise FdlError([Diagnostic("FDL002", message, file, expected="UTF-8 text", help="give an FDL file")])
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = content[: error.start].decode("utf-8-sig", "replace")
        lines = _LINE_END.split(before)
        rest = content[error.start : error.start + 200].decode("utf-8", "replace")
        raise FdlError(
            [
                Diagnostic(
                    "FDL002",
                    f"the file is not UTF-8: byte 0x{content[error.start]:02x} cannot stand here",
                    file,
                    len(lines),
                    len(lines[-1]) + 1,
                    source_line=lines[-1] + _LINE_END.split(rest)[0],
                    expected="UTF-8 text",
                    help=advice,
                )
            ]
        ) from None


class _Open:
    """A collection that is being read."""

    __slots__ = ("anchor", "children", "is_map", "key", "merges", "node")

    def __init__(self, node: Node, is_map: bool, anchor: str | None) -> None:
        self.node = node
        self.is_map = is_map
        self.anchor = anchor
        self.key: Node | None = None
        self.merges: list[tuple[Position, Node]] = []


class _Composer:
    """Puts the events of one YAML document together."""

    def __init__(self, file: str, text: str) -> None:
        self._document = Document(file, text, Node(None, 1, 1))
        self._text = text
        self._open: list[_Open] = []
        self._anchors: dict[str, Node | None] = {}  # None while the anchored collection is still being read
        self._root: Node | None = None
        self._problems: list[Diagnostic] = []
        self._values = 0

    def compose(self) -> Document:
        documents = 0
        try:
            for event in self._events():
                if isinstance(event, yaml.DocumentStartEvent):
                    documents += 1
                    if documents > 1:
                        self._refuse_second_document(event)
                elif isinstance(event, yaml.NodeEvent):
                    self._take_node(event)
                elif isinstance(event, (yaml.SequenceEndEvent, yaml.MappingEndEvent)):
                    self._close()
        except yaml.YAMLError as error:
            self._problems.append(self._syntax_problem(error))
        if self._problems:
            raise FdlError(self._problems)
        if self._root is None or self._root.data is None:
            raise FdlError(
                [
                    Diagnostic(
                        "FDL006",
                        "the file is empty",
                        self._document.file,
                        expected="a map with the key `functions`",
                        help="start from one of the examples, or run `scar validate` on another file",
                    )
                ]
            )
        self._document.root = self._root
        return self._document

    def _events(self) -> Iterator[Any]:
        return iter(yaml.parse(self._text, Loader=_LOADER))

    # Nodes

    def _take_node(self, event: Any) -> None:
        position = _position(event)
        if isinstance(event, yaml.AliasEvent):
            node = self._resolve_alias(event, position)
        else:
            node = Node(None, position.line, position.column, position.length)
            anchor = event.anchor
            if isinstance(event, yaml.ScalarEvent):
                self._read_scalar(event, node)
                if anchor is not None:
                    self._anchors[anchor] = node
            else:
                is_map = isinstance(event, yaml.MappingStartEvent)
                self._check_collection_tag(event, is_map, position)
                node.data = {} if is_map else []
                if anchor is not None:
                    self._anchors[anchor] = None
                self._open.append(_Open(node, is_map, anchor))
                if len(self._open) > MAX_DEPTH:
                    self._refuse_depth(position)
                return
        self._place(node)

    def _close(self) -> None:
        finished = self._open.pop()
        for position, merged in finished.merges:
            self._merge(finished.node, position, merged)
        if finished.anchor is not None:
            self._anchors[finished.anchor] = finished.node
        self._place(finished.node)

    def _place(self, node: Node) -> None:
        """Puts a finished node into the collection that is open, or makes it the root."""
        # Checked while the tree grows, so that no bomb of aliases is ever expanded. An alias costs as much as
        # the value that it names: walking over the data later on does.
        self._check_size(self._values + 1, node)
        self._values += 1
        if not self._open:
            self._root = node
            return
        if node.height + len(self._open) > MAX_DEPTH:
            self._refuse_depth(node.position)
        parent = self._open[-1]
        parent.node.size += node.size
        self._check_size(parent.node.size, node)
        parent.node.height = max(parent.node.height, node.height + 1)
        if not parent.is_map:
            index = len(parent.node.data)
            parent.node.data.append(node.data)
            parent.node.children[index] = node
        elif parent.key is None:
            parent.key = node
        else:
            key, parent.key = parent.key, None
            self._put(parent, key, node)

    def _put(self, parent: _Open, key: Node, value: Node) -> None:
        if key.text == "<<" and not key.quoted:
            parent.merges.append((key.position, value))
            return
        if key.text is None or not isinstance(key.data, str):
            self._report_key(key)
            return
        name = key.data
        if name in parent.node.keys:
            first = parent.node.keys[name]
            self._report(
                "FDL008",
                f"key {quoted(name)} is given twice",
                key.position,
                expected="each key once",
                help=f"it is already in line {first.line}; keep one of the two",
            )
            return
        parent.node.data[name] = value.data
        parent.node.children[name] = value
        parent.node.keys[name] = key.position

    def _merge(self, target: Node, position: Position, merged: Node) -> None:
        """`<<: *anchor`: keys that the map has itself win, then those of the first map merged."""
        sources = [merged] if isinstance(merged.data, dict) else list(merged.children.values())
        if not all(isinstance(source.data, dict) for source in sources):
            self._report(
                "FDL010",
                "the merge key `<<` does not name a map",
                position,
                expected="`<<: *anchor`, where the anchor stands at a map, or a list of such",
                help="put the anchor (`&name`) at a map",
            )
            return
        for source in sources:
            for name, child in source.children.items():
                if name not in target.keys:
                    target.data[name] = child.data
                    target.children[name] = child
                    target.keys[name] = source.keys[name]

    def _resolve_alias(self, event: Any, position: Position) -> Node:
        if event.anchor not in self._anchors:
            self._fail(
                "FDL010",
                f"there is no anchor {quoted('&' + event.anchor)} above this line",
                position,
                expected="the name of an anchor that stands earlier in the file",
                help="a text that starts with `*` has to be quoted",
            )
        node = self._anchors[event.anchor]
        if node is None:
            self._fail(
                "FDL010",
                f"{quoted('*' + event.anchor)} stands inside the value that it names",
                position,
                expected="a value that ends",
                help="remove the alias",
            )
        assert node is not None  # noqa: S101 - _fail raises
        return node

    def _read_scalar(self, event: Any, node: Node) -> None:
        text: str = event.value
        node.text = text
        node.quoted = not event.implicit[0]  # only a plain scalar has its type guessed
        tag = event.tag
        if tag is None or tag == "!":
            node.data = text if node.quoted or tag == "!" else plain_value(text)
            return
        kind = tag.removeprefix(_STANDARD_TAG) if tag.startswith(_STANDARD_TAG) else None
        value = plain_value(text)
        if kind == "str":
            node.data, node.quoted = text, True
        elif (
            (kind == "int" and isinstance(value, int) and not isinstance(value, bool))
            or (kind == "float" and isinstance(value, (int, float)) and not isinstance(value, bool))
            or (kind == "bool" and isinstance(value, bool))
            or (kind == "null" and value is None)
        ):
            node.data = value
        else:
            self._refuse_tag(tag, node.position)

    def _check_collection_tag(self, event: Any, is_map: bool, position: Position) -> None:
        if event.tag not in (None, "!", _STANDARD_TAG + ("map" if is_map else "seq")):
            self._refuse_tag(event.tag, position)

    # Limits and problems

    def _check_size(self, values: int, node: Node) -> None:
        if values > MAX_VALUES:
            self._fail(
                "FDL003",
                "the file has too many values, aliases counted as often as they are used",
                node.position,
                expected=f"at most {MAX_VALUES:,} keys and values",
                help="split the workflow into several FDL files",
            )

    def _refuse_depth(self, position: Position) -> None:
        self._fail(
            "FDL003",
            "the file is nested too deeply",
            position,
            expected=f"at most {MAX_DEPTH} levels",
            help="an FDL file needs about 8 levels; look for brackets or dashes that do not belong here",
        )

    def _refuse_tag(self, tag: str, position: Position) -> None:
        shown = tag.replace(_STANDARD_TAG, "!!")
        self._report(
            "FDL010",
            f"the tag {quoted(shown)} cannot be used here",
            position,
            expected="a plain value",
            help="remove the tag; a text that starts with `!` has to be quoted",
        )

    def _refuse_second_document(self, event: Any) -> None:
        self._fail(
            "FDL007",
            "a second document starts here",
            Position(event.start_mark.line + 1, event.start_mark.column + 1, 3),
            expected="one document",
            help="put each workflow into a file of its own, or remove the `---`",
        )

    def _report_key(self, key: Node) -> None:
        if key.text is None:
            what, advice = "a list or a map", "write the key as plain text"
        elif key.data is None:
            what, advice = "empty", "write the key before the `:`"
        else:
            what, advice = (
                f"{quoted(key.text)}, which YAML reads as {kind_of(key.data)}",
                f'quote it: "{key.text}"',
            )
        self._report("FDL009", f"the key is {what}", key.position, expected="text as the key", help=advice)

    def _syntax_problem(self, error: yaml.YAMLError) -> Diagnostic:
        mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
        problem = str(getattr(error, "problem", None) or getattr(error, "reason", None) or "cannot be read")
        lines = _LINE_END.split(self._text)
        if mark is None:
            offset = getattr(error, "position", 0)
            before = _LINE_END.split(self._text[: offset if isinstance(offset, int) else 0])
            position = Position(len(before), len(before[-1]) + 1)
        else:
            position = Position(min(mark.line, len(lines) - 1) + 1, mark.column + 1)
        line = lines[position.line - 1]
        indentation = line[: len(line) - len(line.lstrip())]
        if "\t" in indentation or line[position.column - 1 : position.column] == "\t":
            column = line.index("\t") + 1
            return self._document.diagnostic(
                "FDL005",
                "a tab indents this line",
                Position(position.line, column),
                expected="spaces",
                help="YAML is indented by spaces alone; set the editor to insert spaces",
            )
        return self._document.diagnostic(
            "FDL004",
            f"not YAML: {problem.replace(chr(10), ' ')}",
            position,
            expected="a YAML document",
            help=_syntax_advice(problem, error),
        )

    def _report(self, code: str, message: str, position: Position, *, expected: str, help: str) -> None:
        if len(self._problems) < _PROBLEMS_AT_MOST:
            self._problems.append(
                self._document.diagnostic(code, message, position, expected=expected, help=help)
            )

    def _fail(self, code: str, message: str, position: Position, *, expected: str, help: str) -> None:
        """Reports a problem after which reading on makes no sense."""
        self._report(code, message, position, expected=expected, help=help)
        raise FdlError(self._problems)


_PROBLEMS_AT_MOST = 100


def plain_value(text: str) -> str | int | float | bool | None:
    """What a scalar without quotes means."""
    if text in _NULLS:
        return None
    if text in _BOOLEANS:
        return _BOOLEANS[text]
    if text[0] in "+-.0123456789":
        if _INTEGER.fullmatch(text):
            return int(text.replace("_", ""))
        if _HEXADECIMAL.fullmatch(text):
            return int(text, 16)
        if _FLOAT.fullmatch(text):
            value = float(text)
            return text if value in (float("inf"), float("-inf")) else value
    return text


def kind_of(value: object) -> str:
    """The type of a value in a person's words, with its article."""
    kinds: Mapping[type, str] = {
        bool: "a boolean",
        int: "a number",
        float: "a number",
        str: "text",
        list: "a list",
        dict: "a map",
    }
    return kinds.get(type(value), "nothing")


def _position(event: Any) -> Position:
    start, end = event.start_mark, event.end_mark
    length = max(1, end.column - start.column) if start.line == end.line else 1
    return Position(start.line + 1, start.column + 1, length)


def _syntax_advice(problem: str, error: yaml.YAMLError) -> str:
    context = str(getattr(error, "context", "") or "")
    if "mapping values are not allowed" in problem:
        return "check the indentation of this line and the one above; quote a text that holds `: `"
    if "could not find expected ':'" in problem:
        return "a key needs a `:` and a space after it"
    if "quoted scalar" in context:
        return "close the quotes"
    if "flow" in context:
        return "close the bracket or brace, and put a comma between entries"
    if "special characters" in problem or "control characters" in problem:
        return "remove the invisible control character"
    return "check the indentation and the punctuation of this line"
