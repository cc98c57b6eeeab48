"""Looks at what is deployed: a bounded number of calls to AWS, which reads each line of a log once.

CloudWatch Logs accepts few calls of FilterLogEvents: in most regions 5 a second from all users of an account.
`PacedLogs` makes at most half of that. With many functions, a look reads those that are busy, and a few of
the others in turn.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from scar_cli.aws.deployed import DeployedFunction
from scar_cli.aws.failure_queues import depth, in_input_queues
from scar_cli.aws.jobs import unfinished_jobs
from scar_cli.aws.logs import Line, groups, lines_of_group
from scar_cli.aws.session import client, is_passing
from scar_cli.errors import UserError
from scar_cli.runs.assembling import LIVE_PATTERN, RunAssembler, assembler
from scar_cli.runs.model import Run
from scar_cli.watch.state import Queues, State

LOOK_EVERY_S = 2.0
_CALL_EVERY_S = 0.4
_JOBS_EVERY_S = 10.0
_QUIET_IN_A_LOOK = 3
_BUSY_FOR_S = 60.0
_LATE_MS, _LATE_IN_LONG_LOGS_MS = 60_000, 10_000
"""A line may reach CloudWatch this long after it was written, most after a few seconds. Logs with many lines
are read again for the shorter time only."""
_PRUNED_AT = 20_000
_LONGEST_RUN_MS = 15 * 60 * 1000
"""Of Lambda."""
_LONGEST_PAUSE_S = 60.0

Clients = Callable[[str, str], Any]
"""The client of a service in a region."""


def clients() -> Clients:
    """Clients that give up soon: the pause after a rejected call is up to `Looks`."""
    made: dict[tuple[str, str], Any] = {}

    def get(service: str, region: str) -> Any:
        if (service, region) not in made:
            patience = {"mode": "standard", "max_attempts": 2}
            made[service, region] = client(service, region=region, retries=patience)
        return made[service, region]

    return get


@dataclass
class PacedLogs:
    """A client of CloudWatch Logs that makes few calls, however many pages are read."""

    client: Any
    now: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    calls: int = 0
    _free_at: float = 0.0

    def filter_log_events(self, **request: Any) -> Any:
        """Call FilterLogEvents, after a pause if the last call was made just now."""
        self.sleep(max(0.0, self._free_at - self.now()))
        self._free_at = self.now() + _CALL_EVERY_S
        self.calls += 1
        return self.client.filter_log_events(**request)


class Log:
    """One log group, of which each line is returned once."""

    def __init__(self, function: DeployedFunction, group: str, since_ms: int) -> None:
        self._function = function
        self._group = group
        self._since_ms = self._newest_ms = since_ms
        self._seen: dict[tuple[int, str, int], int] = {}
        """Lines that will be read again, with the number of equal ones."""
        self._is_long = False

    def new_lines(self, logs: PacedLogs) -> Iterator[Line]:
        """The lines that were not returned yet.

        Raises:
            UserError: a call to AWS fails. The next call continues.
        """
        late_ms = _LATE_IN_LONG_LOGS_MS if self._is_long else _LATE_MS
        start_ms = max(self._since_ms, self._newest_ms - late_ms)
        equal: Counter[tuple[int, str, int]] = Counter()
        calls = logs.calls
        for line in lines_of_group(logs, self._function, self._group, start_ms, pattern=LIVE_PATTERN):
            key = (line.timestamp_ms, line.stream, hash(line.text))
            equal[key] += 1
            self._newest_ms = max(self._newest_ms, line.timestamp_ms)
            if equal[key] > self._seen.get(key, 0):
                self._seen[key] = equal[key]
                yield line
            if len(equal) >= _PRUNED_AT:
                equal = Counter({one: count for one, count in equal.items() if one[0] == line.timestamp_ms})
                self._prune()
        self._is_long = logs.calls - calls > 1
        self._prune()

    def _prune(self) -> None:
        oldest_ms = self._newest_ms - _LATE_MS
        self._seen = {key: count for key, count in self._seen.items() if key[0] >= oldest_ms}


@dataclass
class _Watched:
    """A function, and what is read of it."""

    function: DeployedFunction
    logs: list[tuple[Log, RunAssembler]]
    busy_until: float = 0.0
    queues: Queues = field(default_factory=Queues)


class Looks:
    """Reads what is new, and puts it into a state."""

    def __init__(
        self,
        functions: Sequence[DeployedFunction],
        since_ms: int,
        state: State,
        get: Clients,
        *,
        now: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._state = state
        self._get = get
        self._now = now
        self._sleep = sleep
        self._since_ms = since_ms
        # A run in progress may have started before that time.
        first_ms = min(since_ms, int(time.time() * 1000) - _LONGEST_RUN_MS)
        self._watched = deque(
            _Watched(one, [(Log(one, group, first_ms), assembler(one, group)) for group in groups(one)])
            for one in functions
        )
        self._paced: dict[str, PacedLogs] = {}
        self._jobs_at = -_JOBS_EVERY_S
        self._unread = len(self._watched)
        self._pause_s = LOOK_EVERY_S
        self._began = now()

    def look(self) -> Iterator[Run]:
        """Read what is new. Yields the runs that ended, and updates the state meanwhile.

        A call that AWS throttles or does not answer ends the look; the pause before the next one gets longer.

        Raises:
            UserError: a call fails for another reason.
        """
        self._began = self._now()
        try:
            self._read_jobs()
            for one in self._chosen():
                yield from self._read(one)
                self._unread -= 1
                self._state.is_complete = self._unread <= 0
        except UserError as error:
            if not is_passing(error.__cause__ or error):
                raise
            self._pause_s = min(2 * self._pause_s, _LONGEST_PAUSE_S)
            self._state.trouble = f"{error.cause}. Trying again in {self._pause_s:.0f} s."
        else:
            self._pause_s = LOOK_EVERY_S
            self._state.trouble = ""

    def wait(self) -> None:
        """Pause until the next look."""
        self._sleep(max(0.0, self._began + self._pause_s - self._now()))

    def _chosen(self) -> list[_Watched]:
        """All functions at first; then those that are busy, and some others in turn."""
        if self._unread > 0:
            return list(self._watched)[-self._unread :]
        now = self._now()
        quiet = [one for one in self._watched if one.busy_until < now][:_QUIET_IN_A_LOOK]
        for one in quiet:
            self._watched.remove(one)
            self._watched.append(one)
        return [one for one in self._watched if one.busy_until >= now or one in quiet]

    def _read(self, one: _Watched) -> Iterator[Run]:
        function, region = one.function, one.function.region
        if region not in self._paced:
            self._paced[region] = PacedLogs(self._get("logs", region), self._now, self._sleep)
        for log, lines_to_runs in one.logs:
            for line in log.new_lines(self._paced[region]):
                one.busy_until = self._now() + _BUSY_FOR_S
                for run in lines_to_runs.take(line):
                    if run.ended_ms >= self._since_ms:
                        self._state.take(run)
                        yield run
        running = sum(lines_to_runs.running() for _log, lines_to_runs in one.logs)
        self._state.set_running(function.name, running)
        sqs = self._get("sqs", region)
        one.queues = replace(
            one.queues,
            input_queue=in_input_queues(sqs, function),
            failure_queue=depth(sqs, function.failure_queue_url),
        )
        self._state.set_queues(function.name, one.queues)
        if running or one.queues.input_queue or one.queues.batch_waiting or one.queues.batch_running:
            one.busy_until = self._now() + _BUSY_FOR_S

    def _read_jobs(self) -> None:
        """Read the numbers of jobs, less often: each job queue takes five calls."""
        if self._now() < self._jobs_at + _JOBS_EVERY_S:
            return
        self._jobs_at = self._now()
        by_queue: dict[tuple[str, str], list[_Watched]] = {}
        for one in self._watched:
            if one.function.job_queue is not None:
                by_queue.setdefault((one.function.region, one.function.job_queue), []).append(one)
        for (region, queue), watched in by_queue.items():
            functions = [one.function for one in watched]
            found, is_least = unfinished_jobs(self._get("batch", region), queue, functions)
            for one in watched:
                jobs = found[one.function.name]
                one.queues = replace(
                    one.queues,
                    batch_waiting=jobs.queued,
                    batch_running=jobs.running,
                    batch_is_least=is_least,
                )
                self._state.set_queues(one.function.name, one.queues)
