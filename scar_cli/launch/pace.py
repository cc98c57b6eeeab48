"""The rate at which events are sent: as fast as Lambda accepts them, up to the given limit.

The number of concurrent calls is halved when Lambda throttles, and grows by one for each round of accepted
calls: "additive increase, multiplicative decrease", as in TCP.
"""

from __future__ import annotations

import random
import re
import threading
import time
from dataclasses import dataclass

from scar_cli.errors import UserError

_LONGEST_ASKED_S = 60.0
_UNITS = {"s": 1.0, "sec": 1.0, "second": 1.0}
_UNITS |= {"m": 60.0, "min": 60.0, "minute": 60.0, "h": 3600.0, "hour": 3600.0}


@dataclass(frozen=True)
class Patience:
    """Timeouts and pauses."""

    answer_s: float = 30.0
    """For the response to one call; after that, the connection counts as lost."""
    first_pause_s: float = 0.2
    """After a call that was not accepted; doubled each time."""
    longest_pause_s: float = 10.0
    give_up_s: float = 15 * 60.0
    """Without a single accepted event."""
    calm_s: float = 0.5
    """After the number of concurrent calls was halved, until it may be halved again."""

    def pause(self, attempts: int, asked_s: float = 0.0) -> float:
        """Seconds to wait after this many rejected attempts, with jitter.

        `asked_s` is the value of `Retry-After`, of which at most a minute counts.
        """
        longest = min(self.longest_pause_s, self.first_pause_s * 2.0 ** min(attempts - 1, 30))
        pause = random.uniform(longest / 2, longest)  # noqa: S311 (no secret)
        return max(pause, min(asked_s, _LONGEST_ASKED_S))


class Pace:
    """Decides when calls begin; shared by all threads."""

    def __init__(self, most: int, rate: float | None, patience: Patience) -> None:
        """`most` concurrent calls, `rate` calls per second (None: unlimited)."""
        self._most = most
        self._room = float(most)
        self._rate = rate
        self._patience = patience
        self._running = 0
        self._changed = threading.Condition()
        self._next_start = 0.0
        self._halved_at = -patience.calm_s

    @property
    def at_once(self) -> int:
        """Calls that may run concurrently now."""
        return int(self._room)

    def begin(self, stop: threading.Event) -> bool:
        """Wait until a call may begin; False if `stop` was set meanwhile."""
        with self._changed:
            while self._running >= self.at_once and not stop.is_set():
                self._changed.wait(0.2)
            if stop.is_set():
                return False
            self._running += 1
            wait = self._slot() if self._rate is not None else 0.0
        if wait > 0 and stop.wait(wait):
            self.end()
            return False
        return True

    def end(self, *, accepted: bool = False) -> None:
        """Record that a call ended, accepted or not."""
        with self._changed:
            self._running -= 1
            if accepted:
                self._room = min(self._most, self._room + 1 / self._room)
            self._changed.notify()

    def slow_down(self) -> None:
        """Record that a call was rejected, or got no response.

        The call should end only after a pause: other calls in its place would be rejected, too.
        """
        with self._changed:
            if time.monotonic() - self._halved_at >= self._patience.calm_s:
                self._halved_at = time.monotonic()
                self._room = max(1.0, self._room / 2)

    def _slot(self) -> float:
        """Reserve the next time at which a call may start; returns the seconds until then."""
        now = time.monotonic()
        start = max(now, self._next_start)
        self._next_start = start + 1 / (self._rate or 1)
        return start - now


def rate_of(text: str | None) -> float | None:
    """Calls per second: `50/s`, `3000/min`, `100000/h` or just `50`.

    Raises:
        UserError: the text is not a rate.
    """
    if text is None:
        return None
    match = re.fullmatch(r"(\d{1,9}(?:\.\d{1,6})?)\s*(?:/\s*([a-z]{1,6}))?", text.strip().lower())
    unit = _UNITS.get(match[2] or "s") if match else None
    if match is None or unit is None or not float(match[1]):
        raise UserError(f"Invalid rate: {text!r}", "Use, for example, 50/s, 3000/min or 100000/h")
    return float(match[1]) / unit
