"""Log lines to runs.

The runner ends each run with the line `summary`. Lambda ends each invocation with the line `REPORT`; for a
batch of SQS messages, an invocation has several runs. A run that Lambda has killed has no summary: the last
line of the runner names its file. A stream of Lambda contains one invocation after another, a stream of Batch
one attempt of a job.
"""

from __future__ import annotations

import json
import re
import time
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from scar_cli.aws.deployed import DeployedFunction
from scar_cli.aws.logs import Line, killed_request, parsed
from scar_cli.runs.model import Run

PATTERN = " ".join(
    f'?"{words}"'
    for words in (
        "summary",
        "REPORT RequestId",
        "stage-in",
        "failed",
        "skipped",
        "submitted",
        "next size",
        "Task timed out",
        "Runtime exited",
    )
)
"""Filter pattern of CloudWatch Logs for the lines that make up runs."""

LIVE_PATTERN = f'{PATTERN} ?"START RequestId"'
"""The same, for those who also want to know which runs have started and not ended."""

_START = '{"scar": 1, '
_MESSAGE = '"message": "'
_METRICS = ', "_aws": {'
"""The last field of a summary, which only CloudWatch reads. The quotes make it differ from any value."""
_STARTED = re.compile(r"START RequestId: (\S+)")
_REPORT = re.compile(
    r"REPORT RequestId: (\S+)\s+Duration: ([\d.]+) ms\s+Billed Duration: ([\d.]+) ms\s+"
    r"Memory Size: (\d+) MB\s+Max Memory Used: (\d+) MB(?:\s+Init Duration: ([\d.]+) ms)?"
)
_MIB = 1024**2
_LARGEST = 1e15
"""The runner never writes such numbers."""
_LONGEST_RUN_MS = 15 * 60 * 1000
_MOST_STREAMS = 5000
"""Streams whose latest lines are kept. A stream that has not been written to for long is forgotten."""


class RunAssembler(Protocol):
    """Turns the lines of a log group into runs."""

    next_sizes: set[str]
    """Jobs that were submitted with the next size of `batch.retry`."""

    def take(self, line: Line) -> list[Run]:
        """Take the next line of the group. Returns the runs whose end is now known."""

    def flush(self) -> list[Run]:
        """The runs that have ended, whose last lines are still missing."""

    def running(self) -> int:
        """Number of runs that have started and not ended. Only Lambda logs the start of a run."""


def assembler(function: DeployedFunction, group: str) -> RunAssembler:
    """For one of the log groups of a function."""
    return _OfBatch(function) if group == function.batch_log_group else _OfLambda(function)


def run_of_summary(own: dict[str, Any], line: Line, function: DeployedFunction, mode: str) -> Run:
    """The run that a line `summary`, `failed`, `skipped` or `submitted` of the runner describes."""
    get = own.get
    ended = _moment_ms(get("time"), line.timestamp_ms)
    total = _number(get("total_ms"))
    outputs = get("outputs")
    job = get("job_id")
    message = own["message"]
    return Run(
        function.name,
        function.region,
        mode,
        str(get("status", "")) if message == "summary" else message,
        ended - (total or 0.0),
        ended,
        str(get("request_id", "")),
        line.stream,
        str(get("subject", "")),
        get("cold") if isinstance(get("cold"), bool) else None,
        _attempt(get("attempt")),
        total,
        _number(get("queued_ms")),
        _number(get("init_ms")),
        _number(get("stage_in_ms")),
        _number(get("image_ms")),
        _number(get("run_ms")),
        _number(get("stage_out_ms")),
        _number(get("cpu_ms")),
        None,
        _count(get("input_bytes")),
        _count(get("output_bytes")),
        _count(get("output_files")),
        _count(get("memory_bytes")),
        _count(get("memory_limit_bytes")),
        _count(get("exit_code")),
        _text(get("signal")),
        _text(get("kind")),
        _text(get("error")),
        _text(get("last_lines")),
        _text(get("reason")),
        None if job is None else str(job),
        _hexadecimal(get("trace")),
        _hexadecimal(get("span")),
        _hexadecimal(get("parent")),
        tuple(map(str, outputs)) if isinstance(outputs, list) else (),
    )


@dataclass(slots=True)
class _Invocation:
    """The lines of an invocation of Lambda so far."""

    request_id: str
    latest_ms: int
    started_ms: int | None = None
    runs: list[Run] = field(default_factory=list)
    failures: list[tuple[dict[str, Any], Line]] = field(default_factory=list)
    """Lines `failed`, which most summaries precede."""
    staged_in: str = ""
    """The last line `stage` about its input."""
    killed: tuple[str, Line] | None = None
    """Why Lambda has ended it."""
    report: re.Match[str] | None = None


