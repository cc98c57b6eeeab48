"""The limit of a launch's cost (`--max-cost`).

Runs report in the log what they took, so their cost is known some seconds after their end. That of the files
whose events were accepted, and which have not been processed, is estimated from it: the mean, and three times
the standard error of the prediction. A launch sends as many events as the limit allows, waits for results,
and stops when the next one might pass the limit.

The functions that process the results are counted, too. So are other runs of all these functions since the
start of the launch: the log does not tell them apart.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from fdl_schemas.graph import edges
from fdl_schemas.model import ExecutionMode, Function, Workflow
from fdl_schemas.stages import staged
from scar_cli.aws.deployed import DeployedFunction, selected, workflow_of
from scar_cli.aws.logs import Line, groups, lines_of_group
from scar_cli.aws.session import client
from scar_cli.cost.deployed import sizes_of
from scar_cli.cost.known import prices_of
from scar_cli.cost.runs import RunCosts
from scar_cli.errors import UserError
from scar_cli.launch.plan import Plan, in_digits
from scar_cli.runs.assembling import PATTERN, RunAssembler, assembler
from scar_cli.runs.model import HANDED_ON, Run
from scar_cli.table import counted

Priced = tuple[Run, float | None]
"""A run, and what it has cost in USD; None: unknown."""

_LOOK_EVERY_S = 2.0
_LATE_MS = 60_000
"""A line may reach CloudWatch this long after it was written."""
_SILENT_S = 1200.0
"""Longer than a run of Lambda. Jobs may wait for capacity; the launch can be resumed."""
_STANDARD_ERRORS = 3
_MOST = 1_000_000_000


@dataclass
class Measured:
    """What the runs of one function have cost so far."""

    runs: int = 0
    """Without those whose event another run continues."""
    failed: int = 0
    usd: float = 0.0
    squares: float = 0.0

    def add(self, run: Run, usd: float) -> None:
        """Add a run that has ended."""
        self.usd += usd
        self.squares += usd * usd
        if run.status not in HANDED_ON:
            self.runs += 1
            self.failed += run.status == "failed"

    @property
    def mean(self) -> float:
        """USD of one run, with what it has cost before another one continued it."""
        return self.usd / self.runs

    def estimate(self, runs: float) -> float:
        """USD of so many further runs, cautiously."""
        if runs <= 0:
            return 0.0
        spread = math.sqrt(max(0.0, self.squares / self.runs - self.mean**2))
        # A few runs say little about how much they differ.
        spread = max(spread, self.mean / math.sqrt(self.runs))
        # Further runs differ from each other, and the mean so far from the true one.
        error = spread * math.sqrt(runs + runs * runs / self.runs)
        return runs * self.mean + _STANDARD_ERRORS * error


@dataclass
class Budget:
    """Decides how many events a launch may send."""

    limit_usd: float
    first: str
    """The function that gets the events."""
    others: Sequence[str]
    """The functions that process its results, directly or not."""
    attempts: int
    """How often the event of a file that fails is tried."""
    read: Callable[[], Iterable[Priced]]
    """The runs that have ended since the last call."""
    measured: dict[str, Measured] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _looked_at: float = -math.inf

    def may_send(self, sent: int, most: int, stop: threading.Event) -> int:
        """How many events may be sent now, at most `most`, after `sent` others; 0 if `stop` was set.

        Waits while the answer depends on runs that have not ended.

        Raises:
            UserError: the next event might pass the limit.
        """
        with self._lock:
            progress, since = -1.0, time.monotonic()
            while not stop.is_set():
                if time.monotonic() - self._looked_at >= _LOOK_EVERY_S:
                    self._look()
                    self._looked_at = time.monotonic()
                if room := self.room(sent, most):
                    return room
                if self.files_left(sent) <= 0:
                    raise self._passed(sent)
                if (now := sum(one.runs for one in self.measured.values())) != progress:
                    progress, since = now, time.monotonic()
                elif time.monotonic() - since >= _SILENT_S:
                    raise self._passed(sent)
                stop.wait(_LOOK_EVERY_S)
            return 0

    def room(self, sent: int, most: int) -> int:
        """How many events fit into the limit, at most `most`."""
        if self.first not in self.measured or not self.measured[self.first].runs:
            return 0 if sent else 1  # the first file is the measure
        low, high = 0, min(most, _MOST)
        while low < high:
            middle = (low + high + 1) // 2
            if self.projected(sent + middle) <= self.limit_usd:
                low = middle
            else:
                high = middle - 1
        return low

    @property
    def spent(self) -> float:
        """USD of all runs that have ended."""
        return sum(one.usd for one in self.measured.values())

    def files_left(self, sent: int) -> float:
        """Files among `sent` that have not been processed. A file that fails has several runs."""
        first = self.measured.get(self.first, Measured())
        return max(0.0, sent - (first.runs - first.failed + first.failed / self.attempts))

    def projected(self, sent: int) -> float:
        """USD of everything when `sent` files have been processed."""
        first = self.measured[self.first]
        files = max(1.0, first.runs - first.failed + first.failed / self.attempts)
        # A file that fails has several runs.
        total = self.spent + first.estimate(self.files_left(sent) * first.runs / files)
        for name in self.others:
            other = self.measured.get(name)
            if other is None or not other.runs:
                total += first.estimate(float(sent))  # unknown: as much as the first function
            else:
                each = max(1.0, other.runs / files)
                total += other.estimate(sent * each - other.runs)
        return total

    def _look(self) -> None:
        for run, usd in self.read():
            if usd is None:
                raise UserError(
                    f"The cost of {run.function} is unknown: no price of its instances in {run.region}",
                    f"Omit --max-cost, or download the prices: scar cost --prices --region {run.region}",
                    exit_code=1,
                )
            self.measured.setdefault(run.function, Measured()).add(run, usd)

    def _passed(self, sent: int) -> UserError:
        left = round(self.files_left(sent))
        waiting = f", and {counted(left, 'file')} on the way" if left else ""
        return UserError(
            f"The launch stopped, because the next file might pass --max-cost {in_digits(self.limit_usd)}: "
            f"runs have cost {in_digits(float(f'{self.spent:.4g}'))} USD so far{waiting}",
            "To continue, use a higher limit",
            exit_code=1,
        )


def budget_of(plan: Plan, since_ms: int) -> Budget:
    """The budget of a launch that started at `since_ms`, by the clock of the cloud.

    Raises:
        UserError: the function is not deployed, does not log its runs, or has no prices.
    """
    limit = plan.options.max_cost
    if limit is None:
        raise ValueError("the launch has no limit")
    workflow = workflow_of(plan.fdl)
    names = {staged(one, plan.options.stage) for one in following(workflow, str(plan.options.name))}
    first = plan.function.name
    functions = [one for one in selected(plan.fdl, None, stage=plan.options.stage) if one.name in names]
    if first not in {one.name for one in functions}:
        raise UserError(f"{first} is not deployed", f"Deploy it: scar init -f {plan.fdl}")
    costs = RunCosts(sizes_of(functions), {one.region: prices_of(one.region) for one in functions})
    return Budget(
        limit,
        first,
        sorted(names - {first}),
        _attempts(plan.function),
        partial(_priced, _Reader(functions, since_ms), costs),
    )


def following(workflow: Workflow, first: str) -> set[str]:
    """A function, and those that process its results, directly or not."""
    triggered: Mapping[str, list[str]] = {
        name: [target for source, target in edges(workflow.functions) if source == name]
        for name in (one.name for one in workflow.functions)
    }
    found, new = set[str](), [first]
    while new:
        name = new.pop()
        if name not in found:
            found.add(name)
            new += triggered.get(name, [])
    return found


def require_logs(function: Function) -> None:
    """
    Raises:
        UserError: the function does not log its runs, so that their cost is unknown.
    """
    if function.log_level not in ("DEBUG", "INFO"):
        raise UserError(
            f"--max-cost needs the log level INFO to see what runs cost, and {function.name} has "
            f"{function.log_level}",
            "Deploy it with the log level INFO, or omit --max-cost",
        )


def _attempts(function: Function) -> int:
    if function.execution_mode is ExecutionMode.BATCH and function.batch is not None:
        return function.batch.attempts
    return 1 + function.retry_attempts


def _priced(reader: _Reader, costs: RunCosts) -> Iterator[Priced]:
    for run in reader.read():
        yield run, costs.of(run)


class _Reader:
    """Reads the logs of functions again and again: each run once."""

    def __init__(self, functions: Sequence[DeployedFunction], since_ms: int) -> None:
        self._groups: list[tuple[DeployedFunction, str, RunAssembler, Any]] = [
            (one, group, assembler(one, group), client("logs", region=one.region))
            for one in functions
            for group in groups(one)
        ]
        self._from_ms = dict.fromkeys(range(len(self._groups)), since_ms)
        self._seen: dict[int, dict[tuple[str, str, str, int], int]] = {}

    def read(self) -> Iterator[Run]:
        """The runs that have ended since the last call."""
        for number, (function, group, runs, logs) in enumerate(self._groups):
            seen, newest = self._seen.setdefault(number, {}), self._from_ms[number]
            for line in lines_of_group(logs, function, group, self._from_ms[number], pattern=PATTERN):
                key = _key(line)
                newest = max(newest, line.timestamp_ms - _LATE_MS)
                if key not in seen:
                    seen[key] = line.timestamp_ms
                    yield from runs.take(line)
            self._from_ms[number] = newest
            self._seen[number] = {key: moment for key, moment in seen.items() if moment >= newest}


def _key(line: Line) -> tuple[str, str, str, int]:
    return line.event_id, line.stream, line.text, line.timestamp_ms
