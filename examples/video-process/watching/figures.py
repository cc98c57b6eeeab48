"""Durations of invocations, from the logs of AWS and the runner.

The duration of a Lambda invocation is that of Lambda's own `REPORT` line. The runner's structured lines add
whether the process was new ("cold"), and the duration of each stage. The duration of a Batch job is the
runner's total.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from statistics import median

from watching.workflow import json_line

_REPORT = re.compile(r"REPORT RequestId: (?P<id>\S+)\s+Duration: (?P<ms>[\d.]+) ms")


@dataclass(slots=True)
class Invocation:
    """One run of a function on one file."""

    request_id: str
    subject: str = ""
    """URI of the file."""
    status: str = ""
    cold: bool = False
    duration_ms: float = 0.0
    stages_ms: dict[str, float] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Base name of the file."""
        return self.subject.rpartition("/")[2]


@dataclass(frozen=True, slots=True)
class Times:
    """Durations of some invocations."""

    count: int
    median_ms: float
    max_ms: float

    @classmethod
    def of(cls, durations_ms: Sequence[float]) -> Times:
        """Summarize durations; without any, all values are 0."""
        if not durations_ms:
            return cls(0, 0.0, 0.0)
        return cls(len(durations_ms), median(durations_ms), max(durations_ms))


@dataclass(frozen=True, slots=True)
class FunctionFigures:
    """Figures of one function."""

    name: str
    where: str
    """`Batch` or `Lambda`."""
    invocations: tuple[Invocation, ...]
    failures: int
    """Failed attempts, including those whose retry succeeded."""

    @property
    def files(self) -> int:
        """Files that were processed."""
        return len({run.subject for run in self.invocations if run.status == "done"})

    @property
    def cold(self) -> Times:
        """Runs that started a new process."""
        return Times.of([run.duration_ms for run in self.invocations if run.status == "done" and run.cold])

    @property
    def warm(self) -> Times:
        """Runs in an existing process."""
        return Times.of(
            [run.duration_ms for run in self.invocations if run.status == "done" and not run.cold]
        )

    def stage(self, name: str) -> Times:
        """Durations of one stage, such as `stage-in` or `run`."""
        return Times.of([run.stages_ms[name] for run in self.invocations if name in run.stages_ms])


def read_figures(name: str, where: str, lines: Iterable[str]) -> FunctionFigures:
    """Read the figures of a function from its log lines; invocations in the order in which they ended."""
    runs: dict[str, Invocation] = {}
    failures = 0
    for line in lines:
        if report := _REPORT.match(line):
            _run(runs, report["id"]).duration_ms = float(report["ms"])
            continue
        record = json_line(line)
        if "request_id" not in record or "subject" not in record:
            continue
        run = _run(runs, str(record["request_id"]))
        if record.get("message") == "stage":
            run.stages_ms[str(record["stage"])] = float(record["duration_ms"])
        elif record.get("message") == "summary":
            run.subject, run.status = str(record["subject"]), str(record["status"])
            run.cold = bool(record["cold"])
            run.duration_ms = run.duration_ms or float(record["total_ms"])
            failures += run.status == "failed"
    finished = tuple(run for run in runs.values() if run.status)
    return FunctionFigures(name, where, finished, failures)


def _run(runs: dict[str, Invocation], request_id: str) -> Invocation:
    return runs.setdefault(request_id, Invocation(request_id))
