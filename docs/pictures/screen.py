"""The final content of a terminal: text with colours, after programs have moved the cursor.

Supports the control sequences of the pictures' programs: line feeds, carriage returns, colours, cursor
movements, erasing, and the alternate screen.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from rich.text import Text

_CONTROL = re.compile(
    r"\x1b\[([0-9;?]*)([A-Za-z])|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b[()][A-Z0-9]|\x1b[=>78]"
)
_RESET = ("", "0")
_ALTERNATE = "?1049"


@dataclass
class Screen:
    """Cells of (character, colours before it), with any number of lines; long lines are wrapped."""

    columns: int
    rows: list[list[tuple[str, str]]] = field(default_factory=lambda: [[]])
    row: int = 0
    column: int = 0
    colours: str = ""
    _other: list[list[tuple[str, str]]] = field(default_factory=lambda: [[]])
    """The lines of the alternate screen, or of the main one while the other is shown."""

    def feed(self, text: str) -> None:
        """Process the output of a program."""
        place = 0
        for control in _CONTROL.finditer(text):
            self._write(text[place : control.start()])
            place = control.end()
            if control[2]:
                self._obey(control[1], control[2])
        self._write(text[place:])

    def text(self) -> Text:
        """All lines, without empty lines at the end."""
        lines = [self._line(row) for row in self.rows]
        while lines and not lines[-1].plain.strip():
            lines.pop()
        return Text("\n").join(lines)

    def _write(self, text: str) -> None:
        for character in text:
            if character == "\n":
                self._move_to(self.row + 1, 0)
            elif character == "\r":
                self.column = 0
            elif character >= " ":
                if self.column >= self.columns:
                    self._move_to(self.row + 1, 0)
                line = self.rows[self.row]
                line.extend([(" ", "")] * (self.column + 1 - len(line)))
                line[self.column] = (character, self.colours)
                self.column += 1

    def _obey(self, numbers: str, letter: str) -> None:
        digits = numbers.partition(";")[0]
        first = int(digits) if digits.isdigit() else None
        if letter == "m":
            self.colours = "" if numbers in _RESET else f"{self.colours}\x1b[{numbers}m"
        elif letter in "AB":
            self._move_to(self.row + (first or 1) * (1 if letter == "B" else -1), self.column)
        elif letter == "H":
            self._move_to((first or 1) - 1, int(numbers.partition(";")[2] or 1) - 1)
        elif letter in "hl" and numbers == _ALTERNATE:
            self._other, self.rows = self.rows, [[]] if letter == "h" else self._other
            self._move_to(0 if letter == "h" else len(self.rows) - 1, 0)
        elif letter == "G":
            self.column = (first or 1) - 1
        elif letter == "K":
            line = self.rows[self.row]
            if first == 2:  # noqa: PLR2004 (the whole line)
                line.clear()
            else:
                del line[self.column :]
        elif letter == "J":
            del self.rows[self.row + 1 :]
            del self.rows[self.row][self.column :]

    def _move_to(self, row: int, column: int) -> None:
        self.row, self.column = max(0, row), column
        self.rows.extend([] for _ in range(self.row + 1 - len(self.rows)))

    @staticmethod
    def _line(row: list[tuple[str, str]]) -> Text:
        parts, before = [], ""
        for character, colours in row:
            parts.append(character if colours == before else f"\x1b[0m{colours}{character}")
            before = colours
        return Text.from_ansi("".join(parts)) if parts else Text()
