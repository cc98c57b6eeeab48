"""`scar log`: the logs of functions, from Lambda and Batch, as one.

A request that was handed over to Batch continues in the stream of its job.
"""

from __future__ import annotations

import json
import re
import sys
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any, Unpack

import click

from scar_cli.aws.deployed import DeployedFunction, selected
from scar_cli.aws.logs import (
    FailedRuns,
    Line,
    RepeatedErrors,
    UnfinishedRuns,
    belongs,
    is_of_script,
    last_activity,
    lines,
    lines_of_group,
    moment_ms,
    parsed,
    readable,
)
from scar_cli.aws.session import client
from scar_cli.errors import UserError
from scar_cli.examples import with_examples
from scar_cli.options import Choice, selects_functions
from scar_cli.table import printable_line

_LOOK_EVERY_S = 2.0
_LATE_MS = 60_000
"""A line may appear in CloudWatch this long after it was written."""
_STREAMS_AT_ONCE = 100
_TAIL = 100
_WINDOWS_MIN = (10, 2 * 60, 24 * 60, 7 * 24 * 60)
"""How far to look back for the last lines, before the whole log is read: CloudWatch reads forward only."""


@with_examples(
    "log",
    "scar log -n my-function",
    "scar log -n my-function --follow",
    "scar log -f workflow.yaml --errors --since 1h",
    "scar log -n my-function --script > output.txt",
    "scar log -n my-function -ri 4f1c9e3f-dc75-43e6-81a0-78f0145fbedb",
)
@selects_functions
@click.option(
    "--tail",
    type=click.IntRange(1),
    metavar="N",
    help=f"Show the last N lines.  [default: {_TAIL}; all lines with --since, -ri or -ls]",
)
@click.option(
    "--since", metavar="TIME", help="Show lines from the last 10m, 2h or 1d, or since 2026-01-31T12:00."
)
@click.option("--follow", is_flag=True, help="Keep printing new lines until Ctrl-C.")
@click.option("--errors", is_flag=True, help="Show only failed runs.")
@click.option("--script", is_flag=True, help="Show only the output of the script, without timestamps.")
@click.option("-ri", "--request-id", metavar="ID", help="Show only this request and the job that it started.")
@click.option("-ls", "--log-stream-name", "stream", metavar="STREAM", help="Show only this log stream.")
@click.option("--raw", is_flag=True, help="Print all lines, unchanged.")
@click.option("-j", "--json", "as_json", is_flag=True, help="Print each line as a JSON object.")
def command(
    *,
    request_id: str | None,
    stream: str | None,
    since: str | None,
    tail: int | None,
    follow: bool,
    errors: bool,
    script: bool,
    raw: bool,
    as_json: bool,
    **choice: Unpack[Choice],
) -> int:
    """Show the logs of functions, from Lambda and Batch, in chronological order.

    An error is shown once, without the traceback of the Lambda runtime; --raw and --json show all lines.
    """
    functions = selected(**choice)
    if not functions:
        raise UserError("No functions are deployed", "Deploy one: scar init -f FILE")
    if follow and request_id:
        raise UserError("--follow cannot be combined with --request-id", "Use only one of them")
    start = moment_ms(since) if since else None
    if tail is None and not (since or request_id or stream):
        tail = _TAIL
    several = len(functions) > 1
    clients = {region: client("logs", region=region) for region in {one.region for one in functions}}

    def read(start_ms: int | None) -> Iterator[Line]:
        if request_id:
            return _lines_of_request(clients, functions, request_id, start_ms)
        return lines(clients, functions, start_ms, stream)

    def show(found: Iterable[Line]) -> None:
        for line in found:
            click.echo(_shown(line, several=several, script=script, raw=raw, as_json=as_json))

    log = _Log(read, errors=errors, script=script, unchanged=raw or as_json)
    if tail is None:
        show(log.new(start))
    else:
        windows = [start] if request_id or stream else _windows(clients, functions, start)
        show(log.last(tail, windows))
    while follow:
        time.sleep(_LOOK_EVERY_S)
        recent = int(time.time() * 1000) - _LATE_MS
        show(log.new(recent if start is None else max(start, recent)))
    if sys.stderr.isatty() and log.unfinished.exist():
        click.echo("A run is in progress. To see its next lines, add --follow.", err=True)
    return 0


