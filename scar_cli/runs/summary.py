"""The numbers of all runs, added one by one in bounded memory."""

from __future__ import annotations

import heapq
import math
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from scar_cli.aws.deployed import DeployedFunction
from scar_cli.runs.folders import Folders
from scar_cli.runs.histogram import Histogram
from scar_cli.runs.model import STAGES, Run
from scar_cli.runs.reasons import reason_of
from scar_cli.runs.store import RunStore
from scar_cli.runs.timeline import Timeline

OTHER_REASONS = "(other reasons)"
_MOST_REASONS = 1000
_EXAMPLES = 3
_SLOWEST = 50
_COSTLIEST = 20

_Kind = TypeVar("_Kind")

NumberedRun = tuple[int, Run]
"""A run with its number in the store."""


@dataclass
class Memory:
    """Memory of runs on Lambda, or in Batch."""

    used: Histogram = field(default_factory=Histogram)
    given: Counter[int] = field(default_factory=Counter)


@dataclass
class FunctionNumbers:
    """The numbers of the runs of one function."""

    function: DeployedFunction
    by_status: Counter[str] = field(default_factory=Counter)
    by_mode: Counter[str] = field(default_factory=Counter)
    cold: int = 0
    warm: int = 0
    total: Histogram = field(default_factory=Histogram)
    stages: tuple[Histogram, ...] = field(default_factory=lambda: tuple(Histogram() for _ in STAGES))
    cpu: Histogram = field(default_factory=Histogram)
    memory: dict[str, Memory] = field(default_factory=dict)
    """By mode."""
    durations: dict[str, Histogram] = field(default_factory=dict)
    """Total time of the runs that were done, by mode."""
    input_bytes: int = 0
    largest_input_bytes: int = 0
    output_bytes: int = 0
    output_files: int = 0
    billed_ms: float = 0.0
    cost_usd: float = 0.0
    written: Counter[int] = field(default_factory=Counter)
    """Output files by folder; -1: another folder."""

    @property
    def runs(self) -> int:
        """Number of runs. A function in batch mode that only submits a job does not count."""
        return self.by_status.total() - self.by_status["submitted"]

    def add(self, run: Run, stages: tuple[float, ...]) -> None:
        """Add a run, with the durations of its stages."""
        self.by_status[run.status] += 1
        self.billed_ms += run.billed_ms or 0.0
        if run.status == "submitted":
            return
        self.by_mode[run.mode] += 1
        if run.cold is not None:
            if run.cold:
                self.cold += 1
            else:
                self.warm += 1
        if run.total_ms is not None:
            self.total.add(run.total_ms)
            if run.status == "done":
                _of_mode(self.durations, run.mode, Histogram).add(run.total_ms)
            for histogram, duration in zip(self.stages, stages, strict=True):
                if duration:
                    histogram.add(duration)
        if run.cpu_ms is not None:
            self.cpu.add(run.cpu_ms)
        if run.memory_used_bytes:
            memory = _of_mode(self.memory, run.mode, Memory)
            memory.used.add(run.memory_used_bytes)
            if run.memory_given_bytes:
                memory.given[run.memory_given_bytes] += 1
        if run.input_bytes:
            self.input_bytes += run.input_bytes
            self.largest_input_bytes = max(self.largest_input_bytes, run.input_bytes)
        self.output_bytes += run.output_bytes or 0
        self.output_files += run.output_files or 0


@dataclass
class Failures:
    """Failed runs of one function for the same reason."""

    number: int
    """From 1."""
    function: int
    reason: str
    kind: str | None
    runs: int = 0
    first_ms: float = math.inf
    last_ms: float = 0.0
    examples: deque[NumberedRun] = field(default_factory=lambda: deque(maxlen=_EXAMPLES))
    """The last ones that were added."""

    def add(self, number: int, run: Run) -> None:
        """Add a failed run."""
        self.runs += 1
        self.first_ms = min(self.first_ms, run.ended_ms)
        self.last_ms = max(self.last_ms, run.ended_ms)
        self.examples.append((number, run))


