"""Logs of functions: log events of CloudWatch, and the lines of the runner in them.

A line of the runner is JSON and contains the id of its request; the output of a script does not. Lambda runs
one request at a time in a stream, so a line belongs to the request that has started there last. A stream of
Batch belongs to one attempt of a job.
"""

from __future__ import annotations

import heapq
import json
import re
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from scar_cli.aws.deployed import DeployedFunction
from scar_cli.aws.session import explained
from scar_cli.errors import UserError

_PAGE = 10_000
"""Maximum number of events in one response of CloudWatch."""
_STARTED = re.compile(r"START RequestId: (\S+)")
_OF_LAMBDA = re.compile(
    r"(START|END|REPORT) RequestId: |INIT_START |INIT_REPORT |EXTENSION\s|XRAY |"
    r"\S+ \S+ Task timed out after |RequestId: \S+ Error: |Runtime\.[A-Za-z]+$"
)
"""Lines that Lambda itself writes."""
_KILLED = re.compile(r"(?:\S+ (\S+) (?=Task timed out after )|RequestId: (\S+) Error: )([^\r\n]+)")
_LONGEST_RUN_S = 15 * 60
"""Of Lambda."""
_REPORT = "[report]"
"""Differs from all messages of the runner."""
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_OWN_FIELDS = ("scar", "time", "level", "message", "request_id", "function", "_aws")
"""Fields that all lines have, and that of the metrics of a line."""
_ERROR_FIELDS = ("kind", "error", "last_lines")
"""Of the lines `stage` and `summary`; the line `failed` has the same error, and the log the same output."""


class Line(NamedTuple):
    """One line of a log."""

    timestamp_ms: int
    function: str
    stream: str
    text: str
    event_id: str = ""


def moment_ms(text: str) -> int:
    """`10m`, `2h`, `1d` ago, or an ISO 8601 time (local if it has no zone), in milliseconds since 1970.

    Raises:
        UserError: it is neither.
    """
    try:
        if match := re.fullmatch(r"(\d{1,6})\s*([smhdw])", text.strip()):
            moment = datetime.now(UTC) - timedelta(**{_UNITS[match[2]]: int(match[1])})
            return int(moment.timestamp() * 1000)
        return int(datetime.fromisoformat(text.strip()).timestamp() * 1000)
    except (ValueError, OverflowError):
        raise UserError(f"{text!r} is not a time", "Examples: 10m, 2h, 1d, 2026-01-31T12:00") from None


def lines(
    clients: dict[str, Any],
    functions: Sequence[DeployedFunction],
    start_ms: int | None = None,
    stream: str | None = None,
    pattern: str | None = None,
) -> Iterator[Line]:
    """The lines of all log groups of the functions, sorted by time, read page by page."""
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
    """Log groups of a function: of Lambda, and of Batch if it has one."""
    return [function.log_group] + ([function.batch_log_group] if function.batch_log_group else [])


