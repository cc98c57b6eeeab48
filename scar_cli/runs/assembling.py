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
from typing import Any, NamedTuple, Protocol

from scar_cli.aws.deployed import DeployedFunction
from scar_cli.aws.logs import Line, killed_request, parsed
from scar_cli.runs.model import STATUSES, Run

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

_SURROGATE = "\\ud"
_START = '{"scar": 1, '
_MESSAGE = '"message": "'
_METRICS = ', "_aws": {'
"""The last field of a summary, which only CloudWatch reads. The quotes make it differ from any value."""
_DECODER = json.JSONDecoder()
_STARTED = re.compile(r"START RequestId: (\S+)")
_REPORT = re.compile(
    r"REPORT RequestId: (\S+)\s+Duration: ([\d.]+) ms\s+Billed Duration: ([\d.]+) ms\s+"
    r"Memory Size: (\d+) MB\s+Max Memory Used: (\d+) MB(?:\s+Init Duration: ([\d.]+) ms)?"
)
_MIB = 1024**2
_COUNTED = frozenset(STATUSES) - {"skipped"}
_NUMBERS = (
    "total_ms",
    "queued_ms",
    "init_ms",
    "stage_in_ms",
    "image_ms",
    "run_ms",
    "stage_out_ms",
    "cpu_ms",
    "input_bytes",
    "output_bytes",
    "output_files",
    "memory_bytes",
    "memory_limit_bytes",
    "exit_code",
    "attempt",
)
_TEXTS = ("signal", "kind", "error", "last_lines", "reason", "job_id", "trace", "span", "parent")
_TEXT = frozenset((str, type(None)))
_PLAIN = frozenset((int, float, type(None)))
_LONGEST_RUN_MS = 15 * 60 * 1000
_RUNNER_BYTES = 90 * _MIB
"""The runner takes up to so much memory. A summary has the peak of the script alone. The memory that Lambda
reports is that of both, but of all invocations; on the embedded cloud, it is that of other processes."""
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


def run_of_line(
    own: dict[str, Any], line: Line, function: DeployedFunction, mode: str, report: Report | None = None
) -> Run:
    """The run that a line `summary`, `failed`, `skipped` or `submitted` of the runner describes."""
    get = own.get
    numbers = list(map(get, _NUMBERS))
    if not _PLAIN.issuperset(map(type, numbers)):
        numbers = [_number(number) for number in numbers]
    total, queued, init, stage_in, image, ran, stage_out, cpu, *counts = numbers
    size, output_size, output_files, used, given, exit_code, attempt = counts
    billed = None
    if used is not None:
        used += _RUNNER_BYTES
    if report is not None:
        billed = report.billed_ms
        given = given or report.given_bytes
        used = report.used_bytes if used is None else used
        if init is None and get("cold"):
            init = report.init_ms
    texts = list(map(get, _TEXTS))
    if not _TEXT.issuperset(map(type, texts)):
        texts = [None if text is None else str(text) for text in texts]
    signal, kind, error, last_lines, reason, job_id, trace, span, parent = texts
    ended = _moment_ms(get("time"), line.timestamp_ms)
    outputs = get("outputs")
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
        get("cold"),
        attempt,
        total,
        queued,
        init,
        stage_in,
        image,
        ran,
        stage_out,
        cpu,
        billed,
        size,
        output_size,
        output_files,
        used,
        given,
        exit_code,
        signal,
        kind,
        error,
        last_lines,
        reason,
        job_id,
        trace,
        span,
        parent,
        tuple(map(str, outputs)) if type(outputs) is list else (),
    )


class Report(NamedTuple):
    """What Lambda reports of an invocation, or of one of its runs."""

    request_id: str
    duration_ms: float
    billed_ms: float
    given_bytes: int
    used_bytes: int
    init_ms: float | None

    @classmethod
    def of(cls, text: str) -> Report | None:
        """None: another line."""
        found = _REPORT.match(text)
        if found is None:
            return None
        request_id, duration, billed, given, used, init = found.groups()
        return cls(
            request_id,
            float(duration),
            float(billed),
            int(given) * _MIB,
            int(used) * _MIB,
            None if init is None else float(init),
        )


