"""The numbers of a workflow while it runs: from runs that ended, and from queues."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from scar_cli.aws.deployed import DeployedFunction
from scar_cli.launch.progress import LaunchProgress
from scar_cli.runs.model import HANDED_ON, Run
from scar_cli.runs.reasons import reason_of
from scar_cli.watch.estimate import Estimate, Step, estimate

BUCKET_S = 5
"""Seconds that a bar of a sparkline stands for."""
_BUCKETS = 120
_BUCKETS_OF_RATE = 12
"""A minute."""
_ENOUGH_RUNS = 20
"""Runs in a minute that give a steady rate; of fewer, the last ten minutes are used."""
_FAILURES_KEPT = 200
_REASONS_KEPT = 1000
_LINE_LENGTH = 200
OTHER_REASONS = "(other reasons)"


class Ends:
    """How many runs ended in each of the last ten minutes' intervals of five seconds."""

    def __init__(self) -> None:
        self._counts: dict[int, int] = {}

    def add(self, at_ms: int) -> None:
        """Count a run that ended at this time, in milliseconds since 1970."""
        bucket = at_ms // (BUCKET_S * 1000)
        self._counts[bucket] = self._counts.get(bucket, 0) + 1

    def history(self, now_ms: int) -> tuple[int, ...]:
        """The complete intervals until now, oldest first. Older ones are forgotten."""
        current = now_ms // (BUCKET_S * 1000)
        self._counts = {one: count for one, count in self._counts.items() if one >= current - _BUCKETS}
        return tuple(self._counts.get(one, 0) for one in range(current - _BUCKETS, current))


def per_second(history: Sequence[int]) -> float:
    """Runs per second in the last minute."""
    return sum(history[-_BUCKETS_OF_RATE:]) / (_BUCKETS_OF_RATE * BUCKET_S)


def steady_per_second(history: Sequence[int]) -> float:
    """The rate for an estimate: with few runs, that of up to ten minutes, from the first of them on."""
    if sum(history[-_BUCKETS_OF_RATE:]) >= _ENOUGH_RUNS or not any(history):
        return per_second(history)
    first = next(number for number, count in enumerate(history) if count)
    return sum(history) / (max(len(history) - first, _BUCKETS_OF_RATE) * BUCKET_S)


@dataclass(frozen=True)
class Queues:
    """What waits and runs, and what failed for good, at one moment."""

    input_queue: int | None = None
    """Files in its input queues; None: it has none."""
    batch_waiting: int | None = None
    """Jobs of AWS Batch that have not started; None: it does not use Batch."""
    batch_running: int = 0
    batch_is_least: bool = False
    """There are more jobs than were listed."""
    failure_queue: int = 0


@dataclass(frozen=True)
class Failure:
    """A run that failed."""

    at_ms: int
    function: str
    subject: str
    reason: str
    last_line: str = ""
    """Of the output of the script."""

    @property
    def explained(self) -> str:
        """The reason with the last line of the output."""
        return f"{self.reason}: {self.last_line}" if self.last_line else self.reason


@dataclass(frozen=True)
class FunctionNumbers:
    """The numbers of one function."""

    function: str
    mode: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    feeds: tuple[str, ...] = ()
    """Functions that read a folder that it writes to."""
    queues: Queues = Queues()
    lambda_running: int = 0
    done: int = 0
    failed: int = 0
    """Runs that failed, whether or not a later attempt succeeded."""
    skipped: int = 0
    """Runs that had nothing to do: an empty file, or one that was processed before."""
    history: tuple[int, ...] = ()
    """Runs that ended, for each interval of `BUCKET_S` seconds, oldest first."""
    cost_usd: float | None = None

    @property
    def queued(self) -> int | None:
        """Files and jobs that wait; None: Lambda without an input queue does not report them."""
        known = [one for one in (self.queues.input_queue, self.queues.batch_waiting) if one is not None]
        return sum(known) if known else None

    @property
    def running(self) -> int:
        """Runs in progress."""
        return self.lambda_running + self.queues.batch_running


@dataclass(frozen=True)
class LaunchNumbers:
    """The files of a launch."""

    function: str
    journal: str
    files: int
    done: int
    failed: int
    """Files whose latest run failed; it may be retried."""
    is_sending: bool

    @property
    def left(self) -> int:
        """Files that are neither done nor failed."""
        return max(0, self.files - self.done - self.failed)


@dataclass(frozen=True)
class Snapshot:
    """All numbers at one moment. Does not change."""

    now_ms: int
    since_ms: int
    """Runs that ended earlier are not counted."""
    functions: tuple[FunctionNumbers, ...]
    failures: tuple[Failure, ...] = ()
    """The latest, oldest first."""
    all_failures: int = 0
    reasons: tuple[tuple[str, str, int], ...] = ()
    """Function, reason and number of failed runs, most frequent first."""
    launch: LaunchNumbers | None = None
    end: Estimate = field(default_factory=lambda: Estimate(None))
    trouble: str = ""
    """Why the numbers are older than they should be."""
    is_complete: bool = True
    """Logs were read up to now, not only a part."""

    @property
    def cost_usd(self) -> float | None:
        """Cost of the runs; None: unknown for all of them."""
        known = [one.cost_usd for one in self.functions if one.cost_usd is not None]
        return sum(known) if known else None

    @property
    def is_idle(self) -> bool:
        """Whether nothing waits or runs, as far as is known."""
        left = self.launch.left if self.launch is not None else 0
        return not left and not any(one.queued or one.running for one in self.functions)


