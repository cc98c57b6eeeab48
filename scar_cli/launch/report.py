"""The progress of a launch on a terminal, and its result."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scar_cli.progress import terminal_line
from scar_cli.table import counted, printable, printable_lines, table

if TYPE_CHECKING:
    from scar_cli.launch.arrays import ArrayLaunch
    from scar_cli.launch.done import FileStates
    from scar_cli.launch.fan_out import FanOut
    from scar_cli.launch.files import Listing

_STUCK_AFTER_S = 30.0
_RATE, _TROUBLE = "{task.fields[rate]}", "{task.fields[trouble]}"
_SENDING = ("{task.completed:,.0f} sent", "BarColumn", _RATE, "TimeRemainingColumn", _TROUBLE)
_ROWS = 50
_IN_JSON = 1000
_NAMED = 5
_REASON_LENGTH = 200
_LEFT_OUT = {
    "empty": "of zero bytes, which functions skip",
    "done": "whose output already exists",
    "gone": "that were deleted since the launch was interrupted",
}


class SendingBar:
    """Progress of sending: count, rate and, once all files are known, the time left."""

    def __init__(self, update: Callable[..., None] | None) -> None:
        """`update` changes the line on the terminal; None: not on a terminal."""
        self.found = 0
        """Files to send, as far as they are listed; counted by the thread that lists."""
        self.is_all = False
        """Whether the listing is complete."""
        self._update = update
        self._started = time.monotonic()
        self._moved = (0, self._started)
        self._told = ""

    def look(self, fan_out: FanOut | ArrayLaunch) -> None:
        """Show the progress. Without a terminal, print one line if nothing has moved for a while."""
        if self._update is not None:
            seconds = time.monotonic() - self._started
            self._update(
                completed=fan_out.sent,
                total=self.found if self.is_all else None,
                rate=f"{fan_out.sent / max(seconds, 0.001):,.0f}/s",
                trouble=f"waiting: {fan_out.trouble}"[:60] if fan_out.trouble else "",
            )
            return
        sent, since = self._moved
        if fan_out.sent != sent:
            self._moved, self._told = (fan_out.sent, time.monotonic()), ""
        elif fan_out.trouble and not self._told and time.monotonic() - since >= _STUCK_AFTER_S:
            self._told = fan_out.trouble
            print(f"scar-launch: {sent} sent; waiting: {fan_out.trouble}", file=sys.stderr, flush=True)


@contextmanager
def sending_bar(*, shown: bool) -> Iterator[SendingBar]:
    """A bar of the events that are sent, on a terminal only."""
    with terminal_line(*_SENDING, shown=shown, rate="", trouble="first event") as update:
        yield SendingBar(update)


def nothing_to_send(function: str, listing: Listing) -> str:
    """Why a listing has no files to send."""
    selection = listing.selection
    wanted = [f"matches {selection.match!r}"] if selection.match is not None else []
    wanted += [f"is newer than {selection.newer_than}"] if selection.newer_than is not None else []
    if wanted and listing.looked_at:
        return f"Nothing {' and '.join(wanted)} ({counted(listing.looked_at, 'file')} looked at)."
    return f"There are no files to send in the input folder of {function}."


@dataclass(frozen=True)
class Outcome:
    """Files that were sent, left out and, after waiting, done."""

    function: str
    sent: int = 0
    """In this run of the command."""
    accepted: int = 0
    """In total, including those before an interruption."""
    seconds: float = 0.0
    left_out: dict[str, int] = field(default_factory=dict)
    perhaps_twice: list[str] = field(default_factory=list)
    """Keys of the events that were sent again although they may have been accepted."""
    journal: Path | None = None
    jobs: tuple[str, ...] = ()
    """Ids of the jobs of Batch that were submitted, for a function in `batch` mode."""
    waited: FileStates | None = None
    nothing: str = ""
    """Why there was nothing to send."""

    @property
    def exit_code(self) -> int:
        """1 if a file failed, as far as the launch waited for files."""
        return 1 if self.waited is not None and self.waited.count().failed else 0

    def told(self) -> Iterator[str]:
        """The result of sending, in words."""
        if self.sent:
            rate = f" ({self.sent / self.seconds:.0f}/s)" if self.seconds >= 1 else ""
            how = f" as {counted(len(self.jobs), 'job')} of AWS Batch" if self.jobs else ""
            sent = f"Sent {counted(self.sent, 'event')} to {self.function}"
            yield f"{sent} in {self.seconds:.1f} s{rate}{how}."
        elif self.accepted:
            events = counted(self.accepted, "event")
            yield f"Nothing left to send: {self.function} already received {events}."
        else:
            yield self.nothing
        for name, count in self.left_out.items():
            yield f"Skipped: {counted(count, 'file')} {_LEFT_OUT[name]}."
        if self.perhaps_twice:
            events = counted(len(self.perhaps_twice), "event")
            whose = "whose response was" if len(self.perhaps_twice) == 1 else "whose responses were"
            names = ", ".join(printable(key) for key in self.perhaps_twice[:_NAMED])
            more = ", ..." if len(self.perhaps_twice) > _NAMED else ""
            yield f"Possibly sent twice: {events}, {whose} lost: {names}{more}"
        if self.journal is not None:
            yield f"Journal: {self.journal}"

    def told_after_waiting(self) -> Iterator[str]:
        """Number of files that are done, and a table of those that failed; empty without --wait."""
        if self.waited is None:
            return
        count = self.waited.count()
        yield f"Done: {counted(count.done, 'file')}. Failed: {counted(count.failed, 'file')}."
        if not count.failed:
            return
        rows = [(key, _short(reason)) for key, reason in islice(self.waited.failures(), _ROWS)]
        yield from table(("FAILED", "REASON"), rows)
        if count.failed > _ROWS:
            yield f"... and {count.failed - _ROWS} more."
        yield f"Their events are kept. To send them again: scar retry -n {self.function}"

    def as_json(self) -> dict[str, Any]:
        """The result as an object, with at most a thousand failures and duplicate events."""
        answer: dict[str, Any] = {
            "function": self.function,
            "sent": self.sent,
            "accepted": self.accepted,
            "failed": {},
            "left_out": self.left_out,
            "perhaps_twice_count": len(self.perhaps_twice),
            "perhaps_twice": self.perhaps_twice[:_IN_JSON],
            "seconds": round(self.seconds, 3),
            "journal": str(self.journal) if self.journal is not None else None,
        }
        if self.jobs:
            answer["jobs"] = list(self.jobs)
        if self.waited is not None:
            count = self.waited.count()
            answer["done"], answer["failed_count"] = count.done, count.failed
            answer["failed"] = {
                key: printable_lines(why) for key, why in islice(self.waited.failures(), _IN_JSON)
            }
        return answer


def _short(reason: str) -> str:
    lines = [line for line in reason.splitlines() if line.strip()] or [""]
    text = printable(lines[0][:_REASON_LENGTH])
    return text if len(lines[0]) <= _REASON_LENGTH >= len(text) else text[: _REASON_LENGTH - 1] + "…"
