"""Progress of the workflow: a live view on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from watching.workflow import Progress

_PLAIN_LINE_EVERY_S = 5.0
_STYLES = {"SUCCEEDED": "green", "FAILED": "red", "RUNNING": "cyan", "STARTING": "cyan"}


@dataclass
class LiveView:
    """Shows each `Progress` that is passed to `update`.

    `parallel` is the number of invocations that run at once. The other images without a result are waiting.
    """

    console: Console
    expected: int
    parallel: int
    started: float = field(default_factory=time.monotonic)
    _live: Live | None = None
    _last_line: str = ""
    _last_time: float = 0.0

    @contextmanager
    def shown(self) -> Iterator[LiveView]:
        """Show the view for the duration of a `with` statement."""
        if not self.console.is_terminal:
            yield self
            return
        with Live(console=self.console, refresh_per_second=8) as self._live:
            yield self

    def update(self, progress: Progress) -> None:
        """Show new progress."""
        if self._live is not None:
            self._live.update(self.render(progress))
            return
        line = self.line(progress)
        now = time.monotonic()
        states = line.split(",")[0] != self._last_line.split(",")[0]
        if line != self._last_line and (
            states or now - self._last_time >= _PLAIN_LINE_EVERY_S or progress.at_rest
        ):
            self.console.print(f"  {now - self.started:5.1f} s  {line}", highlight=False, soft_wrap=True)
            self._last_line, self._last_time = line, now

    def line(self, progress: Progress) -> str:
        """The progress in one line."""
        waiting, running = self._lambda_queue(progress)
        return (
            f"split {progress.job_state.lower()}, {progress.images} images, {waiting} waiting, "
            f"{running} running, {progress.results} results, {progress.failures} failures"
        )

    def render(self, progress: Progress) -> RenderableType:
        """The progress as a table with bars."""
        waiting, running = self._lambda_queue(progress)
        table = Table.grid(padding=(0, 2))
        table.add_column(style="bold", min_width=16)
        table.add_column(min_width=14)
        table.add_column(width=40)
        state = Text(progress.job_state.lower(), _STYLES.get(progress.job_state, "yellow"))
        table.add_row("Split (Batch)", state, Text("1 video", "dim"))
        table.add_row("Images", f"{progress.images} of {self.expected}", self._bar(progress.images))
        table.add_row("Detect (Lambda)", f"{running} running", Text(f"{waiting} waiting", "dim"))
        table.add_row("Results", f"{progress.results} of {self.expected}", self._bar(progress.results))
        failures = Text(str(progress.failures), "red bold" if progress.failures else "green")
        table.add_row("Failures", failures, Text(f"{time.monotonic() - self.started:.0f} s", "dim"))
        return Group(Text(), table)

    def _bar(self, done: int) -> ProgressBar:
        return ProgressBar(total=self.expected, completed=min(done, self.expected), width=40)

    def _lambda_queue(self, progress: Progress) -> tuple[int, int]:
        left = max(0, progress.images - progress.results)
        running = min(left, self.parallel)
        return left - running, running