@dataclass(slots=True)
class _Invocation:
    """The lines of an invocation of Lambda so far."""

    request_id: str
    latest_ms: int
    started_ms: int | None = None
    lines: list[tuple[dict[str, Any], Line]] = field(default_factory=list)
    """One for each run, and lines `failed`, which repeat the summary of a run or are the only ones of one."""
    staged_in: str = ""
    """The last line `stage` about its input."""
    killed: tuple[str, Line] | None = None
    """Why Lambda has ended it."""
    report: Report | None = None


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
        else:
            invocation.staged_in = ""
            if _describes_a_run(own):
                invocation.lines.append((own, line))
        return ended

    def _take_report(self, line: Line) -> list[Run]:
        report = Report.of(line.text)
        if report is None:
            return []
        ended = self._of_request(report.request_id, line)
        invocation = self._open[line.stream]
        invocation.report = report
        if invocation.lines or invocation.killed:
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
        lines, report = invocation.lines, invocation.report
        if len(lines) > 1:
            lines = [one for one in lines if not _is_repeated(one[0], lines)]
            if report is not None and len(lines) > 1:
                return [
                    run_of_line(own, line, self._function, "lambda", part)
                    for (own, line), part in zip(lines, _shared(report, lines), strict=True)
                ]
        runs = [run_of_line(own, line, self._function, "lambda", report) for own, line in lines]
        if invocation.killed is not None:
            runs.append(self._killed(invocation, *invocation.killed))
        return runs

    def _killed(self, invocation: _Invocation, reason: str, line: Line) -> Run:
        own = parsed(invocation.staged_in) or {}
        report = invocation.report
        duration = report.duration_ms if report is not None else 0.0
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
            billed_ms=report.billed_ms if report is not None else None,
            memory_used_bytes=report.used_bytes if report is not None else None,
            memory_given_bytes=report.given_bytes if report is not None else None,
            error=reason,
            trace=own.get("trace"),
            parent=own.get("parent"),
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
        if own is None or not _describes_a_run(own):
            return []
        if message == "next size":
            self.next_sizes.add(str(own.get("request_id")))
            return []
        return self._run(own, run_of_line(own, line, self._function, "batch"))

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
    content = None
    if (cut := text.rfind(_METRICS)) > 0 and text.endswith("}}"):
        content = _decoded(text[:cut] + "}")
    if content is None:
        cut, content = len(text), parsed(text)
    if content is not None and text.find(_SURROGATE, 0, cut) >= 0:
        # Half of a character, which neither a file nor a database can contain.
        whole = json.dumps(content, ensure_ascii=False).encode("utf-8", "replace")
        content = json.loads(whole)
    return content


def _decoded(text: str) -> dict[str, Any] | None:
    """The JSON object with a message. `json.loads` takes a third longer."""
    try:
        content, end = _DECODER.raw_decode(text)
    except (ValueError, RecursionError):
        return None
    return content if end == len(text) and "message" in content else None


def _describes_a_run(own: dict[str, Any]) -> bool:
    """Not the summary of a skipped run, which the line `skipped` precedes, or one of a newer runner."""
    return own["message"] != "summary" or own.get("status") in _COUNTED


def _is_of(run: Run, own: dict[str, Any]) -> bool:
    """Whether a line `failed` repeats the summary of a run."""
    return run.error == own.get("error") or (bool(run.subject) and run.subject == own.get("subject"))


def _is_repeated(own: dict[str, Any], lines: list[tuple[dict[str, Any], Line]]) -> bool:
    """Whether a line `failed` or `submitted` is about the same run as a summary."""
    if own["message"] == "submitted":
        return any(
            one["message"] == "summary" and one.get("job_id") == own.get("job_id") for one, _line in lines
        )
    if own["message"] != "failed":
        return False
    summaries = [one for one, _line in lines if one["message"] == "summary" and one.get("status") == "failed"]
    return any(
        own.get(name) is not None and own.get(name) == one.get(name)
        for one in summaries
        for name in ("error", "subject")
    )


def _shared(report: Report, lines: list[tuple[dict[str, Any], Line]]) -> list[Report]:
    """The parts of the runs of an invocation, which share the billed time by duration."""
    totals = [_number(own.get("total_ms")) or 0.0 for own, _line in lines]
    everything = sum(totals)
    shares = [total / everything if everything else 1 / len(lines) for total in totals]
    return [report._replace(billed_ms=report.billed_ms * share) for share in shares]


def _moment_ms(time: object, otherwise: int) -> float:
    try:
        return datetime.fromisoformat(time).timestamp() * 1000  # type: ignore[arg-type]
    except (ValueError, TypeError, OverflowError):
        return float(otherwise)


def _number(value: object) -> Any:
    """The number, which older runners write as text; None for any other type."""
    if isinstance(value, str) and value.isascii() and value.isdigit():
        return int(value)
    return value if type(value) in _PLAIN else None
