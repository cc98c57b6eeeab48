"""`scar status`: queued, running, done and failed runs of each function, and why runs failed.

Runs are counted in the logs. AWS Batch counts the jobs that wait or run. Events that are given up remain in
the failure queue until `scar retry` sends them again.
"""

from __future__ import annotations

import json
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from typing import Unpack

import click

from scar_cli.aws.deployed import DeployedFunction, selected
from scar_cli.aws.failure_queues import depth, in_input_queues
from scar_cli.aws.kept_queues import described, kept_queues_of
from scar_cli.aws.logs import last_activity, moment_ms
from scar_cli.examples import with_examples
from scar_cli.options import Choice, prints_json, selects_functions
from scar_cli.runs.reading import Clients, FunctionRuns, clients_of
from scar_cli.runs.reasons import reason_of
from scar_cli.table import counted, iso_time, local_time, table, takes_colours

_REASONS_SHOWN = 5
_HEAD = (
    "FUNCTION",
    "MODE",
    "QUEUED",
    "OLDEST",
    "RUNNING",
    "DONE",
    "FAILED",
    "FAILURE QUEUE",
    "LAST ACTIVITY",
)


@dataclass
class Status:
    """Status of one function."""

    function: str
    mode: str
    queued: int | None = None
    """Files that wait in input queues, and jobs that wait in Batch; None for Lambda without such a queue,
    which does not report its events."""
    input_queue: int | None = None
    """The files among them."""
    oldest_queued_s: int | None = None
    """Seconds since the oldest of them was submitted."""
    running: int = 0
    done: int = 0
    failed: int = 0
    """Attempts to process an event that failed, whether or not a later attempt succeeded."""
    reasons: dict[str, int] = field(default_factory=dict)
    """Why they failed, most frequent first."""
    larger: int = 0
    """Jobs that were submitted with the next size of `batch.retry`."""
    failure_queue: int = 0
    """Events that were given up after their last attempt."""
    last_activity: str | None = None


@with_examples("status", "scar status", "scar status -f workflow.yaml", "scar status --since 1h")
@selects_functions
@click.option(
    "--since",
    default="24h",
    metavar="TIME",
    help="Count runs in the last 10m, 2h or 1d, or since 2026-01-31T12:00.",
)
@prints_json
def command(*, since: str, as_json: bool, **choice: Unpack[Choice]) -> int:
    """Show queued, running, done and failed runs of functions, and why runs failed.

    The exit code is 1 if a failure queue is not empty. Queues that `cdk destroy` has kept are included.

    \b
    QUEUED         files waiting in the input queue, and jobs waiting in AWS Batch; ? for Lambda
                   without an input queue, which does not report it
    OLDEST         how long the oldest of these jobs has been waiting
    RUNNING        runs in progress, on Lambda or Batch
    DONE           runs that succeeded
    FAILED         runs that failed; an event can fail several times, because each retry is a
                   run of its own
    FAILURE QUEUE  events that failed on their last attempt; `scar retry` sends them again
    """
    functions = selected(**choice)
    start = moment_ms(since)
    everything = not any(choice.values())
    clients = clients_of(functions)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda function: _status(function, start, clients), functions))
    kept = kept_queues_of(functions, everything=everything)
    if as_json:
        answer = {"functions": [asdict(one) for one in found], "kept_queues": list(map(asdict, kept))}
        click.echo(json.dumps(answer))
    else:
        _print(found)
        for line in described(kept, {one.function for one in found}):
            click.echo(line)
    return 1 if kept or any(one.failure_queue for one in found) else 0


def _print(found: list[Status]) -> None:
    if not found:
        click.echo("No functions are deployed. To deploy one: scar init -f FILE", err=True)
        return
    rows = [
        (
            one.function,
            one.mode,
            "?" if one.queued is None else str(one.queued),
            "-" if one.oldest_queued_s is None else _duration(one.oldest_queued_s),
            str(one.running),
            str(one.done),
            str(one.failed),
            str(one.failure_queue),
            local_time(one.last_activity),
        )
        for one in found
    ]
    colours = takes_colours(sys.stdout)
    head, *lines = table(_HEAD, rows)
    click.echo(click.style(head, bold=True) if colours else head)
    for one, line in zip(found, lines, strict=True):
        click.echo(click.style(line, fg="red") if colours and one.failure_queue else line)
    reasons = [row for one in found for row in _rows_of_reasons(one)]
    if reasons:
        click.echo()
        head, *lines = table(("FUNCTION", "FAILED", "REASON"), reasons)
        click.echo(click.style(head, bold=True) if colours else head)
        for line in lines:
            click.echo(line)
    for one in found:
        if one.larger:
            click.echo(
                f"{one.function}: {counted(one.larger, 'job')} continued with the next size of `batch.retry`"
            )
    if any(one.failed for one in found):
        click.echo("To see the failed runs: scar log --errors", err=True)
    if any(one.failure_queue for one in found):
        click.echo("To send the events in failure queues again: scar retry", err=True)


def _rows_of_reasons(status: Status) -> Iterator[tuple[str, str, str]]:
    reasons = list(status.reasons.items())
    for reason, count in reasons[:_REASONS_SHOWN]:
        yield status.function, str(count), reason
    if rest := reasons[_REASONS_SHOWN:]:
        yield status.function, str(sum(count for _reason, count in rest)), f"({len(rest)} other reasons)"


def _duration(seconds: int) -> str:
    """`45s`, `12m`, `3h` or `2d`."""
    for unit, size in (("d", 86_400), ("h", 3600), ("m", 60)):
        if seconds >= size:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"


def _status(function: DeployedFunction, start_ms: int, clients: Clients) -> Status:
    status = Status(function.name, function.mode)
    status.last_activity = iso_time(last_activity(clients["logs", function.region], function))
    found = FunctionRuns(function, start_ms)
    reasons: Counter[str] = Counter()
    for run in found.read(clients):
        status.done += run.status == "done"
        if run.status == "failed":
            reasons[reason_of(run)] += 1
    status.running, status.larger = found.running, found.next_sizes
    if found.jobs is not None:
        status.queued = found.jobs.queued
        if found.jobs.oldest_queued_ms is not None:
            status.oldest_queued_s = max(0, int(time.time() - found.jobs.oldest_queued_ms / 1000))
    sqs = clients["sqs", function.region]
    status.input_queue = in_input_queues(sqs, function)
    if status.input_queue is not None:
        status.queued = (status.queued or 0) + status.input_queue
    status.failed = reasons.total()
    status.reasons = dict(reasons.most_common())
    status.failure_queue = depth(sqs, function.failure_queue_url)
    return status
