"""How fast events are sent: as fast as Lambda takes them, and no faster than was asked for.

The number of calls at once is halved when Lambda asks for less, and grows again by one for each round of
calls that it takes: "additive increase, multiplicative decrease", which is how TCP shares a line.
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
    """How long is waited for what."""

    answer_s: float = 30.0
    """For the answer to one call; then the connection counts as lost."""
    first_pause_s: float = 0.2
    """After a call that was not accepted; doubled each time."""
    longest_pause_s: float = 10.0
    give_up_s: float = 15 * 60.0
    """Without a single event that is accepted."""
    calm_s: float = 0.5
    """After the number of calls at once was halved, until it may be halved again."""

    def pause(self, attempts: int, asked_s: float = 0.0) -> float:
        """Seconds to wait after so many refusals: at random, so that not all come back at once.

        `asked_s` is what `Retry-After` says; a minute of it counts.
        """
        longest = min(self.longest_pause_s, self.first_pause_s * 2.0 ** min(attempts - 1, 30))
        pause = random.uniform(longest / 2, longest)  # noqa: S311 (no secret)
        return max(pause, min(asked_s, _LONGEST_ASKED_S))


class Pace:
    """Lets calls begin; shared by all threads that call."""

    def __init__(self, most: int, rate: float | None, patience: Patience) -> None:
        """`most` calls at once, `rate` a second (None: any)."""
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
        """Calls that may run at the same time now."""
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
        """A call has ended: with an acceptance, or not."""
        with self._changed:
            self._running -= 1
            if accepted:
                self._room = min(self._most, self._room + 1 / self._room)
            self._changed.notify()

    def slow_down(self) -> None:
        """A call was refused, or not answered.

        It is to end only after a moment: refusals come quickly, and others in its place would be refused too.
        """
        with self._changed:
            if time.monotonic() - self._halved_at >= self._patience.calm_s:
                self._halved_at = time.monotonic()
                self._room = max(1.0, self._room / 2)

    def _slot(self) -> float:
        """Take the next moment at which a call may start; gives the seconds until then."""
        now = time.monotonic()
        start = max(now, self._next_start)
        self._next_start = start + 1 / (self._rate or 1)
        return start - now


def rate_of(text: str | None) -> float | None:
    """Calls a second: `50/s`, `3000/min`, `100000/h` or just `50`.

    Raises:
        UserError: it is none of these.
    """
    if text is None:
        return None
    match = re.fullmatch(r"(\d{1,9}(?:\.\d{1,6})?)\s*(?:/\s*([a-z]{1,6}))?", text.strip().lower())
    unit = _UNITS.get(match[2] or "s") if match else None
    if match is None or unit is None or not float(match[1]):
        raise UserError(f"{text!r} is no rate", "Say for example 50/s, 3000/min or 100000/h")
    return float(match[1]) / unit
