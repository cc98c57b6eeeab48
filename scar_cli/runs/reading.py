"""The runs of deployed functions: from CloudWatch Logs, and of jobs that wrote no log from AWS Batch.

Logs are read page by page, so memory does not grow with the number of runs.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from scar_cli.aws.deployed import DeployedFunction
from scar_cli.aws.failure_queues import UnreadableMessageError, event_of, stored_event, subject_of
from scar_cli.aws.jobs import Jobs, described, jobs_of
from scar_cli.aws.logs import groups, lines_of_group
from scar_cli.aws.session import client
from scar_cli.processes import PROCESSES, rows_of
from scar_cli.progress import activity
from scar_cli.runs.assembling import LIVE_PATTERN, assembler
from scar_cli.runs.model import Run
from scar_cli.runs.summary import Overview

_LONGEST_RUN_MS = 15 * 60 * 1000
_LATE_MS = 60_000
"""Lambda and the runner write the last lines of a run within this time."""
_DESCRIBED = 1000
"""Jobs without a log of which the file is looked up."""
_SHOWN_EVERY = 5000

Clients = Mapping[tuple[str, str], Any]
"""boto3 clients by service and region."""


def clients_of(functions: Sequence[DeployedFunction]) -> Clients:
    """The clients for the functions: creating one takes as long as all of its calls for a function."""
    needed = {(service, function.region) for function in functions for service in ("logs", "sqs")}
    batch = [function.region for function in functions if function.job_queue is not None]
    needed |= {(service, region) for service in ("batch", "s3") for region in batch}
    return {(service, region): client(service, region=region) for service, region in sorted(needed)}


@dataclass
class FunctionRuns:
    """The runs of one function in a period, and what is known only after they were read."""

    function: DeployedFunction
    start_ms: int
    end_ms: int | None = None
    jobs: Jobs | None = None
    """The jobs of Batch."""
    running: int = 0
    """Runs on Lambda and in Batch that have not ended."""
    next_sizes: int = 0
    """Jobs that were submitted with the next size of `batch.retry`."""

    def read(self, clients: Clients) -> Iterator[Run]:
        """The runs that ended in the period, by log group and in the order of their ends.

        Raises:
            UserError: a call to AWS fails.
        """
        function = self.function
        logged: set[str] = set()
        for group in groups(function):
            for run in self._of_group(clients["logs", function.region], group):
                if self._is_wanted(run):
                    if run.status == "failed" and run.mode == "batch":
                        logged.add(run.request_id)
                    yield run
        if function.job_queue is not None:
            jobs = self.jobs = jobs_of(clients["batch", function.region], function, self.start_ms)
            self.running += jobs.running
            unlogged = [one for one in jobs.failed if one["jobId"] not in logged]
            yield from filter(self._is_wanted, self._unlogged(clients, unlogged))

    def _is_wanted(self, run: Run) -> bool:
        return self.start_ms <= run.ended_ms and (self.end_ms is None or run.ended_ms <= self.end_ms)

    def _of_group(self, logs: Any, group: str) -> Iterator[Run]:
        runs = assembler(self.function, group)
        # A run that is going on may have started before the period.
        first = min(self.start_ms, int(time.time() * 1000) - _LONGEST_RUN_MS)
        last = None if self.end_ms is None else self.end_ms + _LATE_MS
        for line in lines_of_group(logs, self.function, group, first, last, pattern=LIVE_PATTERN):
            if ended := runs.take(line):
                yield from ended
        self.running += runs.running()
        self.next_sizes += len(runs.next_sizes)
        yield from runs.flush()

    def _unlogged(self, clients: Clients, failed: Sequence[dict[str, Any]]) -> Iterator[Run]:
        """Jobs that failed without a line of the runner: they did not start, or their host was lost."""
        region = self.function.region
        ids = [job["jobId"] for job in failed[:_DESCRIBED]]
        subjects = {
            job["jobId"]: _subject(job, clients["s3", region])
            for job in described(clients["batch", region], ids)
        }
        for job in failed:
            ended = job.get("stoppedAt") or job["createdAt"]
            started = min(job.get("startedAt") or ended, ended)
            yield Run(
                self.function.name,
                region,
                "batch",
                "failed",
                started,
                ended,
                job["jobId"],
                "",
                subjects.get(job["jobId"], ""),
                total_ms=ended - started,
                queued_ms=max(0, started - job["createdAt"]),
                error=job.get("container", {}).get("reason") or job.get("statusReason") or "unknown",
            )


@dataclass
class RunReader:
    """Reads the runs of several functions, and shows how many there are.

    Logs are read and parsed in other processes, while this one counts runs.
    """

    functions: Sequence[DeployedFunction]
    clients: Clients
    start_ms: int
    end_ms: int | None = None
    select: Callable[[Iterable[Run]], Iterable[Run]] | None = None
    """Selects some of the runs, which come in the order of the functions."""

    def runs(self) -> Iterator[Run]:
        """
        Raises:
            UserError: a call to AWS fails.
        """
        count = 1 if self.select is not None else min(PROCESSES, len(self.functions))
        sources = [partial(self._of, self.functions[first::count]) for first in range(count)]
        runs: Iterable[Run] = map(Run._make, rows_of(sources))
        if self.select is not None:
            runs = self.select(runs)
        with activity("Reading logs") as shows:
            for number, run in enumerate(runs, start=1):
                if number % _SHOWN_EVERY == 0:
                    shows(f"Reading logs: {number:,} runs")
                yield run

    def overview(self, price: Callable[[Run], float | None] | None = None) -> Overview:
        """The numbers of the runs; `price` is what a run has cost in USD.

        Raises:
            UserError: a call to AWS fails, or the disk is full.
        """
        overview = Overview(self.functions, price)
        for run in self.runs():
            overview.add(run)
        overview.settle()
        return overview

    def _of(self, functions: Sequence[DeployedFunction]) -> Iterator[Run]:
        for function in functions:
            yield from FunctionRuns(function, self.start_ms, self.end_ms).read(self.clients)


def _subject(job: dict[str, Any], s3: Any) -> str:
    message = json.dumps({"detail-type": "Batch Job State Change", "detail": job}, default=str)
    try:
        subject = subject_of(event_of(message, partial(stored_event, s3)))
    except UnreadableMessageError:
        return ""
    return f"s3://{subject}" if "/" in subject else subject
