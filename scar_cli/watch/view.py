"""The live view in a terminal: any snapshot, as lines that fit any size."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text

from scar_cli.table import counted, printable
from scar_cli.watch.chain import Branch, branches
from scar_cli.watch.lines import cost_text, end_text, number_text, rate_text
from scar_cli.watch.state import Failure, FunctionNumbers, Snapshot, per_second

_BARS, _ASCII_BARS = "▁▂▃▄▅▆▇█", "_.-=+*%#"
_WIDE = 120
"""Columns from which more is shown on a line."""
_LONGEST_NAME = 44
_LONGEST_BAR = 40
_DEEPEST, _DEEPEST_IN_WIDE = 4, 12
"""Levels of the tree without folders."""
_SHORTEST_NAME = 12
_SHORTEST_SPARKLINE, _LONGEST_SPARKLINE = 8, 60
_GAP = "  "
_RETRY = " To send the events in failure queues again: scar retry"


@dataclass(frozen=True)
class _Column:
    head: tuple[str, str]
    """Two lines."""
    text: Callable[[FunctionNumbers], str]
    style: Callable[[FunctionNumbers], str] = lambda _one: ""
    least: int = 0

    @property
    def width(self) -> int:
        return max(self.least, *map(len, self.head))


def _when(style: str, number: int | None) -> str:
    return style if number else "dim"


def _queued(one: FunctionNumbers) -> str:
    return f"{number_text(one.queued)}{'+' if one.queues.batch_is_least else ''}"


def _of_batch(one: FunctionNumbers) -> str:
    return f"{number_text(one.queues.batch_waiting)}{'+' if one.queues.batch_is_least else ''}"


_QUEUED = _Column(("", "QUEUED"), _queued, lambda one: _when("", one.queued), 7)
_QUEUES = (
    _Column(("INPUT", "QUEUE"), lambda one: number_text(one.queues.input_queue), least=7),
    _Column(("BATCH", "QUEUE"), _of_batch, least=7),
)
_NUMBERS = (
    _Column(("", "RUNNING"), lambda one: number_text(one.running), lambda one: _when("cyan", one.running)),
    _Column(("", "DONE"), lambda one: number_text(one.done), lambda one: _when("green", one.done), 7),
    _Column(("", "FAILED"), lambda one: number_text(one.failed), lambda one: _when("red", one.failed)),
    _Column(
        ("FAILURE", "QUEUE"),
        lambda one: number_text(one.queues.failure_queue),
        lambda one: _when("bold red", one.queues.failure_queue),
    ),
    _Column(("", "RATE"), lambda one: rate_text(per_second(one.history)), least=7),
)
_COST = _Column(("", "COST"), lambda one: cost_text(one.cost_usd), least=9)


@dataclass(frozen=True)
class View:
    """What the terminal shows."""

    title: str
    snapshot: Snapshot
    url: str | None = None
    """Address of the page."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        height = options.height or console.height
        for line in self.lines(options.max_width, height, ascii_only=options.ascii_only):
            line.truncate(options.max_width, overflow="ellipsis" if not options.ascii_only else "crop")
            line.no_wrap = True
            yield line

    def lines(self, width: int, height: int, *, ascii_only: bool = False) -> list[Text]:
        """The lines, at most `height` of them."""
        found = self.snapshot
        head = [self._title(width), _totals(found), self._end(width, ascii_only=ascii_only), Text()]
        foot = [Text(), self._foot()]
        free = max(0, height - len(head) - len(foot) - 1)
        failures = _failures(found, width)
        rows = _workflow(found, width, free - min(len(failures), free // 3), ascii_only=ascii_only)
        failures = failures[: free - len(rows)]
        return [*head, *rows, Text(), *failures, *foot][:height]

    def _title(self, width: int) -> Text:
        clock = f"{_clock(self.snapshot.now_ms)}"
        title = Text(printable(self.title), style="bold")
        title.truncate(max(0, width - len(clock) - 2), overflow="ellipsis")
        title.append(" " * max(0, width - title.cell_len - len(clock)))
        return title.append(clock, style="dim")

    def _end(self, width: int, *, ascii_only: bool) -> Text:
        launch, end = self.snapshot.launch, end_text(self.snapshot)
        if launch is None or not launch.files:
            return Text(end)
        over = min(1.0, (launch.done + launch.failed) / launch.files)
        end = f" {over:.0%} of {launch.files:,} files. {end}"
        length = max(8, min(_LONGEST_BAR, width - len("Launch ") - len(end)))
        full = int(length * over)
        bar, rest = ("#", ".") if ascii_only else ("█", "░")
        text = Text("Launch ").append(bar * full, style="green")
        return text.append(rest * (length - full), style="dim").append(end)

    def _foot(self) -> Text:
        if self.snapshot.trouble:
            return Text(printable(self.snapshot.trouble), style="yellow")
        if self.url is not None:
            return Text(f"Ctrl-C ends. Page: {self.url}", style="dim")
        if not self.snapshot.is_complete:
            return Text("Reading logs ...", style="dim")
        kept = any(one.queues.failure_queue for one in self.snapshot.functions)
        return Text(f"Ctrl-C ends.{_RETRY if kept else ''}", style="dim")


def _totals(found: Snapshot) -> Text:
    functions = found.functions
    queued = [one.queued for one in functions if one.queued is not None]
    failed = sum(one.failed for one in functions)
    rate = sum(per_second(one.history) for one in functions)
    text = Text()
    for label, value, style in (
        ("queued", number_text(sum(queued) if queued else None), ""),
        ("running", number_text(sum(one.running for one in functions)), "cyan"),
        ("done", number_text(sum(one.done for one in functions)), "green"),
        ("failed", number_text(failed), "red" if failed else ""),
    ):
        text.append(value, style=style).append(f" {label}{_GAP}")
    text.append(f"{rate_text(rate)}{_GAP}")
    if found.cost_usd is not None:
        text.append(f"{cost_text(found.cost_usd)}{_GAP}")
    return text.append(f"since {_clock(found.since_ms)}", style="dim")


def _workflow(found: Snapshot, width: int, height: int, *, ascii_only: bool) -> list[Text]:
    """The tree with the numbers of its functions: with folders, if they fit."""
    wide = width >= _WIDE
    columns = [*(_QUEUES if wide else (_QUEUED,)), *_NUMBERS]
    if wide and found.cost_usd is not None:
        columns.append(_COST)
    free = width - sum(len(_GAP) + one.width for one in columns)
    rows = branches(found.functions, ascii_only=ascii_only)
    if len(rows) > height - 2 or _longest(rows) + len(_GAP) + _SHORTEST_SPARKLINE > free:
        deepest = _DEEPEST_IN_WIDE if wide else _DEEPEST
        rows = branches(found.functions, with_folders=False, deepest=deepest, ascii_only=ascii_only)
    rows, hidden = _that_fit(rows, height - 2)
    name = _longest(rows)
    name = max(_SHORTEST_NAME, min(name, _LONGEST_NAME if wide else free, free))
    spark = min(_LONGEST_SPARKLINE, free - name - len(_GAP))
    lines = [_head(columns, name, line) for line in (0, 1)]
    lines += [_row(row, columns, name, spark, ascii_only=ascii_only) for row in rows]
    if hidden:
        lines.append(Text(f"... and {counted(hidden, 'other function')}", style="dim"))
    return lines[: max(0, height)]


def _that_fit(rows: list[Branch], height: int) -> tuple[list[Branch], int]:
    """The rows, without those of idle functions if there are too many; and how many were left out."""
    if len(rows) <= height:
        return rows, 0
    ordered = sorted(rows, key=lambda row: -_activity(row.function))
    kept = {id(row) for row in ordered[: max(0, height - 1)]}
    return [row for row in rows if id(row) in kept], len(rows) - len(kept)


def _activity(one: FunctionNumbers | None) -> float:
    if one is None:
        return 0.0
    busy = (one.queued or 0) + one.running + sum(one.history[-12:])
    return busy + (0.5 if one.queues.failure_queue else 0.0)


def _longest(rows: Sequence[Branch]) -> int:
    """Columns of the longest function; nothing follows a folder."""
    texts = [Text(row.indent + printable(row.label)) for row in rows if row.function is not None]
    return max((text.cell_len for text in texts), default=_SHORTEST_NAME)


def _head(columns: Sequence[_Column], name: int, line: int) -> Text:
    text = Text("WORKFLOW" if line else "", style="bold dim")
    text.pad_right(name - text.cell_len)
    for column in columns:
        text.append(_GAP + column.head[line].rjust(column.width))
    return text


def _row(row: Branch, columns: Sequence[_Column], name: int, spark: int, *, ascii_only: bool) -> Text:
    text = Text(row.indent, style="dim" if row.function is None else "")
    text.append(printable(row.label), style="bold" if row.function is not None else "")
    if row.function is None:
        return text
    text.truncate(name, overflow="ellipsis" if not ascii_only else "crop", pad=True)
    for column in columns:
        value = column.text(row.function).rjust(column.width)
        text.append(_GAP).append(value, style=column.style(row.function))
    if spark > 0:
        text.append(_GAP).append(sparkline(row.function.history, spark, ascii_only=ascii_only), style="cyan")
    return text


def sparkline(history: Sequence[int], width: int, *, ascii_only: bool = False) -> str:
    """The last numbers as bars; a number above 0 is never shown as 0."""
    shown = history[-width:]
    bars = _ASCII_BARS if ascii_only else _BARS
    most = max(shown, default=0)
    steps = len(bars) - 1
    return "".join(bars[-(-one * steps // most) if one else 0] for one in shown)


def _failures(found: Snapshot, width: int) -> list[Text]:
    """A head and the latest failures, newest first."""
    if not found.all_failures:
        return [Text("No failures.", style="dim")]
    lines = [Text(f"FAILURES ({found.all_failures:,})", style="bold dim")]
    for one in sorted(found.failures, key=lambda one: one.at_ms, reverse=True):
        lines += _failure(one, width)
    return lines


def _failure(one: Failure, width: int) -> list[Text]:
    clock, function, subject = _clock(one.at_ms), printable(one.function), printable(one.subject)
    text = Text(f"{clock} ").append(function, style="bold").append(f" {subject}")
    reason = Text(printable(one.explained), style="red")
    if width >= _WIDE and text.cell_len + reason.cell_len + 2 <= width:
        return [text.append(_GAP).append_text(reason)]
    return [text, Text(" " * (len(clock) + 1)).append_text(reason)]


def _clock(at_ms: int) -> str:
    return f"{datetime.fromtimestamp(at_ms / 1000).astimezone():%H:%M:%S}"
