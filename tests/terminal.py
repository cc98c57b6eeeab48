"""A command in a pseudo-terminal, for programs that draw on the whole screen."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import termios
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress

LEAVES_THE_SCREEN = "\x1b[?25h\x1b[?1049l"
_HOME = "\x1b[H"
_STYLE = re.compile(r"\x1b\[[0-9;]*m")
_PATIENCE_S = 60.0


class Terminal:
    """The terminal of a command. What it shows is read all the time, so that the command never waits."""

    def __init__(self, process: subprocess.Popen[bytes], ours: int) -> None:
        self.process = process
        self.written = ""
        self._ours = ours
        self._seen = 0
        self._has_ended = False
        self._changed = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def resize(self, lines: int, columns: int) -> None:
        """Change the size, as dragging a window does."""
        fcntl.ioctl(self._ours, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def shows(self, pattern: str) -> None:
        """Wait until a screen matches: one that was drawn since the last one that was waited for."""
        until = time.monotonic() + _PATIENCE_S
        with self._changed:
            while not self._has_shown(pattern):
                left = until - time.monotonic()
                assert left > 0 and not self._has_ended, f"{pattern} was never shown:\n{self.written[-8000:]}"
                self._changed.wait(left)

    def rest(self) -> str:
        """What is written from the end of the last screen on, until the command ends."""
        self._reader.join(_PATIENCE_S)
        return _STYLE.sub("", self.written[self.written.index(LEAVES_THE_SCREEN) :])

    def close(self) -> None:
        """End the command."""
        self.process.kill()
        self.process.wait()
        self._reader.join(_PATIENCE_S)
        os.close(self._ours)

    def _has_shown(self, pattern: str) -> bool:
        for screen in self.written[self._seen :].split(_HOME):
            if re.search(pattern, _STYLE.sub("", screen), re.DOTALL):
                return True
            self._seen += len(screen) + len(_HOME)
        self._seen = max(0, self.written.rfind(_HOME))  # the last one may be incomplete
        return False

    def _read(self) -> None:
        with suppress(OSError):  # the command has ended
            while chunk := os.read(self._ours, 65536):
                with self._changed:
                    self.written += chunk.decode(errors="replace")
                    self._changed.notify_all()
        with self._changed:
            self._has_ended = True
            self._changed.notify_all()


@contextmanager
def in_terminal(
    command: Sequence[str], environment: Mapping[str, str], *, lines: int, columns: int
) -> Iterator[Terminal]:
    """Start a command in a terminal of this size."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(ours, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
    process = subprocess.Popen(command, env=environment, stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    terminal = Terminal(process, ours)
    try:
        yield terminal
    finally:
        terminal.close()
