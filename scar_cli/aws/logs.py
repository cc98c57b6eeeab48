"""Logs of functions: CloudWatch's log events, and what the runner writes.

A line of the runner is JSON and contains the id of its request; what the container prints does not. Lambda
runs one request at a time in a stream, so its lines belong to the request that has started there last; a
stream of Batch belongs to one job.
"""

from __future__ import annotations

import heapq
import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from scar_cli.aws.deployed import DeployedFunction
from scar_cli.aws.session import explained
from scar_cli.errors import UserError

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
        lines_of_group(
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


def lines_of_group(
    logs: Any,
    function: DeployedFunction,
    group: str,
    start_ms: int | None,
    *,
    streams: list[str] | None = None,
    pattern: str | None = None,
) -> Iterator[Line]:
    """The lines of one log group, of `streams` alone or those that match `pattern`, read page by page."""
    request: dict[str, Any] = {"logGroupName": group}
    if start_ms is not None:
        request["startTime"] = max(0, start_ms)
    if streams:
        request["logStreamNames"] = streams
    if pattern:
        request["filterPattern"] = pattern
    with explained("ResourceNotFoundException"):  # it is made with the first line, or someone has deleted it
        for event in _events(logs, request):
            yield Line(
                event["timestamp"],
                function.name,
                event["logStreamName"],
                event["message"].rstrip("\n"),
                event.get("eventId", ""),
            )


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


def belongs(line: Line, current: dict[str, str]) -> str:
    """The request that a line of Lambda belongs to; `current` holds that of each stream, and is kept up."""
    if started := _STARTED.match(line.text):
        current[line.stream] = started[1]
    elif (own := parsed(line.text)) is not None and own.get("request_id"):
        return str(own["request_id"])
    elif named := re.match(r"(?:END|REPORT) RequestId: (\S+)", line.text):
        return named[1]
    return current.get(line.stream, "")


def readable(own: dict[str, Any]) -> str:
    """`LEVEL message: key=value …`, without what stands in each line."""
    fields = [f"{key}={_value(value)}" for key, value in own.items() if key not in _OWN_FIELDS]
    return " ".join([str(own["level"]), str(own["message"]), *fields])


def _value(value: object) -> str:
    return value if isinstance(value, str) and " " not in value else json.dumps(value, ensure_ascii=False)
