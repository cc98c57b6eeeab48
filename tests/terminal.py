"""A command in a pseudo-terminal, for programs that draw on the whole screen."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import termios
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

LEAVES_THE_SCREEN = "\x1b[?25h\x1b[?1049l"
_HOME = "\x1b[H"


@dataclass
class Terminal:
    """The terminal of a command."""

    process: subprocess.Popen[bytes]
    _ours: int
    _written: str = ""

    def resize(self, lines: int, columns: int) -> None:
        """Change the size, as dragging a window does."""
        fcntl.ioctl(self._ours, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def shows(self, pattern: str) -> None:
        """Wait until the latest content of the screen matches."""
        for _chunk in iter(self._read, ""):
            screens = self._written.rsplit(_HOME, 2)  # the last one may be incomplete
            if any(re.search(pattern, screen, re.DOTALL) for screen in screens[-2:]):
                return
        raise AssertionError(f"{pattern} was never shown:\n{self._written[-8000:]}")

    def rest(self) -> str:
        """What is written from the end of the last screen on, until the command ends."""
        for _chunk in iter(self._read, ""):
            pass
        return self._written[self._written.index(LEAVES_THE_SCREEN) :]

    def _read(self) -> str:
        try:
            chunk = os.read(self._ours, 65536).decode(errors="replace")
        except OSError:  # the command has ended
            return ""
        self._written += chunk
        return chunk


@contextmanager
def in_terminal(
    command: Sequence[str], environment: Mapping[str, str], *, lines: int, columns: int
) -> Iterator[Terminal]:
    """Start a command in a terminal of this size."""
    ours, theirs = pty.openpty()
    size = struct.pack("HHHH", lines, columns, 0, 0)
    fcntl.ioctl(ours, termios.TIOCSWINSZ, size)
    process = subprocess.Popen(command, env=environment, stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    try:
        yield Terminal(process, ours)
    finally:
        process.kill()
        process.wait()
        os.close(ours)
