"""The numbers of all runs, added one by one in bounded memory."""

from __future__ import annotations

import heapq
import math
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from scar_cli.aws.deployed import DeployedFunction
from scar_cli.runs.folders import Folders
from scar_cli.runs.histogram import Histogram
from scar_cli.runs.model import STAGES, Run
from scar_cli.runs.reasons import reason_of
from scar_cli.runs.store import RunStore
from scar_cli.runs.timeline import Timeline

OTHER_REASONS = "(other reasons)"
_AT_ONCE = 1000
_MOST_REASONS = 1000
_EXAMPLES = 3
_SLOWEST = 50
_COSTLIEST = 20

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
    """Output files of all runs by folder; -1: another folder."""

    @property
    def runs(self) -> int:
        """Number of runs. A function in batch mode that only submits a job does not count."""
        return self.by_status.total() - self.by_status["submitted"]

    def add(self, runs: Sequence[Run], stages: Sequence[tuple[float, ...]]) -> None:
        """Add runs, with the durations of their stages. Column by column is three times faster."""
        self.by_status.update([run.status for run in runs])
        self.billed_ms += sum([run.billed_ms for run in runs if run.billed_ms is not None])
        pairs = [pair for pair in zip(runs, stages, strict=True) if pair[0].status != "submitted"]
        runs = [run for run, _stages in pairs]
        self.by_mode.update([run.mode for run in runs])
        cold = Counter([run.cold for run in runs])
        self.cold += cold[True]
        self.warm += cold[False]
        self.total.add([run.total_ms for run in runs if run.total_ms is not None])
        for histogram, column in zip(
            self.stages, zip(*(own for _run, own in pairs), strict=True), strict=False
        ):
            histogram.add([duration for duration in column if duration])
        self.cpu.add([run.cpu_ms for run in runs if run.cpu_ms is not None])
        for mode in self.by_mode:
            own = [run for run in runs if run.mode == mode]
            memory = self.memory.setdefault(mode, Memory())
            memory.used.add([run.memory_used_bytes for run in own if run.memory_used_bytes])
            memory.given.update([run.memory_given_bytes for run in own if run.memory_given_bytes])
            durations = self.durations.setdefault(mode, Histogram())
            durations.add([run.total_ms for run in own if run.total_ms is not None and run.status == "done"])
        sizes = [run.input_bytes for run in runs if run.input_bytes]
        self.input_bytes += sum(sizes)
        self.largest_input_bytes = max(self.largest_input_bytes, max(sizes, default=0))
        self.output_bytes += sum([run.output_bytes for run in runs if run.output_bytes])
        self.output_files += sum([run.output_files for run in runs if run.output_files])


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
        self._numbers = {(one.name, one.region): number for number, one in enumerate(functions)}
        self._waiting: list[list[Run]] = [[] for _ in functions]
        self._slowest: list[tuple[float, int, Run]] = []
        self._slow_ms = 0.0
        self._costliest: list[tuple[float, int, Run]] = []

    def add(self, run: Run) -> None:
        """Add a run of one of the functions. `settle` must follow before the numbers are read.

        Raises:
            UserError: the disk is full.
        """
        function = self._numbers[run.function, run.region]
        waiting = self._waiting[function]
        waiting.append(run)
        if len(waiting) >= _AT_ONCE:
            self._count(function)

    def settle(self) -> None:
        """Count all runs that were added.

        Raises:
            UserError: the disk is full.
        """
        for function in range(len(self.functions)):
            self._count(function)

    def _count(self, function: int) -> None:
        runs = self._waiting[function]
        if not runs:
            return
        numbers = self.functions[function]
        stages = [run.stages() for run in runs]
        numbers.add(runs, stages)
        for run, own_stages in zip(runs, stages, strict=True):
            reason = self._reason(function, run) if run.status == "failed" else None
            place = self.folders.split(run.subject)
            number = self.store.add(
                run, function, own_stages, reason=reason.number if reason is not None else 0, place=place
            )
            if reason is not None:
                reason.add(number, run)
            if run.output_files:
                self._count_outputs(numbers.written, run.outputs, run.output_files, 1)
            total = run.total_ms
            if total is not None and (total > self._slow_ms or len(self._slowest) < _SLOWEST):
                self._slow_ms = _keep(self._slowest, (total, number, run), _SLOWEST)
            if self._price is not None and (usd := self._price(run)) is not None:
                self.has_costs = True
                numbers.cost_usd += usd
                _keep(self._costliest, (usd, number, run), _COSTLIEST)
        ran = [pair for pair in zip(runs, stages, strict=True) if pair[0].status != "submitted"]
        if ran:
            self.timeline.add(function, *zip(*ran, strict=True))
            starts = [run.started_ms - own[0] - own[1] for run, own in ran]
            self.start_ms = min([self.start_ms, *starts])
            self.end_ms = max([self.end_ms, *(run.ended_ms for run, _own in ran)])
        runs.clear()

    def outputs(self) -> list[Counter[int]]:
        """Output files of each function by folder; -1: another folder. If a file was processed several times,
        the outputs of the latest run count, because they replaced those of the runs before.

        Raises:
            UserError: the disk is full.
        """
        found = [Counter(numbers.written) for numbers in self.functions]
        for function, uris, files in self.store.replaced():
            self._count_outputs(found[function], uris, files, -1)
        return found

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

    def _count_outputs(self, counts: Counter[int], outputs: Sequence[str], files: int, by: int) -> None:
        """Add `by` for each output file of a run, by folder. Of many files, the log names only some, which
        stand for all."""
        if not outputs:
            counts[-1] += by * files
            return
        share = files / len(outputs)
        if share == 1:
            for uri in outputs:
                counts[self.folders.split(uri)[0]] += by
            return
        left = files
        for folder, count in Counter(self.folders.split(uri)[0] for uri in outputs).most_common()[::-1]:
            part = min(left, round(count * share))
            counts[folder] += by * part
            left -= part
        counts[folder] += by * left


def _keep(heap: list[tuple[float, int, Run]], entry: tuple[float, int, Run], most: int) -> float:
    """Keep an entry if it is among the largest. Returns the smallest number that is kept."""
    if len(heap) < most:
        heapq.heappush(heap, entry)
    elif entry[0] > heap[0][0]:
        heapq.heapreplace(heap, entry)
    return heap[0][0]
