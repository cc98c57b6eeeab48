"""What a terminal shows while events are sent, and what is said at the end."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from scar_cli.launch.fan_out import FanOut

_STUCK_AFTER_S = 30.0


class Progress:
    """A line with count, rate and, once all files are known, the time left; on a terminal alone.

    Where there is no terminal, one line on standard error tells when nothing has moved for a while.
    """

    def __init__(self, *, shown: bool) -> None:
        self.found = 0
        """Files that are to be sent, as far as they are listed; counted by the listing's thread."""
        self.is_all = False
        """The listing has ended."""
        self._bar: Any = None
        self._task: Any = None
        self._shown = shown and sys.stderr.isatty()
        self._moved = (0, time.monotonic())
        self._told = ""

    def __enter__(self) -> Progress:
        if self._shown:
            from rich.console import Console
            from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
            from rich.progress import Progress as Bar

            columns = (
                TextColumn("{task.completed:,.0f} sent", markup=False),
                BarColumn(),
                TextColumn("{task.fields[rate]}", markup=False),
                TimeRemainingColumn(),
                TextColumn("{task.fields[trouble]}", markup=False),
            )
            self._bar = Bar(*columns, console=Console(stderr=True), transient=True)
            self._bar.start()
            self._task = self._bar.add_task("launch", total=None, rate="", trouble="first event")
            self._started = time.monotonic()
        return self

    def __exit__(self, *_error: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def look(self, fan_out: FanOut) -> None:
        """Show how far it is."""
        if self._bar is not None:
            seconds = time.monotonic() - self._started
            self._bar.update(
                self._task,
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