@dataclass
class _Function:
    deployed: DeployedFunction
    ends: Ends = field(default_factory=Ends)
    queues: Queues = Queues()
    lambda_running: int = 0
    done: int = 0
    failed: int = 0
    skipped: int = 0
    cost_usd: float | None = None


class State:
    """Collects the numbers."""

    def __init__(
        self,
        functions: Sequence[DeployedFunction],
        since_ms: int,
        launch: LaunchProgress | None = None,
        cost: Callable[[Run], float | None] | None = None,
    ) -> None:
        """`cost` returns what a run has cost in USD; None: unknown."""
        self._since_ms = since_ms
        self._functions = {one.name: _Function(one) for one in functions}
        self._feeds = _feeds(functions)
        self._failures: deque[Failure] = deque(maxlen=_FAILURES_KEPT)
        self._all_failures = 0
        self._reasons: Counter[tuple[str, str]] = Counter()
        self._launch = launch
        self._launch_done = 0
        self._launch_failed: set[int] = set()
        """Hashes of the names of files: there may be a million."""
        self._cost = cost
        self.trouble = ""
        self.is_complete = False

    def take(self, run: Run) -> None:
        """Count a run that ended."""
        one = self._functions[run.function]
        if self._cost is not None and (usd := self._cost(run)) is not None:
            one.cost_usd = (one.cost_usd or 0.0) + usd
        if run.status in (*HANDED_ON, "node done"):
            return  # another run ends with the result
        if run.status == "failed":
            one.failed += 1
            self._take_failure(run)
        elif run.status == "done":
            one.done += 1
        else:
            one.skipped += 1
        one.ends.add(int(run.ended_ms))
        if self._launch is not None and self._launch.function == run.function:
            self._take_of_launch(self._launch, run)

    def set_queues(self, function: str, queues: Queues) -> None:
        """Replace what is known of the queues of a function."""
        self._functions[function].queues = queues

    def set_running(self, function: str, number: int) -> None:
        """Replace the number of runs in progress on Lambda."""
        self._functions[function].lambda_running = number

    def snapshot(self, now_ms: int) -> Snapshot:
        """The numbers at this moment."""
        functions = tuple(
            FunctionNumbers(
                name,
                one.deployed.mode,
                one.deployed.inputs,
                one.deployed.outputs,
                self._feeds[name],
                one.queues,
                one.lambda_running,
                one.done,
                one.failed,
                one.skipped,
                one.ends.history(now_ms),
                one.cost_usd,
            )
            for name, one in self._functions.items()
        )
        launch = self._launch_numbers()
        return Snapshot(
            now_ms,
            self._since_ms,
            functions,
            tuple(self._failures),
            self._all_failures,
            tuple((function, reason, count) for (function, reason), count in self._reasons.most_common()),
            launch,
            estimate(list(_steps(functions, launch))),
            self.trouble,
            self.is_complete,
        )

    def _take_failure(self, run: Run) -> None:
        reason = reason_of(run)
        output = (run.last_lines or "").rstrip().rpartition("\n")[2][:_LINE_LENGTH]
        self._failures.append(Failure(int(run.ended_ms), run.function, run.subject, reason, output))
        self._all_failures += 1
        key = (run.function, reason)
        if key not in self._reasons and len(self._reasons) >= _REASONS_KEPT:
            key = (run.function, OTHER_REASONS)
        self._reasons[key] += 1

    def _take_of_launch(self, launch: LaunchProgress, run: Run) -> None:
        if run.ended_ms < launch.since_ms or not launch.has(run.subject):
            return
        file = hash(run.subject)
        if run.status == "failed":
            self._launch_failed.add(file)
        else:
            self._launch_failed.discard(file)
            self._launch_done += 1

    def _launch_numbers(self) -> LaunchNumbers | None:
        launch = self._launch
        if launch is None:
            return None
        done, failed = self._launch_done, len(self._launch_failed)
        return LaunchNumbers(
            launch.function, str(launch.path), launch.files, done, failed, is_sending=not launch.is_over
        )


def _steps(functions: Sequence[FunctionNumbers], launch: LaunchNumbers | None) -> Iterator[Step]:
    for one in functions:
        left = (one.queued or 0) + one.running
        is_least = one.queues.batch_is_least or (one.queued is None and one.running > 0)
        if launch is not None and launch.function == one.function:
            left, is_least = max(left, launch.left), launch.is_sending
        done = one.done + one.skipped
        yield Step(one.function, left, done, steady_per_second(one.history), one.feeds, is_least)


def _feeds(functions: Sequence[DeployedFunction]) -> dict[str, tuple[str, ...]]:
    """For each function, those that read a folder that it writes to, or one above or below it."""
    exact: dict[str, list[int]] = {}
    below: dict[str, list[int]] = {}
    for number, one in enumerate(functions):
        for path in one.inputs:
            exact.setdefault(path, []).append(number)
            for above in _with_those_above(path):
                below.setdefault(above, []).append(number)
    found = {}
    for one in functions:
        readers = {number for path in one.outputs for number in below.get(path, ())}
        for path in one.outputs:
            readers.update(number for above in _with_those_above(path) for number in exact.get(above, ()))
        found[one.name] = tuple(functions[number].name for number in sorted(readers))
    return found


def _with_those_above(path: str) -> Iterator[str]:
    """`a/b` and `a` for the folder `a/b`."""
    while path:
        yield path
        path = path.rpartition("/")[0]