class Overview:
    """The numbers of the runs of some functions. Runs may be added in any order."""

    def __init__(
        self, functions: Sequence[DeployedFunction], price: Callable[[Run], float | None] | None = None
    ) -> None:
        """`price` returns what a run has cost in USD; None: unknown."""
        self.functions = [FunctionNumbers(one) for one in functions]
        self.folders = Folders.of(path for one in functions for path in (*one.inputs, *one.outputs))
        self.timeline = Timeline()
        self.store = RunStore()
        self.failures: dict[tuple[int, str], Failures] = {}
        self.start_ms = math.inf
        self.end_ms = 0.0
        self.has_costs = False
        self._price = price
        self._numbers = {one.name: number for number, one in enumerate(functions)}
        self._slowest: list[tuple[float, int, Run]] = []
        self._costliest: list[tuple[float, int, Run]] = []

    def add(self, run: Run) -> None:
        """Add a run of one of the functions.

        Raises:
            UserError: the disk is full.
        """
        function = self._numbers[run.function]
        numbers = self.functions[function]
        stages = run.stages()
        numbers.add(run, stages)
        reason = self._reason(function, run) if run.status == "failed" else None
        place = self.folders.split(run.subject)
        number = self.store.add(run, function, stages, reason=reason.number if reason else 0, place=place)
        if reason is not None:
            reason.add(number, run)
        if run.status != "submitted":
            self.start_ms = min(self.start_ms, run.started_ms - stages[0] - stages[1])
            self.end_ms = max(self.end_ms, run.ended_ms)
            self.timeline.add(function, run, stages)
        self._count_outputs(numbers, run)
        if run.total_ms is not None:
            _keep(self._slowest, (run.total_ms, number, run), _SLOWEST)
        if self._price is not None and (usd := self._price(run)) is not None:
            self.has_costs = True
            numbers.cost_usd += usd
            _keep(self._costliest, (usd, number, run), _COSTLIEST)

    @property
    def slowest(self) -> list[NumberedRun]:
        """The runs with the longest total time, longest first."""
        return [(number, run) for _total, number, run in sorted(self._slowest, reverse=True)]

    @property
    def costliest(self) -> list[tuple[float, int, Run]]:
        """The most expensive runs: USD, number and run."""
        return sorted(self._costliest, reverse=True)

    def _reason(self, function: int, run: Run) -> Failures:
        reason = reason_of(run)
        found = self.failures.get((function, reason))
        if found is None:
            kind = run.kind
            if len(self.failures) >= _MOST_REASONS:
                reason, kind = OTHER_REASONS, None
                found = self.failures.get((function, reason))
            if found is None:
                found = Failures(len(self.failures) + 1, function, reason, kind)
                self.failures[function, reason] = found
        return found

    def _count_outputs(self, numbers: FunctionNumbers, run: Run) -> None:
        """Count output files by folder. Of many files, the log names only some, which stand for all."""
        if not run.output_files:
            return
        if not run.outputs:
            numbers.written[-1] += run.output_files
            return
        share = run.output_files / len(run.outputs)
        if share == 1:
            for uri in run.outputs:
                numbers.written[self.folders.split(uri)[0]] += 1
            return
        left = run.output_files
        for folder, count in Counter(self.folders.split(uri)[0] for uri in run.outputs).most_common()[::-1]:
            part = min(left, round(count * share))
            numbers.written[folder] += part
            left -= part
        numbers.written[folder] += left


def _keep(heap: list[tuple[float, int, Run]], entry: tuple[float, int, Run], most: int) -> None:
    """Keep an entry if it is among the largest."""
    if len(heap) < most:
        heapq.heappush(heap, entry)
    elif entry[0] > heap[0][0]:
        heapq.heapreplace(heap, entry)


def _of_mode(by_mode: dict[str, _Kind], mode: str, kind: Callable[[], _Kind]) -> _Kind:
    found = by_mode.get(mode)
    if found is None:
        found = by_mode[mode] = kind()
    return found
