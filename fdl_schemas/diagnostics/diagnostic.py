"""What is wrong with an FDL file, said so that a person can put it right.

Every diagnostic has a stable code (`FDL012`), the place in the file, the offending line with a caret, what
was expected and what to do. `codes.md` explains the codes: their numbers never change their meaning, and are
in the order of importance, so that the cause comes before its consequences when a file has several problems.

`FdlError` carries all diagnostics of a file. Whoever talks to a person prints `error.render()` and ends with
status 2; nobody prints a traceback for a bad file.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from fdl_schemas.diagnostics.codes import explanations

SHOWN_OF_A_VALUE: Final = 60
"""Characters of a value that a message shows, unless it says otherwise."""

FIRST_WARNING: Final = "FDL050"
"""From here on codes are warnings; one before is an error, or what somebody has allowed (`allow_loops`)."""

DOCUMENTATION: Final = "docs/fdl.md"
"""Written by `python -m fdl_schemas.docs`; from the top folder of this repository."""

LONGEST_TEXT: Final = 2000
"""Characters of a message, of what was expected and of a help, and of a source line outside of `render`."""

_SHOWN_AT_MOST = 50
_LINE_WIDTH = 160


class Severity(StrEnum):
    """How bad it is: an error stops the deployment, a warning does not."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class Position:
    """A place in a file: line and column counted from 1, and how many characters are meant."""

    line: int
    column: int
    length: int = 1


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One problem of an FDL file."""

    code: str
    """See `codes.md`."""
    message: str
    file: str
    """The file as the person named it."""
    line: int | None = None
    """Counted from 1; None where the problem is the file as a whole."""
    column: int | None = None
    length: int = 1
    source_line: str | None = None
    expected: str | None = None
    help: str | None = None
    severity: Severity = Severity.ERROR

    def __post_init__(self) -> None:
        if self.code not in explanations():
            raise ValueError(f"{self.code} is not in codes.md")
        # A file of a megabyte may be one value, or one loop through all of its functions.
        for name in ("message", "expected", "help"):
            text = getattr(self, name)
            if text is not None and len(text) > LONGEST_TEXT:
                object.__setattr__(self, name, text[: LONGEST_TEXT - 1] + "…")

    @property
    def see(self) -> str:
        """Where the code is explained, with a bad and a good example: a link inside this repository."""
        return f"{DOCUMENTATION}#{self.code.lower()}"

    def render(self, color: bool = False) -> str:
        """The diagnostic as several lines of text, without an end of line; with ANSI colours if asked."""
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
        lines.append(f"  see {self.see}")
        return "\n".join(lines)


class FdlError(Exception):
    """An FDL file that cannot be used, with everything that is wrong with it."""

    def __init__(self, diagnostics: Iterable[Diagnostic]) -> None:
        self.diagnostics: tuple[Diagnostic, ...] = in_order(diagnostics)
        super().__init__(self.render())

    def render(self, color: bool = False) -> str:
        """All diagnostics, ready for the terminal: print this, and end with status 2."""
        return render(self.diagnostics, color)


def in_order(diagnostics: Iterable[Diagnostic]) -> tuple[Diagnostic, ...]:
    """Most important first: errors before warnings, causes before consequences, then as in the file."""
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
    """Diagnostics as text, an empty line between two; of very many only the first ones."""
    parts = [diagnostic.render(color) for diagnostic in diagnostics[:_SHOWN_AT_MOST]]
    hidden = len(diagnostics) - len(parts)
    if hidden > 0:
        parts.append(f"… and {hidden} more")
    return "\n\n".join(parts)


def printable(text: str) -> str:
    """Text of a stranger's file, made fit for a terminal: no escape sequence reaches it, no invisible
    direction.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(character if _harmless(character) else "\N{REPLACEMENT CHARACTER}" for character in text)


def quoted(value: object, width: int = SHOWN_OF_A_VALUE) -> str:
    """A value of the file inside a message: in backquotes, on one line, shortened."""
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
    """The source line, and a line with carets below the offending part; a long line is cut around it."""
    start = 0
    if len(line) > _LINE_WIDTH:
        start = max(0, min(column - 1 - _LINE_WIDTH // 4, len(line) - _LINE_WIDTH))
    part = line[start : start + _LINE_WIDTH]
    before, after = ("…" if start else ""), ("…" if start + _LINE_WIDTH < len(line) else "")
    # Tabs become one blank, so that the caret stands where the eye expects it.
    shown = before + printable(part.replace("\t", " ")) + after
    offset = len(before) + column - 1 - start
    blanks = "".join(" " * _cells(character) for character in shown[:offset]).ljust(offset)
    marked = shown[offset : offset + max(1, length)]
    return shown, blanks + "^" * max(1, sum(_cells(character) for character in marked))


def _cells(character: str) -> int:
    """How many columns of a terminal a character takes."""
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


_PLAIN = {"bold": "", "error": "", "warning": "", "end": ""}
_PAINTED = {"bold": "\x1b[1m", "error": "\x1b[1;31m", "warning": "\x1b[1;33m", "end": "\x1b[0m"}
