"""The output of a container, and when all output so far has been read."""

from __future__ import annotations

import array
import fcntl
import os
import select
import termios
import threading
import time
from collections.abc import Callable
from typing import IO

_END_WITHIN_S = 1.0
_MAXIMUM_LOG_BYTES = 8 << 20
_MAXIMUM_LINE_BYTES = 256 << 10


class ContainerLog:
    """The output of a container, read as it is written, so that the container never waits.

    `on_line` is called with each complete line.
    """

    def __init__(self, stream: IO[bytes] | None, on_line: Callable[[str], None] | None = None) -> None:
        self._stream = stream
        self._on_line = on_line
        self._unfinished = b""
        self._read = threading.Condition()
        self._text = bytearray()
        self._ended = stream is None
        self._thread = threading.Thread(target=self._follow, daemon=True, name="container-log")
        if stream is not None:
            self._thread.start()

    def take(self) -> str:
        """The output so far, without the last line ending."""
        with self._read:
            text, self._text = bytes(self._text), bytearray()
            if self._unfinished:
                self._tell_lines(b"\n")
        return text.decode("utf-8", "replace").rstrip("\n")

    def wait_until_read(self, until: float) -> None:
        """Wait until the pipe is empty."""
        with self._read:
            while not self._ended and _waiting_bytes(self._stream):
                if not self._read.wait(max(0.0, until - time.monotonic())):
                    return

    def finish(self) -> None:
        """The container has ended: wait for the rest."""
        if self._stream is not None:
            self._thread.join(_END_WITHIN_S)

    def _follow(self) -> None:
        assert self._stream is not None  # noqa: S101 (the thread is started with one)
        descriptor = self._stream.fileno()
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        while True:
            poll.poll()
            with self._read:  # locked, so that everything read from the pipe is in the text
                try:
                    piece = os.read(descriptor, 65536)
                except OSError:
                    piece = b""
                self._text += piece
                self._tell_lines(piece)
                # Lambda also limits what it keeps of an environment that floods its log.
                del self._text[: max(0, len(self._text) - _MAXIMUM_LOG_BYTES)]
                self._ended = not piece
                self._read.notify_all()
            if not piece:
                return

    def _tell_lines(self, piece: bytes) -> None:
        if self._on_line is None:
            return
        *lines, rest = (self._unfinished + piece).split(b"\n")
        self._unfinished = rest[-_MAXIMUM_LINE_BYTES:]
        for line in lines:
            self._on_line(line.decode("utf-8", "replace"))


def _waiting_bytes(stream: IO[bytes] | None) -> int:
    count = array.array("i", [0])
    try:
        fcntl.ioctl(stream.fileno() if stream else -1, termios.FIONREAD, count)
    except (OSError, ValueError):
        return 0
    return count[0]
