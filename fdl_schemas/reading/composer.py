"""From YAML's events to a document.

One loop without recursion composes the events, with limits on depth and on the number of values (each use of
an alias counts). PyYAML's own composer recurses in C, and its constructor drops positions and keeps the last
of two equal keys.
"""

from __future__ import annotations

from typing import Any, Final, Unpack

import yaml

from fdl_schemas.diagnostics.diagnostic import Details, Diagnostic, FdlError, Position, quoted
from fdl_schemas.reading import lookalikes
from fdl_schemas.reading.document import Document, DocumentNode, is_secret
from fdl_schemas.reading.other_formats import other_format
from fdl_schemas.reading.scalars import kind_of, plain_value
from fdl_schemas.reading.syntax import lookalike_problem, syntax_problem

MAX_DEPTH: Final = 50
MAX_VALUES: Final = 100_000
"""Keys, scalars and collections, aliases expanded. About 500 functions use a third of it."""

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # ten times faster with libyaml
_STANDARD_TAG = "tag:yaml.org,2002:"
_PROBLEMS_AT_MOST: Final = 100


def compose(text: str, file: str) -> Document:
    """Parses one YAML document; `file` is its name in diagnostics.

    Raises:
        FdlError: the text is not YAML, is empty, too deep or too large, or uses YAML in a way that FDL does
        not allow.
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
    """Composes the events of one YAML document."""

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
                            "a second YAML document starts here",
                            _position(event)._replace(length=3),
                            expected="one document per file",
                            help="put each workflow in its own file, or remove the `---`",
                        )
                elif isinstance(event, yaml.NodeEvent):
                    self._take_node(event)
                elif isinstance(event, (yaml.SequenceEndEvent, yaml.MappingEndEvent)):
                    self._close()
        except yaml.YAMLError as error:
            problem = syntax_problem(error, self._text, self._document)
            if problem not in self._problems:
                self._problems.append(problem)
        if other := other_format(self._text, self._root, self._document):
            raise FdlError([other])
        if self._problems:
            raise FdlError(self._problems)
        if self._root is None or self._root.data is None:
            empty = Diagnostic(
                "FDL006",
                "the file is empty",
                self._document.file,
                expected="a map with the key `functions`",
                help="`scar new NAME` creates an FDL file to start from",
            )
            raise FdlError([empty])
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
        """Adds a finished node to the open collection, or makes it the root."""
        # Checked while the tree grows, so that a "billion laughs" file is never expanded. An alias costs as
        # much as the value that it names, because later code walks over the data.
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
                f"duplicate key {quoted(name)}",
                key.position,
                expected="each key only once",
                help=f"the same key is on line {first.line}; remove one of the two",
            )
            return
        parent.node.data[name] = value.data
        parent.node.children[name] = value
        parent.node.keys[name] = key.position

    def _merge(self, target: DocumentNode, position: Position, merged: DocumentNode) -> None:
        """`<<: *anchor`: the map's own keys take precedence, then those of the first merged map."""
        sources = list(merged.children.values()) if isinstance(merged.data, list) else [merged]
        if not all(isinstance(source.data, dict) for source in sources):
            self._report(
                "FDL010",
                "the merge key `<<` does not name a map",
                position,
                expected="`<<: *name`, where `&name` marks a map, or a list of such aliases",
                help="put the anchor (`&name`) before a map",
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
                f"the anchor {self._shown('&' + event.anchor)} is not defined above this line",
                position,
                expected="an anchor that is defined earlier in the file",
                help="quote text that starts with `*`",
            )
        node = self._anchors[event.anchor]
        if node is None:
            self._fail(
                "FDL010",
                f"the alias {self._shown('*' + event.anchor)} is inside the value that it names",
                position,
                expected="a value that does not contain itself",
                help="remove the alias",
            )
        assert node is not None  # noqa: S101 - _fail raises
        return node

    def _read_scalar(self, event: Any, node: DocumentNode) -> None:
        text: str = event.value
        node.text = text
        node.quoted = not event.implicit[0]  # only a plain scalar has its type guessed
        if not node.quoted and not text.isascii():
            self._check_lookalikes(text, node)
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

    def _check_lookalikes(self, text: str, node: DocumentNode) -> None:
        is_key = bool(self._open) and self._open[-1].is_map and self._open[-1].key is None
        index = lookalikes.in_plain_scalar(text, is_key=is_key)
        if index is not None and len(self._problems) < _PROBLEMS_AT_MOST:
            position = Position(node.line, node.column + index)
            self._problems.append(lookalike_problem(text[index], position, self._document))

    def _check_collection_tag(self, event: Any, is_map: bool, position: Position) -> None:
        if event.tag not in (None, "!", _STANDARD_TAG + ("map" if is_map else "seq")):
            self._refuse_tag(event.tag, position)

    # Limits and problems

    def _check_size(self, values: int, node: DocumentNode) -> None:
        if values > MAX_VALUES:
            self._fail(
                "FDL003",
                "the file has too many values (each use of an alias counts)",
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
            help="an FDL file needs about 8 levels; look for extra brackets or dashes",
        )

    def _refuse_tag(self, tag: str, position: Position) -> None:
        shown = tag.replace(_STANDARD_TAG, "!!")
        self._report(
            "FDL010",
            f"the tag {self._shown(shown)} is not supported",
            position,
            expected="a plain value",
            help="remove the tag, or quote text that starts with `!`",
        )

    def _shown(self, name: str) -> str:
        """The name of an anchor or tag in a message; hidden in secrets, which may start with `*` or `!`."""
        is_part_of_secret = any(
            collection.key is not None and is_secret(collection.key.text or "") for collection in self._open
        )
        return quoted(f"{name[0]}***" if is_part_of_secret else name)

    def _report_key(self, key: DocumentNode) -> None:
        if key.text is None:
            what, advice = "a list or a map", "write the key as a plain string"
        elif key.data is None:
            what, advice = "empty", "write the key before the `:`"
        else:
            what, advice = (
                f"{quoted(key.text)}, which YAML reads as {kind_of(key.data)}",
                f'quote it: "{key.text}"',
            )
        self._report(
            "FDL009", f"the key is {what}", key.position, expected="a string as the key", help=advice
        )

    def _report(self, code: str, message: str, position: Position, **details: Unpack[Details]) -> None:
        if len(self._problems) < _PROBLEMS_AT_MOST:
            self._problems.append(self._document.diagnostic(code, message, position, **details))

    def _fail(self, code: str, message: str, position: Position, **details: Unpack[Details]) -> None:
        """Reports a problem and stops."""
        self._report(code, message, position, **details)
        raise FdlError(self._problems)


def _position(event: Any) -> Position:
    start, end = event.start_mark, event.end_mark
    length = max(1, end.column - start.column) if start.line == end.line else 1
    return Position(start.line + 1, start.column + 1, length)