class _OfLambda:
    def __init__(self, function: DeployedFunction) -> None:
        self.next_sizes: set[str] = set()
        self._function = function
        self._open: dict[str, _Invocation] = {}
        """By stream."""

    def take(self, line: Line) -> list[Run]:
        text = line.text
        if text.startswith(_START):
            return self._take_own(line)
        if text.startswith("REPORT "):
            return self._take_report(line)
        if found := _STARTED.match(text):
            ended = self._end(line.stream)
            self._open[line.stream] = _Invocation(found[1], line.timestamp_ms, line.timestamp_ms)
            return ended + self._forget_old(line.timestamp_ms)
        if (killed := killed_request(text)) is not None:
            request_id, reason = killed
            ended = self._of_request(request_id, line)
            invocation = self._open[line.stream]
            invocation.killed = (reason, line)
            return ended + (self._end(line.stream) if invocation.report else [])
        return []

    def flush(self) -> list[Run]:
        return [run for stream in list(self._open) for run in self._end(stream)]

    def running(self) -> int:
        recent = int(time.time() * 1000) - _LONGEST_RUN_MS
        return sum(
            one.started_ms is not None and one.started_ms >= recent and not (one.report or one.killed)
            for one in self._open.values()
        )

    def _take_own(self, line: Line) -> list[Run]:
        message = message_of(line.text)
        if message == "stage":
            own = None
        elif message in ("summary", "failed", "skipped", "submitted"):
            own = _parsed(line.text)
            if own is None:
                return []
        else:
            return []
        request_id = _request_of(line.text) if own is None else str(own.get("request_id", ""))
        ended = self._of_request(request_id, line)
        invocation = self._open[line.stream]
        if own is None:
            invocation.staged_in = line.text
        elif message == "failed":
            invocation.failures.append((own, line))
        elif not (message == "summary" and own.get("status") == "skipped"):  # the line `skipped` precedes it
            invocation.runs.append(run_of_summary(own, line, self._function, "lambda"))
        return ended

    def _take_report(self, line: Line) -> list[Run]:
        report = _REPORT.match(line.text)
        if report is None:
            return []
        ended = self._of_request(report[1], line)
        invocation = self._open[line.stream]
        invocation.report = report
        if invocation.runs or invocation.failures or invocation.killed:
            return ended + self._end(line.stream)
        return ended  # killed: Lambda logs the reason before or after this line

    def _of_request(self, request_id: str, line: Line) -> list[Run]:
        """Let the stream continue with a request. Returns the runs of the one before it."""
        invocation = self._open.get(line.stream)
        if invocation is not None and invocation.request_id == request_id:
            invocation.latest_ms = line.timestamp_ms
            return []
        ended = self._end(line.stream)
        self._open[line.stream] = _Invocation(request_id, line.timestamp_ms)
        return ended + self._forget_old(line.timestamp_ms)

    def _forget_old(self, now_ms: int) -> list[Run]:
        if len(self._open) <= _MOST_STREAMS:
            return []
        old = [name for name, one in self._open.items() if one.latest_ms < now_ms - 2 * _LONGEST_RUN_MS]
        return [run for stream in old for run in self._end(stream)]

    def _end(self, stream: str) -> list[Run]:
        """The runs of the invocation that is over in this stream."""
        invocation = self._open.pop(stream, None)
        if invocation is None:
            return []
        runs = invocation.runs
        for own, line in invocation.failures:
            if not any(_is_of(run, own) for run in runs):
                runs.append(run_of_summary(own, line, self._function, "lambda"))
        if invocation.killed is not None:
            runs.append(self._killed(invocation, *invocation.killed))
        if invocation.report is not None and runs:
            return _with_report(runs, invocation.report)
        return runs

    def _killed(self, invocation: _Invocation, reason: str, line: Line) -> Run:
        own = parsed(invocation.staged_in) or {}
        duration = float(invocation.report[2]) if invocation.report else 0.0
        started = line.timestamp_ms - duration if invocation.started_ms is None else invocation.started_ms
        return Run(
            self._function.name,
            self._function.region,
            "lambda",
            "failed",
            started,
            max(line.timestamp_ms, started),
            invocation.request_id,
            line.stream,
            str(own.get("subject", "")),
            total_ms=duration or line.timestamp_ms - started,
            stage_in_ms=_number(own.get("duration_ms")),
            error=reason,
        )


