"""`scar log`: what Lambda and Batch wrote about a function, as one log.

A line of the runner is JSON and carries the id of its request; what the container prints carries none. Lambda
runs one request at a time in a stream, so its lines belong to the request that has started there last; a
stream of Batch belongs to one job. A request that was handed over to Batch goes on in its job's stream.
"""

from __future__ import annotations

import heapq
import json
import re
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import click

from scar_cli.aws.deployed import DeployedFunction, selected, selects_functions
from scar_cli.aws.session import client, error_code, explained
from scar_cli.errors import UserError
from scar_cli.examples import examples
from scar_cli.table import printable_line

_LOOK_EVERY_S = 2.0
_LATE_MS = 60_000
"""A line may reach CloudWatch this long after it was written."""
_STREAMS_AT_ONCE = 100
_PAGE = 10_000
"""Events that CloudWatch gives at a time, at most."""
_STARTED = re.compile(r"START RequestId: (\S+)")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_OWN_FIELDS = ("scar", "time", "level", "message", "request_id", "function")


@dataclass(frozen=True, order=True)
class Line:
    """One line of a log."""

    timestamp_ms: int
    function: str
    stream: str
    text: str
    event_id: str = ""


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
    fdl: str | None,
    name: str | None,
    stack: str | None,
    request_id: str | None,
    stream: str | None,
    since: str | None,
    follow: bool,
    raw: bool,
    as_json: bool,
) -> int:
    """Show the logs of functions, of Lambda and Batch alike, in the order of time."""
    functions = selected(fdl, name, stack)
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


def moment_ms(text: str) -> int:
    """`10m`, `2h`, `1d` ago, or an ISO 8601 time (local, if it has no zone), in milliseconds since 1970.

    Raises:
        UserError: it is neither.
    """
    try:
        if match := re.fullmatch(r"(\d{1,6})\s*([smhdw])", text.strip()):
            moment = datetime.now(UTC) - timedelta(**{_UNITS[match[2]]: int(match[1])})
            return int(moment.timestamp() * 1000)
        return int(datetime.fromisoformat(text.strip()).timestamp() * 1000)
    except (ValueError, OverflowError):
        raise UserError(f"{text!r} is no time", "Say for example 10m, 2h, 1d, or 2026-01-31T12:00") from None


def lines(
    clients: dict[str, Any],
    functions: Sequence[DeployedFunction],
    start_ms: int | None = None,
    stream: str | None = None,
    pattern: str | None = None,
) -> Iterator[Line]:
    """The lines of all log groups of the functions, merged by time, read page by page."""
    sources = [
        _group(
            clients[function.region],
            function,
            group,
            start_ms,
            streams=[stream] if stream else None,
            pattern=pattern,
        )
        for function in functions
        for group in groups(function)
    ]
    return heapq.merge(*sources, key=lambda line: line.timestamp_ms)


def groups(function: DeployedFunction) -> list[str]:
    """Log groups of a function: Lambda's, and Batch's if it has one."""
    return [function.log_group] + ([function.batch_log_group] if function.batch_log_group else [])


def parsed(text: str) -> dict[str, Any] | None:
    """A line of the runner as the object that it is; None for what others wrote.

    The runner lets no output of a container through in which any part begins like its own lines
    (`runtime/logs.py`): else a script could say of any file that it is done.
    """
    if not text.startswith('{"scar": 1, '):
        return None
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) and "message" in content and "level" in content else None


def _group(
    logs: Any,
    function: DeployedFunction,
    group: str,
    start_ms: int | None,
    *,
    streams: list[str] | None = None,
    pattern: str | None = None,
) -> Iterator[Line]:
    request: dict[str, Any] = {"logGroupName": group}
    if start_ms is not None:
        request["startTime"] = max(0, start_ms)
    if streams:
        request["logStreamNames"] = streams
    if pattern:
        request["filterPattern"] = pattern
    try:
        with explained():
            for event in _events(logs, request):
                yield Line(
                    event["timestamp"],
                    function.name,
                    event["logStreamName"],
                    event["message"].rstrip("\n"),
                    event.get("eventId", ""),
                )
    except UserError as error:
        if error_code(error.__cause__ or error) != "ResourceNotFoundException":
            raise  # the group is made with the first line, or someone has deleted it


def _events(logs: Any, request: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """All events, page by page.

    CloudWatch names the next page. The embedded cloud does not: a page that is full is followed by one that
    begins with the last event's time, without those of that time that were there already.
    """
    request = dict(request)
    seen: Counter[tuple[str, str]] = Counter()
    while True:
        page = logs.filter_log_events(**request)
        events, token = page["events"], page.get("nextToken")
        again = Counter(seen)
        for event in events:
            key = (event["logStreamName"], event["message"])
            if again[key] > 0 and event["timestamp"] == request.get("startTime"):
                again[key] -= 1
                continue
            yield event
        if token:
            request["nextToken"] = token
            continue
        last = events[-1]["timestamp"] if events else None
        if len(events) < _PAGE or last == request.get("startTime"):
            return
        request["startTime"] = last
        seen = Counter(
            (event["logStreamName"], event["message"]) for event in events if event["timestamp"] == last
        )


def _lines_of_request(
    logs: Any, function: DeployedFunction, request_id: str, start_ms: int | None
) -> Iterator[Line]:
    if not re.fullmatch(r"[A-Za-z0-9:_-]{1,200}", request_id):
        raise UserError(f"{request_id!r} is no request id", "Copy it from an answer or from a log line")
    hits = list(_group(logs, function, function.log_group, start_ms, pattern=f'"{request_id}"'))
    jobs = {request_id}
    for hit in hits:
        own = parsed(hit.text)
        if own is not None and own.get("request_id") == request_id and own.get("job_id"):
            jobs.add(str(own["job_id"]))
    if hits:
        for streams in _chunks(sorted({hit.stream for hit in hits})):
            first = min(hit.timestamp_ms for hit in hits)
            current: dict[str, str] = {}
            for line in _group(logs, function, function.log_group, first, streams=streams):
                if belongs(line, current) == request_id:
                    yield line
    if function.batch_log_group:
        for job in sorted(jobs):
            found = _group(logs, function, function.batch_log_group, start_ms, pattern=f'"{job}"')
            for streams in _chunks(sorted({hit.stream for hit in found})):
                yield from _group(logs, function, function.batch_log_group, start_ms, streams=streams)


def belongs(line: Line, current: dict[str, str]) -> str:
    """The request that a line of Lambda belongs to; `current` holds that of each stream, and is kept up."""
    if started := _STARTED.match(line.text):
        current[line.stream] = started[1]
    elif (own := parsed(line.text)) is not None and own.get("request_id"):
        return str(own["request_id"])
    elif named := re.match(r"(?:END|REPORT) RequestId: (\S+)", line.text):
        return named[1]
    return current.get(line.stream, "")


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


def readable(own: dict[str, Any]) -> str:
    """`LEVEL message: key=value …`, without what stands in each line."""
    fields = [f"{key}={_value(value)}" for key, value in own.items() if key not in _OWN_FIELDS]
    return " ".join([str(own["level"]), str(own["message"]), *fields])


def _value(value: object) -> str:
    return value if isinstance(value, str) and " " not in value else json.dumps(value, ensure_ascii=False)