def parsed(text: str) -> dict[str, Any] | None:
    """A line of the runner as a JSON object; None for any other line.

    The runner changes output of a script that begins like a line of the runner (`runtime/logs.py`). Otherwise
    a script could report any file as done.
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
    end_ms: int | None = None,
    *,
    streams: list[str] | None = None,
    pattern: str | None = None,
) -> Iterator[Line]:
    """The lines of one log group, read page by page: of these `streams`, and those that match `pattern`."""
    request: dict[str, Any] = {"logGroupName": group}
    if start_ms is not None:
        request["startTime"] = max(0, start_ms)
    if end_ms is not None:
        request["endTime"] = max(0, end_ms)
    if streams:
        request["logStreamNames"] = streams
    if pattern:
        request["filterPattern"] = pattern
    with explained("ResourceNotFoundException"):  # the group does not exist before its first line
        name = function.name
        for page in _pages(logs, request):
            for event in page:
                text = event["message"].rstrip("\n")
                yield Line(event["timestamp"], name, event["logStreamName"], text, event.get("eventId", ""))


def _pages(logs: Any, request: Mapping[str, Any]) -> Iterator[list[dict[str, Any]]]:
    """All events, page by page.

    CloudWatch returns a token for the next page. The embedded cloud does not: after a full page, the next one
    starts at the time of the last event, and events of that time that were seen before are skipped.
    """
    request = dict(request)
    seen: Counter[tuple[str, str]] = Counter()
    while True:
        page = logs.filter_log_events(**request)
        events, token = page["events"], page.get("nextToken")
        yield _unseen(events, request["startTime"], seen) if seen else events
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


def _unseen(
    events: list[dict[str, Any]], start_ms: int, seen: Counter[tuple[str, str]]
) -> list[dict[str, Any]]:
    """The events without those at the start that were seen before, each as often as it was seen."""
    again = Counter(seen)
    found = []
    for event in events:
        key = (event["logStreamName"], event["message"])
        if event["timestamp"] == start_ms and again[key] > 0:
            again[key] -= 1
        else:
            found.append(event)
    return found


def belongs(line: Line, current: dict[str, str]) -> str:
    """The request of a line. `current` maps each stream to its latest request, and is updated."""
    if started := _STARTED.match(line.text):
        current[line.stream] = started[1]
    elif (own := parsed(line.text)) is not None and own.get("request_id"):
        current[line.stream] = str(own["request_id"])  # the job, in a stream of Batch
    elif named := re.match(r"(?:END|REPORT) RequestId: (\S+)", line.text):
        return named[1]
    return current.get(line.stream, "")


def readable(own: dict[str, Any]) -> str:
    """`LEVEL message key=value …`, without the fields that all lines have, and without repeated errors."""
    left_out = _OWN_FIELDS if own["message"] == "failed" else (*_OWN_FIELDS, *_ERROR_FIELDS)
    fields = [f"{key}={_value(value)}" for key, value in own.items() if key not in left_out]
    return " ".join([str(own["level"]), str(own["message"]), *fields])


class RepeatedErrors:
    """Finds the lines in which Lambda's runtime interface client reports the exception of the runner.

    They repeat errors that the runner has logged, with a traceback. On AWS, a report is one event with
    several lines; on the embedded cloud, each line is an event. A report directly follows a line of the
    runner. Output of a script may also begin with `[ERROR] `, but does not follow a logged error.
    """

    def __init__(self) -> None:
        self._latest: dict[str, str] = {}
        """For each stream: message of the latest line, if it is of the runner, or `_REPORT` in a report."""

    def has(self, line: Line) -> bool:
        """Whether the line belongs to such a report. Takes all lines of a stream in their order."""
        latest = self._latest.get(line.stream, "")
        own = parsed(line.text)
        if own is not None or not is_of_script(line):
            self._latest[line.stream] = str(own["message"]) if own is not None else ""
            return False
        begins = line.text.startswith("[ERROR] ") and (
            latest == "failed" or (latest != "" and line.text.startswith("[ERROR] InvocationError: "))
        )
        is_report = begins or latest == _REPORT
        self._latest[line.stream] = _REPORT if is_report else ""
        return is_report


def is_of_script(line: Line) -> bool:
    """Whether neither the runner nor Lambda wrote the line. Does not recognize `RepeatedErrors`."""
    return parsed(line.text) is None and _OF_LAMBDA.match(line.text) is None


def killed(text: str) -> str | None:
    """Why Lambda has ended a run, such as `Task timed out after 3.00 seconds`; None for any other line."""
    found = killed_request(text)
    return found[1] if found else None


def killed_request(text: str) -> tuple[str, str] | None:
    """The request that Lambda has ended, and why."""
    found = _KILLED.match(text)
    return (found[1] or found[2], found[3]) if found else None


class FailedRuns:
    """Finds the lines of failed runs. The lines of a run are kept until it has failed or ended."""

    def __init__(self) -> None:
        self._current: dict[str, str] = {}
        self._waiting: dict[tuple[str, str], list[Line]] = {}
        self._failed: set[tuple[str, str]] = set()

    def take(self, line: Line) -> list[Line]:
        """The lines that are now known to belong to a failed run."""
        run = (line.stream, belongs(line, self._current))
        if _STARTED.match(line.text):  # the next attempt has the id of the first one
            self._failed.discard(run)
        if run in self._failed:
            return [line]
        self._waiting.setdefault(run, []).append(line)
        own = parsed(line.text)
        is_summary = own is not None and own["message"] == "summary"
        if own is None:
            has_failed = killed(line.text) is not None
        else:
            has_failed = own["message"] == "failed" or (is_summary and own.get("status") == "failed")
        if has_failed:
            self._failed.add(run)
            return self._waiting.pop(run)
        if is_summary or line.text.startswith("REPORT "):
            del self._waiting[run]
        return []


class UnfinishedRuns:
    """Finds runs that have started and not ended."""

    def __init__(self) -> None:
        self._current: dict[str, str] = {}
        self._latest_ms: dict[tuple[str, str], int] = {}

    def take(self, line: Line) -> None:
        """Take the next line of the log."""
        run = (line.stream, belongs(line, self._current))
        own = parsed(line.text)
        if (own is not None and own["message"] in ("summary", "failed")) or line.text.startswith("END "):
            self._latest_ms.pop(run, None)
        elif own is not None or run in self._latest_ms or _STARTED.match(line.text):
            self._latest_ms[run] = line.timestamp_ms

    def exist(self) -> bool:
        """Whether such a run has logged something lately. One that was killed may have no end."""
        recent = (time.time() - _LONGEST_RUN_S) * 1000
        return any(latest >= recent for latest in self._latest_ms.values())


def last_activity(logs: Any, function: DeployedFunction) -> int | None:
    """Time of the latest line in the logs of a function, in milliseconds since 1970.

    Raises:
        UserError: a call to AWS fails.
    """
    moments = []
    for group in groups(function):
        with explained("ResourceNotFoundException"):
            answer = logs.describe_log_streams(
                logGroupName=group, orderBy="LastEventTime", descending=True, limit=1
            )
            moments += [stream.get("lastEventTimestamp", 0) for stream in answer["logStreams"]]
    return max(moments, default=0) or None


def _value(value: object) -> str:
    return value if isinstance(value, str) and " " not in value else json.dumps(value, ensure_ascii=False)
