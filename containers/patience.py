"""How long to bear with a server that fails or is slow."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class ServerPatience:
    """How long to bear with a server: seconds per network operation, attempts, pauses between them."""

    timeout_s: float = 30.0
    attempts: int = 5
    first_pause_s: float = 1.0
    longest_pause_s: float = 30.0
    slowest_bytes_per_s: float = 0.0
    """Bodies that take longer than `timeout_s` and are slower than this are aborted."""

    def is_over(self, failures: int, retry_after: str | None = None) -> bool:
        """Whether all attempts are used up, or the server requests a longer pause than the maximum."""
        return failures >= self.attempts or (_retry_after_s(retry_after) or 0) > self.longest_pause_s

    def pause_s(self, failures: int, retry_after: str | None = None) -> float:
        """Seconds to wait after that many failures: as in `Retry-After`, up to the maximum pause."""
        asked = _retry_after_s(retry_after)
        if asked is not None:
            return min(asked, self.longest_pause_s)
        # Jitter, so that the many environments of a burst do not retry at the same time.
        ceiling: float = min(self.longest_pause_s, self.first_pause_s * 2 ** (failures - 1))
        return ceiling * (0.5 + random.random() / 2)  # noqa: S311 - not for secrets


clock = time.monotonic


class ReceivingPace:
    """The speed of one server. Time without a reader does not count."""

    def __init__(self, patience: ServerPatience) -> None:
        self._patience = patience
        self._waited_s = 0.0
        self._bytes = 0

    def read(self, read: Callable[[int], bytes], size: int) -> bytes:
        """The next bytes of `read`. Raises ConnectionError if the server is slower than is borne."""
        started = clock()
        chunk = read(size)
        self._waited_s += clock() - started
        self._bytes += len(chunk)
        # A server that sends a byte now and then would keep every timeout from running out.
        if (
            self._waited_s > self._patience.timeout_s
            and self._bytes < self._waited_s * self._patience.slowest_bytes_per_s
        ):
            raise ConnectionError(f"it sent {self._bytes} bytes in {self._waited_s:.0f} s")
        return chunk


def _retry_after_s(value: str | None) -> float | None:
    """Seconds in a Retry-After header (RFC 9110: seconds, or a date)."""
    if not value:
        return None
    if value.strip().isdecimal():
        return float(value)
    import email.utils  # slow to load, and rarely needed

    try:
        moment = email.utils.parsedate_to_datetime(value).timestamp()
    except (ValueError, OverflowError):
        return None
    return max(0.0, moment - time.time())
