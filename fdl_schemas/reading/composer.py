"""From YAML's events to a document.

The events are put together here, in one loop without recursion, with limits on depth and on the number of
values (aliases counted as often as they expand); PyYAML's own composer recurses in C, and its constructor
drops positions and keeps the last of two equal keys.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

import yaml

from fdl_schemas.diagnostics.diagnostic import Diagnostic, FdlError, Position, quoted
from fdl_schemas.reading.document import Document, DocumentNode, is_secret
from fdl_schemas.reading.scalars import kind_of, plain_value
from fdl_schemas.reading.syntax import syntax_problem

MAX_DEPTH: Final = 50
MAX_VALUES: Final = 100_000
"""Of keys, scalars and collections, aliases expanded: some 500 functions use a third of it."""

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # ten times faster where libyaml is there
_STANDARD_TAG = "tag:yaml.org,2002:"
_PROBLEMS_AT_MOST: Final = 100


def compose(text: str, file: str) -> Document:
    """Parses one YAML document; `file` is its name in diagnostics.

    Raises:
        FdlError: the text is no YAML, is empty, too deep or too large, or uses what FDL does not allow.
    """
    return _Composer(file, text).compose()


class _Open:
    """A collection that is being read."""

    __slots__ = ("anchor", "is_map", "key", "merges", "node")

    def __init__(self, node: DocumentNode, is_map: bool, anchor: str | None) -> None:
        self.node = node
        self.is_map = is_map
        self.anchor = anchor
        self.key: DocumentNode | None = None
        self.merges: list[tuple[Position, DocumentNode]] = []


class _Composer:
    """Puts the events of one YAML document together."""

    def __init__(self, file: str, text: str) -> None:
        self._document = Document(file, text, DocumentNode(None, 1, 1))
        self._text = text
        self._open: list[_Open] = []
        # None while the anchored collection is still being read.
        self._anchors: dict[str, DocumentNode | None] = {}
        self._root: DocumentNode | None = None
        self._problems: list[Diagnostic] = []
        self._values = 0

    def compose(self) -> Document:
        documents = 0
        try:
            for event in yaml.parse(self._text, Loader=_LOADER):
                if isinstance(event, yaml.DocumentStartEvent):
                    documents += 1
                    if documents > 1:
                        self._fail(
                            "FDL007",
                            "a second document starts here",
                            replace(_position(event), length=3),
                            expected="one document",
                            help="put each workflow into a file of its own, or remove the `---`",
                        )
                elif isinstance(event, yaml.NodeEvent):
                    self._take_node(event)
                elif isinstance(event, (yaml.SequenceEndEvent, yaml.MappingEndEvent)):
                    self._close()
        except yaml.YAMLError as error:
            self._problems.append(syntax_problem(error, self._text, self._document))
        if self._problems:
            raise FdlError(self._problems)
        if self._root is None or self._root.data is None:
            problem = Diagnostic(
                "FDL006",
                "the file is empty",
                self._document.file,
                expected="a map with the key `functions`",
                help="start from one of the examples, or run `scar validate` on another file",
            )
            raise FdlError([problem])
        self._document.root = self._root
        return self._document

    # Nodes

    def _take_node(self, event: Any) -> None:
        position = _position(event)
        if isinstance(event, yaml.AliasEvent):
            node = self._resolve_alias(event, position)
        else:
            node = DocumentNode(None, position.line, position.column, position.length)
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

    def _place(self, node: DocumentNode) -> None:
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

    def _put(self, parent: _Open, key: DocumentNode, value: DocumentNode) -> None:
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

    def _merge(self, target: DocumentNode, position: Position, merged: DocumentNode) -> None:
        """`<<: *anchor`: keys that the map has itself win, then those of the first map merged."""
        sources = list(merged.children.values()) if isinstance(merged.data, list) else [merged]
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

    def _resolve_alias(self, event: Any, position: Position) -> DocumentNode:
        if event.anchor not in self._anchors:
            self._fail(
                "FDL010",
                f"there is no anchor {self._shown('&' + event.anchor)} above this line",
                position,
                expected="the name of an anchor that stands earlier in the file",
                help="a text that starts with `*` has to be quoted",
            )
        node = self._anchors[event.anchor]
        if node is None:
            self._fail(
                "FDL010",
                f"{self._shown('*' + event.anchor)} stands inside the value that it names",
                position,
                expected="a value that ends",
                help="remove the alias",
            )
        assert node is not None  # noqa: S101 - _fail raises
        return node

    def _read_scalar(self, event: Any, node: DocumentNode) -> None:
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

    def _check_size(self, values: int, node: DocumentNode) -> None:
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
            f"the tag {self._shown(shown)} cannot be used here",
            position,
            expected="a plain value",
            help="remove the tag; a text that starts with `!` has to be quoted",
        )

    def _shown(self, name: str) -> str:
        """The name of an anchor or tag in a message: a secret may start with `*` or `!`."""
        is_part_of_secret = any(
            collection.key is not None and is_secret(collection.key.text or "") for collection in self._open
        )
        return quoted(f"{name[0]}***" if is_part_of_secret else name)

    def _report_key(self, key: DocumentNode) -> None:
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

    def _report(self, code: str, message: str, position: Position, *, expected: str, help: str) -> None:
        if len(self._problems) < _PROBLEMS_AT_MOST:
            self._problems.append(
                self._document.diagnostic(code, message, position, expected=expected, help=help)
            )

    def _fail(self, code: str, message: str, position: Position, *, expected: str, help: str) -> None:
        """Reports a problem after which reading on makes no sense."""
        self._report(code, message, position, expected=expected, help=help)
        raise FdlError(self._problems)


def _position(event: Any) -> Position:
    start, end = event.start_mark, event.end_mark
    length = max(1, end.column - start.column) if start.line == end.line else 1
    return Position(start.line + 1, start.column + 1, length)
