"""`scar log`: what Lambda and Batch wrote about a function, as one log.

A request that was handed over to Batch goes on in its job's stream; `scar_cli.aws.logs` says which line
belongs to which request.
"""

from __future__ import annotations

import json
import re
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any, Unpack

import click

from scar_cli.aws.deployed import Choice, DeployedFunction, selected, selects_functions
from scar_cli.aws.logs import Line, belongs, lines, lines_of_group, moment_ms, parsed, readable
from scar_cli.aws.session import client
from scar_cli.errors import UserError
from scar_cli.examples import examples
from scar_cli.table import printable_line

_LOOK_EVERY_S = 2.0
_LATE_MS = 60_000
"""A line may reach CloudWatch this long after it was written."""
_STREAMS_AT_ONCE = 100


@click.command(
    "log",
    epilog=examples(
        "scar log -n my-function --since 1h",
        "scar log -f workflow.yaml --follow",
        "scar log -n my-function -ri 4f1c9e3f-dc75-43e6-81a0-78f0145fbedb",
    ),
)
@selects_functions
@click.option("-ri", "--request-id", metavar="ID", help="Only this request, and the job that it became.")
@click.option("-ls", "--log-stream-name", "stream", metavar="STREAM", help="Only this stream.")
@click.option("--since", metavar="TIME", help="Only what is newer: 10m, 2h, 1d, or 2026-01-31T12:00.")
@click.option("--follow", is_flag=True, help="Go on with what is written from now on, until Ctrl-C.")
@click.option("--raw", is_flag=True, help="Print lines as they were written.")
@click.option("-j", "--json", "as_json", is_flag=True, help="Print each line as a JSON object.")
def command(
    *,
    request_id: str | None,
    stream: str | None,
    since: str | None,
    follow: bool,
    raw: bool,
    as_json: bool,
    **choice: Unpack[Choice],
) -> int:
    """Show the logs of functions, of Lambda and Batch alike, in the order of time."""
    functions = selected(**choice)
    if not functions:
        raise UserError("No function is deployed here", "Deploy one: scar init -f FILE")
    if follow and request_id:
        raise UserError("--follow shows all requests", "Leave out one of --follow and --request-id")
    start = moment_ms(since) if since else None
    several = len(functions) > 1
    clients = {region: client("logs", region=region) for region in {one.region for one in functions}}

    def show(line: Line) -> None:
        click.echo(_shown(line, several=several, raw=raw, as_json=as_json))

    if request_id:
        found = False
        for function in functions:
            for line in _lines_of_request(clients[function.region], function, request_id, start):
                found = True
                show(line)
        if not found:
            raise UserError(f"No log tells of the request {request_id}", "Look at the id, or wait a little")
        return 0
    if not follow:
        for line in lines(clients, functions, start, stream):
            show(line)
        return 0
    _follow(clients, functions, start, stream, show)
    return 0


def _lines_of_request(
    logs: Any, function: DeployedFunction, request_id: str, start_ms: int | None
) -> Iterator[Line]:
    if not re.fullmatch(r"[A-Za-z0-9:_-]{1,200}", request_id):
        raise UserError(f"{request_id!r} is no request id", "Copy it from an answer or from a log line")
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


def _follow(
    clients: dict[str, Any],
    functions: Sequence[DeployedFunction],
    start_ms: int | None,
    stream: str | None,
    show: Any,
) -> None:
    """Look again and again, a little back each time: lines may come late, and several may be alike."""
    if start_ms is None:
        start_ms = int(time.time() * 1000) - _LATE_MS
    shown: Counter[Line] = Counter()
    while True:
        now: Counter[Line] = Counter()
        for line in lines(clients, functions, start_ms, stream):
            now[line] += 1
            if now[line] > shown[line]:
                shown[line] = now[line]
                show(line)
        start_ms = max(start_ms, int(time.time() * 1000) - _LATE_MS)
        shown = Counter({line: count for line, count in shown.items() if line.timestamp_ms >= start_ms})
        time.sleep(_LOOK_EVERY_S)


def _shown(line: Line, *, several: bool, raw: bool, as_json: bool) -> str:
    own = parsed(line.text)
    if as_json:
        content = {"timestamp": line.timestamp_ms, "function": line.function, "stream": line.stream}
        return json.dumps({**content, "message": own if own is not None else line.text})
    if raw:
        return printable_line(line.text)
    moment = datetime.fromtimestamp(line.timestamp_ms / 1000).astimezone()
    text = line.text if own is None else readable(own)
    name = f"{line.function}  " if several else ""
    return f"{moment:%Y-%m-%d %H:%M:%S}.{moment.microsecond // 1000:03}  {name}{printable_line(text)}"
