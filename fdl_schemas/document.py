"""A parsed file: plain data, and for each path in it the place in the text.

`composer` makes documents; everybody after it asks them where a key or a value stands, and makes diagnostics
there.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, Final

from fdl_schemas.diagnostics import Diagnostic, Position, Severity

PathInFile = tuple[str | int, ...]
"""Keys and indexes that lead from the top of the file to a value."""

_LINE_END = re.compile("\r\n|[\n\r\x85\u2028\u2029]")  # what YAML 1.1 takes for the end of a line


def lines_of(text: str) -> list[str]:
    """The lines of a text, as YAML counts them."""
    return _LINE_END.split(text)


# Diagnostics end up in logs of CI systems and in code hosts: no secret goes there with its line. A reference
# to a secret stays.
SECRET_KEYS: Final = ("access_key", "secret_key", "password", "token")
"""Keys whose values are not shown."""
_SECRET_VALUE: Final = re.compile(rf"""(\b(?:{"|".join(SECRET_KEYS)})["']?\s*:\s*)(?!["']?\$\{{)(\S.*)""")


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
        self._lines = lines_of(text)

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
            source_line=_SECRET_VALUE.sub(lambda found: found[1] + "*" * len(found[2]), line),
            expected=expected,
            help=help,
            severity=severity,
        )
