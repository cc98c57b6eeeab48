"""A download that survives broken connections."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

from containers.errors import ExplainedError
from containers.patience import ReceivingPace, ServerPatience

# A server that cuts each connection after a few bytes must not keep us busy forever: only this much progress
# between two cuts counts as a fresh start.
_PROGRESS_BYTES = 1 << 20


class Opened(NamedTuple):
    """The body of a response: `read` returns at most so many bytes, and `b""` at the end."""

    read: Callable[[int], bytes]
    close: Callable[[], None]


class ResumingStream:
    """A ByteStream that is opened again where the connection broke.

    Args:
        open_at: Opens the content from this byte position on.
        size: Bytes of the content.
        patience: How many attempts, and the pauses between them.
        network_errors: Exceptions of `open_at` and of reading that another attempt may heal.
        gave_up: The error to raise when all attempts are used up.
    """

    def __init__(
        self,
        open_at: Callable[[int], Opened],
        size: int,
        patience: ServerPatience,
        network_errors: tuple[type[Exception], ...],
        gave_up: Callable[[Exception], ExplainedError],
    ) -> None:
        self._open_at = open_at
        self._size = size
        self._patience = patience
        self._network_errors = network_errors
        self._gave_up = gave_up
        self._opened: Opened | None = None
        self._position = 0
        self._failures = 0
        self._failed_at = 0
        self._pace = ReceivingPace(patience)

    def read(self, size: int, /) -> bytes:
        """The next bytes, at most `size`."""
        while self._position < self._size:
            try:
                if self._opened is None:
                    self._opened = self._open_at(self._position)
                chunk = self._pace.read(self._opened.read, min(size, self._size - self._position))
                if not chunk:
                    raise ConnectionError("the connection was closed too early")
            except self._network_errors as error:
                self._recover(error)
            else:
                self._position += len(chunk)
                return chunk
        return b""

    def close(self) -> None:
        """Close the connection."""
        if self._opened is not None:
            self._opened.close()
            self._opened = None

    def _recover(self, error: Exception) -> None:
        self.close()
        if self._position - self._failed_at >= _PROGRESS_BYTES:
            self._failures = 0
        self._failures += 1
        self._failed_at = self._position
        if self._patience.is_over(self._failures):
            raise self._gave_up(error) from error
        time.sleep(self._patience.pause_s(self._failures))
