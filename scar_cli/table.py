"""Text for a terminal: tables, and untrusted text without control characters."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import TextIO

_LONGEST_TEXT = 16_000
"""Responses of functions and servers have any length."""


def table(head: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[int] = ()) -> Iterator[str]:
    """Lines of a table whose columns are as wide as they need; the last one is not padded.

    `right`: the columns of numbers, which are aligned to the right.
    """
    lines = [tuple(head), *(tuple(printable(cell) for cell in row) for row in rows)]
    widths = [max(map(_width, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        cells = []
        for number, (cell, width) in enumerate(zip(line, widths, strict=True)):
            space = " " * (width - _width(cell))
            cells.append(space + cell if number in right else cell + space)
        yield "  ".join(cells).rstrip()


def counted(number: int, what: str, *, comma: bool = False) -> str:
    """`1 file`, `2 files`; with commas: `10,000 files`."""
    return f"1 {what}" if number == 1 else f"{number:{',' if comma else ''}} {what}s"


def takes_colours(stream: TextIO) -> bool:
    """Whether a stream is a terminal, and colours are not disabled; see no-color.org."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def iso_time(milliseconds: int | None) -> str | None:
    """A time in milliseconds since 1970 as ISO 8601, in UTC."""
    if milliseconds is None:
        return None
    time = datetime.fromtimestamp(milliseconds / 1000, UTC)
    return time.isoformat(timespec="seconds").replace("+00:00", "Z")


def local_time(moment: str | None) -> str:
    """An ISO 8601 time as `2026-01-31 12:00:00`, in the local time zone; `-` for None."""
    return "-" if moment is None else f"{datetime.fromisoformat(moment).astimezone():%Y-%m-%d %H:%M:%S}"


def printable(text: str) -> str:
    """The text with its control characters as `\\x1b`: a key may not move the cursor or ring the bell."""
    return "".join(_shown(character) for character in text)


def printable_line(text: str) -> str:
    """The same for a line of a log, where tabs may stay."""
    return "".join(one if one == "\t" else _shown(one) for one in text)


def printable_lines(text: str, longest: int | None = _LONGEST_TEXT) -> str:
    """The same for several lines; of a long text the last `longest` characters; None: all."""
    if longest is None or len(text) <= longest:
        return "\n".join(printable_line(line) for line in re.split(r"\r?\n", text))
    return "[…] " + printable_lines(text[-longest:], None)


def _shown(character: str) -> str:
    if unicodedata.category(character) in ("Cc", "Cf", "Cs", "Zl", "Zp"):
        return character.encode("unicode_escape").decode("ascii")
    return character


def _width(text: str) -> int:
    return sum(2 if unicodedata.east_asian_width(one) in "WF" else 1 for one in text)