class _Log:
    """Reads the log again and again, and returns each line that is to be shown once."""

    def __init__(
        self, read: Callable[[int | None], Iterator[Line]], *, errors: bool, script: bool, unchanged: bool
    ) -> None:
        self._read = read
        self._only_errors = errors
        self._only_script = script
        self._unchanged = unchanged and not script
        self._forget()

    def _forget(self) -> None:
        self._returned: Counter[Line] = Counter()
        """Lines that the next call may read again. Several may be equal."""
        self._failed = FailedRuns() if self._only_errors else None
        self._repeated = RepeatedErrors()
        self.unfinished = UnfinishedRuns()

    def last(self, count: int, windows: Iterable[int | None]) -> Iterable[Line]:
        """The last lines. `windows` are times to read from, each earlier than the one before."""
        found: deque[Line] = deque(maxlen=count)
        for window in windows:
            self._forget()
            found = deque(self.new(window), maxlen=count)
            if len(found) == count:
                break
        return found

    def new(self, start_ms: int | None) -> Iterator[Line]:
        """The lines since `start_ms` that earlier calls have not returned."""
        for line in self._unread(start_ms):
            self.unfinished.take(line)
            for kept in [line] if self._failed is None else self._failed.take(line):
                is_repeated = self._repeated.has(kept)
                if (self._unchanged or not is_repeated) and (not self._only_script or is_of_script(kept)):
                    yield kept

    def _unread(self, start_ms: int | None) -> Iterator[Line]:
        again_from = int(time.time() * 1000) - _LATE_MS
        found: Counter[Line] = Counter()
        for line in self._read(start_ms):
            if line.timestamp_ms < again_from:
                yield line
                continue
            found[line] += 1
            if found[line] > self._returned[line]:
                yield line
        self._returned = found


def _windows(
    clients: dict[str, Any], functions: Sequence[DeployedFunction], start_ms: int | None
) -> Iterator[int | None]:
    """Times to read the log from, each earlier than the one before."""
    latest = 0
    for function in functions:
        with suppress(UserError):  # the caller may lack the permission
            latest = max(latest, last_activity(clients[function.region], function) or 0)
    # CloudWatch updates the time of the last event with delay, never ahead of the event.
    latest = latest or int(time.time() * 1000)
    for minutes in _WINDOWS_MIN:
        window = latest - minutes * 60_000
        if start_ms is not None and window <= start_ms:
            break
        yield window
    yield start_ms


def _lines_of_request(
    clients: dict[str, Any], functions: Sequence[DeployedFunction], request_id: str, start_ms: int | None
) -> Iterator[Line]:
    if not re.fullmatch(r"[A-Za-z0-9:#_-]{1,200}", request_id):
        raise UserError(
            f"{request_id!r} is not a request ID", "Copy it from the output of scar run or scar log"
        )
    found = False
    for function in functions:
        for line in _lines_in_function(clients[function.region], function, request_id, start_ms):
            found = True
            yield line
    if not found:
        raise UserError(f"No log mentions the request {request_id}", "Check the ID, or wait a moment")


def _lines_in_function(
    logs: Any, function: DeployedFunction, request_id: str, start_ms: int | None
) -> Iterator[Line]:
    hits = list(lines_of_group(logs, function, function.log_group, start_ms, pattern=f'"{request_id}"'))
    jobs = {request_id}
    for hit in hits:
        own = parsed(hit.text)
        if own is not None and own.get("request_id") == request_id and own.get("job_id"):
            jobs.add(str(own["job_id"]))
    if hits:
        for streams in _chunks(sorted({hit.stream for hit in hits})):
            first = min(hit.timestamp_ms for hit in hits)
            current: dict[str, str] = {}
            for line in lines_of_group(logs, function, function.log_group, first, streams=streams):
                if belongs(line, current) == request_id:
                    yield line
    if function.batch_log_group:
        for job in sorted(jobs):
            found = lines_of_group(logs, function, function.batch_log_group, start_ms, pattern=f'"{job}"')
            for streams in _chunks(sorted({hit.stream for hit in found})):
                yield from lines_of_group(logs, function, function.batch_log_group, start_ms, streams=streams)


def _chunks(streams: list[str]) -> Iterator[list[str]]:
    for start in range(0, len(streams), _STREAMS_AT_ONCE):
        yield streams[start : start + _STREAMS_AT_ONCE]


def _shown(line: Line, *, several: bool, script: bool, raw: bool, as_json: bool) -> str:
    own = parsed(line.text)
    if as_json:
        content = {"timestamp": line.timestamp_ms, "function": line.function, "stream": line.stream}
        return json.dumps({**content, "message": own if own is not None else line.text})
    if raw:
        return printable_line(line.text)
    name = f"{line.function}  " if several else ""
    if script:
        return f"{name}{printable_line(line.text)}"
    moment = datetime.fromtimestamp(line.timestamp_ms / 1000).astimezone()
    text = line.text if own is None else readable(own)
    return f"{moment:%Y-%m-%d %H:%M:%S}.{moment.microsecond // 1000:03}  {name}{printable_line(text)}"
