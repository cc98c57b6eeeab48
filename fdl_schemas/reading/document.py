"""A parsed file: plain data, and the place in the text of each key and value.

`composer` creates documents. The other modules look up places in them, and create diagnostics there.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import lru_cache
from typing import Any, Final, Unpack

from fdl_schemas.diagnostics.diagnostic import Details, Diagnostic, Position
from fdl_schemas.model import SECRET_SETTINGS

PathInFile = tuple[str | int, ...]
"""Keys and indexes that lead from the top of the file to a value."""

_LINE_END = re.compile("\r\n|[\n\r\x85\u2028\u2029]")  # the line breaks of YAML 1.1


def lines_of(text: str) -> list[str]:
    """The lines of a text, as YAML counts them."""
    return _LINE_END.split(text)


# Diagnostics appear in the logs of CI systems and on code hosts, so secrets in source lines are hidden. A
# reference to a secret is shown.
_SECRET_KEYS: Final = SECRET_SETTINGS - {"login"}
"""Keys whose values are not shown."""
_SECRET_WORDS: Final = ("passw", "pwd", "secret", "token", "access_key")
_LIKE_A_SECRET_KEY: Final = 0.8
_KEY: Final = re.compile(r"""(?<![\w$-])(?<!\$\{)([\w-]{1,64})(["']?)\s*:(\s*)(?!["']?\$\{)(?=\S)""")
_FIRST_KEY: Final = re.compile(r"""\s*(?:-\s+)*["']?([\w-]{1,64})["']?\s*:(?:\s|$)""")
_LOGIN: Final = re.compile(r"(://[^/\s:@]*:)([^/\s@]+)@")
_LINES_ABOVE: Final = 100


@lru_cache(maxsize=1024)
def is_secret(key: str) -> bool:
    """Whether to hide the value of a key: a secret, or probably a misspelt one (`pasword`)."""
    name = key.lower().replace("-", "_")
    return (
        name in _SECRET_KEYS
        or any(word in name for word in _SECRET_WORDS)
        or bool(get_close_matches(name, _SECRET_KEYS, n=1, cutoff=_LIKE_A_SECRET_KEY))
    )


def _without_secrets(lines: list[str], index: int) -> str:
    """A line of the file as a diagnostic shows it."""
    line = _LOGIN.sub(lambda found: found[1] + "*" * len(found[2]) + "@", lines[index])
    for found in _KEY.finditer(line):
        # Without a space after `:`, only quoted text is a key; ARNs contain many colons.
        is_key = found[2] or found[3] or found[1] in _SECRET_KEYS
        # `login: user:password` is a mistake that would show both.
        if is_key and (is_secret(found[1]) or (found[1] == "login" and ":" in line[found.end() :])):
            return line[: found.end()] + "*" * (len(line) - found.end())
    start = len(line) - len(line.lstrip())
    if _belongs_to_a_secret(lines, index) and not line[start:].lstrip("\"'").startswith("${"):
        return line[:start] + "*" * (len(line) - start)
    return line


def _belongs_to_a_secret(lines: list[str], index: int) -> bool:
    """Whether a line belongs to a secret whose key is in a line above."""
    indentation = _indentation(lines[index])
    for above in reversed(lines[max(0, index - _LINES_ABOVE) : index]):
        found = _FIRST_KEY.match(above)
        # The entries of a list may have the same indentation as their key.
        if found and found.start(1) < indentation:
            if is_secret(found[1]):
                return True
            indentation = _indentation(above)
    return False


def _indentation(line: str) -> int:
    text = line.lstrip()
    return len(line) - len(text) + (1 if text.startswith("- ") else 0)


@dataclass(slots=True, eq=False)
class DocumentNode:
    """A value of the file and its place."""

    data: Any
    line: int
    column: int
    length: int = 1
    text: str | None = None
    """A scalar as written, without quotes."""
    quoted: bool = False
    """Whether a scalar is in quotes."""
    size: int = 1
    """The number of values in it, aliases expanded, including itself."""
    height: int = 1
    """Its depth of nesting, including itself."""
    children: dict[str | int, DocumentNode] = field(default_factory=dict)
    keys: dict[str | int, Position] = field(default_factory=dict)
    """The places of a map's keys."""

    @property
    def position(self) -> Position:
        """The place of the value."""
        return Position(self.line, self.column, self.length)


class Document:
    """A parsed FDL file: `data`, and the place in the text of each path in it."""

    def __init__(self, file: str, text: str, root: DocumentNode) -> None:
        self.file = file
        self.root = root
        self._lines = lines_of(text)
        self._shown: dict[int, str] = {}

    @property
    def data(self) -> Any:
        """The file as plain maps, lists and scalars."""
        return self.root.data

    def node(self, path: PathInFile) -> DocumentNode:
        """The value at a path, or the nearest one above it that exists."""
        node = self.root
        for step in path:
            child = node.children.get(step)
            if child is None:
                break
            node = child
        return node

    def value_position(self, path: PathInFile) -> Position:
        """The start of the value at `path`."""
        return self.node(path).position

    def key_position(self, path: PathInFile) -> Position:
        """The place of the key at `path`; for an entry of a list, the start of the entry."""
        if not path:
            return self.root.position
        parent = self.node(path[:-1])
        return parent.keys.get(path[-1]) or self.value_position(path)

    def comment_after(self, path: PathInFile) -> str | None:
        """The comment in the line of a value without quotes, from its `#` on, or None."""
        node = self.node(path)
        if node.text is None or node.quoted or node.line > len(self._lines):
            return None
        rest = self._lines[node.line - 1][node.column - 1 + node.length :]
        return rest.strip() if rest.lstrip().startswith("#") else None

    def diagnostic(
        self, code: str, message: str, position: Position, **details: Unpack[Details]
    ) -> Diagnostic:
        """A diagnostic at a place of this file, with the source line."""
        return Diagnostic(code, message, self.file, *position, self._line(position.line - 1), **details)

    def _line(self, index: int) -> str:
        """A line of the file with secrets hidden. Cached, because one long line may have all the mistakes."""
        if index >= len(self._lines):
            return ""
        if index not in self._shown:
            self._shown[index] = _without_secrets(self._lines, index)
        return self._shown[index]
