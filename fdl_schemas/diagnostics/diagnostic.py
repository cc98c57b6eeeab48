"""Problems of an FDL file, with what is needed to correct them.

Every diagnostic has a stable code (`FDL012`), the place in the file, the line with a caret, what was expected
and what to do. `codes.md` explains the codes. A code never changes its meaning. Codes are in the order of
importance, so that a cause is reported before its consequences.

`FdlError` contains all diagnostics of a file. Programs print `error.render()` and exit with code 2; they
print no traceback for an invalid file.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, NamedTuple, TypedDict

from fdl_schemas.diagnostics.codes import explanations

SHOWN_OF_A_VALUE: Final = 60
"""Default number of characters of a value in a message."""

FIRST_WARNING: Final = "FDL050"
"""Codes from this one on are warnings; lower codes are errors, unless permitted (`allow_loops`)."""

SITE: Final = "https://scar-cdk.readthedocs.io/latest/"
"""Address of the documentation site, which `make docs` builds."""

LONGEST_TEXT: Final = 2000
"""Maximum number of characters of a message, an expectation, a help text, and a source line in JSON."""

_SHOWN_AT_MOST = 50
_EXPLAINED_AT_MOST = 4
_LINE_WIDTH = 160


def address(code: str) -> str:
    """The page of the documentation site that explains a code."""
    return f"{SITE}diagnostics/{code.lower()}/"


class Severity(StrEnum):
    """An error stops the deployment, a warning does not."""

    ERROR = "error"
    WARNING = "warning"


class Position(NamedTuple):
    """A place in a file: line and column counted from 1, and a number of characters."""

    line: int
    column: int
    length: int = 1


class Details(TypedDict, total=False):
    """Further arguments of a diagnostic."""

    expected: str | None
    help: str | None
    severity: Severity


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One problem of an FDL file."""

    code: str
    """See `codes.md`."""
    message: str
    file: str
    """The path of the file as given by the user."""
    line: int | None = None
    """Counted from 1; None if the problem concerns the whole file."""
    column: int | None = None
    length: int = 1
    source_line: str | None = None
    expected: str | None = None
    help: str | None = None
    severity: Severity = Severity.ERROR

    def __post_init__(self) -> None:
        if self.code not in explanations():
            raise ValueError(f"{self.code} is not in codes.md")
        # A file of a megabyte may be a single value, or a loop through all of its functions.
        for name in ("message", "expected", "help"):
            text = getattr(self, name)
            if text is not None and len(text) > LONGEST_TEXT:
                object.__setattr__(self, name, text[: LONGEST_TEXT - 1] + "…")

    @property
    def url(self) -> str:
        """The page that explains the code, with an example."""
        return address(self.code)

    def render(self, color: bool = False) -> str:
        """The diagnostic as several lines of text, without a final line break."""
        paint = _PAINTED if color else _PLAIN
        place = printable(self.file)
        if self.line is not None:
            place += f":{self.line}:{self.column}"
        tone = self.severity.value
        head = f"{paint['bold']}{place}:{paint['end']} "
        head += f"{paint[tone]}{tone} {self.code}:{paint['end']} {printable(self.message)}"
        lines = [head]
        if self.source_line is not None and self.column is not None:
            shown, caret = _excerpt(self.source_line, self.column, self.length)
            lines += [f"    {shown}", f"    {paint[tone]}{caret}{paint['end']}"]
        if self.expected:
            lines.append(f"  expected: {printable(self.expected)}")
        if self.help:
            lines.append(f"  help: {printable(self.help)}")
        lines.append(f"  see {self.url}")
        return "\n".join(lines)


class FdlError(Exception):
    """An invalid FDL file, with all of its diagnostics."""

    def __init__(self, diagnostics: Iterable[Diagnostic]) -> None:
        self.diagnostics: tuple[Diagnostic, ...] = in_order(diagnostics)
        super().__init__(self.render())

    def render(self, color: bool = False) -> str:
        """All diagnostics for the terminal. Print this, and exit with code 2."""
        return render(self.diagnostics, color)


def in_order(diagnostics: Iterable[Diagnostic]) -> tuple[Diagnostic, ...]:
    """Errors before warnings, causes before consequences, then in the order of the file."""
    return tuple(
        sorted(
            diagnostics,
            key=lambda found: (
                found.severity is not Severity.ERROR,
                int(found.code[3:]) // 10,
                found.line or 0,
                found.column or 0,
                found.code,
            ),
        )
    )


def render(diagnostics: Sequence[Diagnostic], color: bool = False) -> str:
    """Diagnostics as text, separated by empty lines, and how to explain them; at most the first 50."""
    parts = [diagnostic.render(color) for diagnostic in diagnostics[:_SHOWN_AT_MOST]]
    hidden = len(diagnostics) - len(parts)
    if hidden > 0:
        parts.append(f"… and {hidden} more")
    codes = list(dict.fromkeys(diagnostic.code for diagnostic in diagnostics))[:_EXPLAINED_AT_MOST]
    if codes:
        parts.append(f"For explanations and examples, run: scar explain {' '.join(codes)}")
    return "\n\n".join(parts)


def printable(text: str) -> str:
    """Untrusted text without escape sequences and invisible characters, safe for a terminal."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(character if _harmless(character) else "\N{REPLACEMENT CHARACTER}" for character in text)


def quoted(value: object, width: int = SHOWN_OF_A_VALUE) -> str:
    """A value of the file for a message: in backticks, on one line, shortened."""
    text = value if isinstance(value, str) else _as_yaml(value)
    if len(text) > width:
        text = text[: width - 1] + "…"
    return f"`{printable(text)}`"


def _as_yaml(value: object) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def _harmless(character: str) -> bool:
    return character == " " or not unicodedata.category(character).startswith(("C", "Z"))


def _excerpt(line: str, column: int, length: int) -> tuple[str, str]:
    """The source line, and a line with carets below the relevant part; a long line is shortened."""
    start = 0
    if len(line) > _LINE_WIDTH:
        start = max(0, min(column - 1 - _LINE_WIDTH // 4, len(line) - _LINE_WIDTH))
    part = line[start : start + _LINE_WIDTH]
    before, after = ("…" if start else ""), ("…" if start + _LINE_WIDTH < len(line) else "")
    # Tabs become one space, so that the caret is in the right column.
    shown = before + printable(part.replace("\t", " ")) + after
    offset = len(before) + column - 1 - start
    blanks = "".join(" " * _cells(character) for character in shown[:offset]).ljust(offset)
    marked = shown[offset : offset + max(1, length)]
    return shown, blanks + "^" * max(1, sum(_cells(character) for character in marked))


def _cells(character: str) -> int:
    """The number of terminal columns of a character."""
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


_PLAIN = {"bold": "", "error": "", "warning": "", "end": ""}
_PAINTED = {"bold": "\x1b[1m", "error": "\x1b[1;31m", "warning": "\x1b[1;33m", "end": "\x1b[0m"}