@dataclass(slots=True)
class _Attempt:
    """What is known of an attempt of a job, which may still fail."""

    failed: list[Run] = field(default_factory=list)
    staged_in: str = ""


class _OfBatch:
    def __init__(self, function: DeployedFunction) -> None:
        self.next_sizes: set[str] = set()
        self._function = function
        self._attempts: dict[str, _Attempt] = {}
        """By stream."""

    def take(self, line: Line) -> list[Run]:
        if not line.text.startswith(_START):
            return []
        message = message_of(line.text)
        if message == "stage":
            self._attempt(line.stream).staged_in = line.text
            return []
        own = _parsed(line.text) if message in ("summary", "failed", "skipped", "next size") else None
        # The line `skipped` precedes the summary of a skipped run.
        if own is None or (message == "summary" and own.get("status") == "skipped"):
            return []
        if message == "next size":
            self.next_sizes.add(str(own.get("request_id")))
            return []
        return self._run(own, run_of_summary(own, line, self._function, "batch"))

    def _run(self, own: dict[str, Any], run: Run) -> list[Run]:
        """The run, unless it is known."""
        if own["message"] == "failed":
            attempt = self._attempt(run.stream)
            if any(_is_of(known, own) for known in attempt.failed):
                return []
            if not run.subject:  # such as a job that was terminated
                run = run._replace(subject=str((parsed(attempt.staged_in) or {}).get("subject", "")))
        elif run.status == "failed":
            self._attempt(run.stream).failed.append(run)
        else:
            self._attempts.pop(run.stream, None)
        return [run]

    def flush(self) -> list[Run]:
        return []

    def running(self) -> int:
        return 0

    def _attempt(self, stream: str) -> _Attempt:
        attempt = self._attempts.get(stream)
        if attempt is None:
            if len(self._attempts) >= _MOST_STREAMS:
                del self._attempts[next(iter(self._attempts))]
            attempt = self._attempts[stream] = _Attempt()
        return attempt


def message_of(text: str) -> str:
    """The message of a line of the runner, without parsing all of it."""
    start = text.find(_MESSAGE, 0, 200) + len(_MESSAGE)
    return text[start : text.find('"', start)]


def _request_of(text: str) -> str:
    start = text.find('"request_id": "') + len('"request_id": "')
    return text[start : text.find('"', start)]


def _parsed(text: str) -> dict[str, Any] | None:
    """A line of the runner without its metrics, which are as long as all the rest."""
    if (cut := text.rfind(_METRICS)) > 0 and text.endswith("}}"):
        try:
            content = json.loads(text[:cut] + "}")
        except (ValueError, RecursionError):
            return parsed(text)
        return content if isinstance(content, dict) and "message" in content else None
    return parsed(text)


def _is_of(run: Run, own: dict[str, Any]) -> bool:
    """Whether a line `failed` repeats what the summary of a run says."""
    if run.status != "failed":
        return False
    return run.error == own.get("error") or (bool(run.subject) and run.subject == own.get("subject"))


def _with_report(runs: list[Run], report: re.Match[str]) -> list[Run]:
    """The runs of an invocation with what Lambda reports of it: they share the billed time by duration."""
    billed, given, used = float(report[3]), int(report[4]) * _MIB, int(report[5]) * _MIB
    init = float(report[6]) if report[6] else None
    everything = sum(run.total_ms or 0.0 for run in runs)
    found = []
    for run in runs:
        share = (run.total_ms or 0.0) / everything if everything else 1 / len(runs)
        found.append(
            run._replace(
                billed_ms=billed * share,
                memory_given_bytes=run.memory_given_bytes or given,
                memory_used_bytes=max(run.memory_used_bytes or 0, used),
                init_ms=init if run.init_ms is None and run.cold else run.init_ms,
            )
        )
    return found


def _moment_ms(time: object, otherwise: int) -> float:
    try:
        return datetime.fromisoformat(time).timestamp() * 1000  # type: ignore[arg-type]
    except (ValueError, TypeError, OverflowError):
        return float(otherwise)


def _number(value: object) -> float | None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return value if is_number and 0 <= value < _LARGEST else None  # type: ignore[operator,return-value]


def _count(value: object) -> int | None:
    return value if type(value) is int else None


def _attempt(value: object) -> int | None:
    if isinstance(value, str) and value.isascii() and value.isdigit():
        return int(value)
    return _count(value)


def _text(value: object) -> str | None:
    return None if value is None else str(value)


def _hexadecimal(value: object) -> str | None:
    if not isinstance(value, str):
        return None
    try:
        int(value, 16)
    except ValueError:
        return None
    return value
