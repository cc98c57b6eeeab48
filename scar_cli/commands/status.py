"""`scar status`: what is queued, running, done and failed, for each function.

Lambda tells nobody what waits in its queue of asynchronous events; what has run is counted in the log. Batch
counts its jobs. What has failed for good waits in the failure queue, until `scar retry`.
"""

from __future__ import annotations

import json
import re
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Any, Unpack

import click

from scar_cli.aws.deployed import Choice, DeployedFunction, selected, selects_functions
from scar_cli.aws.failure_queues import depth
from scar_cli.aws.logs import groups, lines, moment_ms, parsed
from scar_cli.aws.session import client, explained
from scar_cli.examples import examples
from scar_cli.table import table, takes_colours

_LONGEST_RUN_MS = 15 * 60 * 1000
_LOOK_EVERY_S = 2.0
_WAITING = ("SUBMITTED", "PENDING", "RUNNABLE", "STARTING")
_HEAD = ("FUNCTION", "MODE", "QUEUED", "RUNNING", "DONE", "FAILED RUNS", "IN FAILURE QUEUE", "LAST ACTIVITY")


@dataclass
class Status:
    """Of one function."""

    function: str
    mode: str
    queued: int | None = None
    """Jobs that wait in Batch; None: Lambda does not tell."""
    running: int = 0
    done: int = 0
    failed: int = 0
    """Runs; one event may fail several times before it is given up."""
    failure_queue: int = 0
    last_activity: str | None = None


@click.command("status", epilog=examples("scar status", "scar status -f workflow.yaml --follow"))
@selects_functions
@click.option("--since", default="24h", show_default=True, metavar="TIME", help="Count runs from then on.")
@click.option("--follow", is_flag=True, help="Look again every few seconds, until Ctrl-C.")
@click.option("-j", "--json", "as_json", is_flag=True, help="Answer in JSON.")
def command(*, since: str, follow: bool, as_json: bool, **choice: Unpack[Choice]) -> int:
    """Show what is queued, running, done and failed. Ends with 1 if a failure queue holds something.

    QUEUED is `?` for functions of Lambda, which tells nobody what waits there.
    """
    functions = selected(**choice)
    start = moment_ms(since)
    while True:
        with ThreadPoolExecutor(8) as pool:
            found = list(pool.map(lambda function: _status(function, start), functions))
        if as_json:
            click.echo(json.dumps({"functions": [asdict(one) for one in found]}))
        else:
            if follow:
                click.clear()
            _print(found)
        if not follow:
            return 1 if any(one.failure_queue for one in found) else 0
        time.sleep(_LOOK_EVERY_S)


def _print(found: list[Status]) -> None:
    if not found:
        click.echo("No function is deployed here.", err=True)
        return
    rows = [
        (
            one.function,
            one.mode,
            "?" if one.queued is None else str(one.queued),
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
    waiting = [one.function for one in found if one.failure_queue]
    if waiting:
        click.echo("What is in a failure queue is kept: `scar retry` sends it again.", err=True)


def _status(function: DeployedFunction, start_ms: int) -> Status:
    status = Status(function.name, function.mode)
    logs = {function.region: client("logs", region=function.region)}
    last = last_activity(logs[function.region], function)
    status.last_activity = moment(last)
    lambda_only = [replace(function, batch_log_group=None)]
    for line in lines(logs, lambda_only, start_ms, pattern='"summary"'):
        own = parsed(line.text)
        if own is not None and own["message"] == "summary":
            status.done += own.get("status") == "done"
            status.failed += own.get("status") == "failed"
    recent = int(time.time() * 1000) - _LONGEST_RUN_MS
    started = _requests(logs, lambda_only, recent, "START")
    if started:
        status.running = len(started - _requests(logs, lambda_only, recent, "END"))
    if function.job_queue is not None:
        batch = client("batch", region=function.region)
        status.queued = sum(_jobs(batch, function.job_queue, state) for state in _WAITING)
        status.running += _jobs(batch, function.job_queue, "RUNNING")
        status.done += _jobs(batch, function.job_queue, "SUCCEEDED", start_ms)
        status.failed += _jobs(batch, function.job_queue, "FAILED", start_ms)
    status.failure_queue = depth(client("sqs", region=function.region), function.failure_queue_url)
    return status


def _requests(logs: dict[str, Any], functions: list[DeployedFunction], start_ms: int, word: str) -> set[str]:
    """Ids of the requests that have started, or ended."""
    told = re.compile(rf"{word} RequestId: (\S+)")
    found = lines(logs, functions, start_ms, pattern=f'"{word} RequestId"')
    return {match[1] for line in found if (match := told.match(line.text)) is not None}


def _jobs(batch: Any, queue: str, state: str, start_ms: int = 0) -> int:
    with explained():
        pages = batch.get_paginator("list_jobs").paginate(jobQueue=queue, jobStatus=state)
        return sum(job.get("createdAt", 0) >= start_ms for page in pages for job in page["jobSummaryList"])


def last_activity(logs: Any, function: DeployedFunction) -> int | None:
    """When a log of the function was last written to, in milliseconds since 1970."""
    moments = []
    for group in groups(function):
        with explained("ResourceNotFoundException"):
            answer = logs.describe_log_streams(
                logGroupName=group, orderBy="LastEventTime", descending=True, limit=1
            )
            moments += [stream.get("lastEventTimestamp", 0) for stream in answer["logStreams"]]
    return max(moments, default=0) or None


def moment(milliseconds: int | None) -> str | None:
    """The time as ISO 8601, in UTC."""
    if milliseconds is None:
        return None
    time_ = datetime.fromtimestamp(milliseconds / 1000, UTC)
    return time_.isoformat(timespec="seconds").replace("+00:00", "Z")


def local_time(moment: str | None) -> str:
    """For a table."""
    return "-" if moment is None else f"{datetime.fromisoformat(moment).astimezone():%Y-%m-%d %H:%M:%S}"
