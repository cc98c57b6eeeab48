"""The document of a report: all that its page shows, see `report.schema.json`.

Times are in milliseconds since 1970 (UTC), durations in milliseconds, sizes in bytes, money in USD. Unknown
values are null or absent.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from scar_cli.report.chunks import chunks_of
from scar_cli.report.packing import packed_json
from scar_cli.report.workflow import workflow_of
from scar_cli.runs.histogram import Histogram
from scar_cli.runs.model import STAGES, STATUSES, Run
from scar_cli.runs.store import STATUS_NUMBERS, Files
from scar_cli.runs.summary import Failures, FunctionNumbers, Memory, Overview
from scar_cli.runs.timeline import COUNTS
from scar_cli.table import iso_time

FORMAT = 1
_REASONS = 200
_NAMES = 1000
"""Names of failed files for one reason."""
_ALL_NAMES = 20_000
_BINS = 40
_ATTEMPTS = 10
_ERROR_LENGTH = 1500
_OUTPUT_LENGTH = 3000
_RESULTS = {
    STATUS_NUMBERS["done"]: "done",
    STATUS_NUMBERS["duplicate"]: "done",
    STATUS_NUMBERS["failed"]: "failed",
    STATUS_NUMBERS["skipped"]: "skipped",
    STATUS_NUMBERS["delegated"]: "unfinished",
    STATUS_NUMBERS["submitted"]: "unfinished",
}
"""What the latest run of a file says about the file. Without other runs, a duplicate was processed before."""
FULL = ("timeline", "runs")
"""Parts of the document that only the page uses."""


@dataclass(frozen=True)
class Asked:
    """What a report is about."""

    title: str
    command: str
    """The command that writes it."""
    since_ms: int | None = None
    until_ms: int | None = None
    launch: Mapping[str, Any] | None = None
    notes: Sequence[str] = ()
    """Sentences about what is missing."""


def document(
    overview: Overview,
    asked: Asked,
    *,
    queues: Mapping[str, int] | None = None,
    costs: Mapping[str, Any] | None = None,
    prices: Mapping[str, Any] | None = None,
    advice: Mapping[str, Mapping[str, Any]] | None = None,
    is_full: bool = True,
) -> dict[str, Any]:
    """The document; without the parts `FULL` unless `is_full`.

    `queues` has the number of events in the failure queue of each function, `costs` what each function cost,
    `prices` date and regions of the prices, and `advice` sentences and the proposed memory of each function.

    Raises:
        UserError: the disk is full.
    """
    from importlib.metadata import version

    more = _More(queues or {}, costs or {}, advice or {})
    overview.settle()
    files = list(overview.store.files())
    attempts = _attempts(overview)
    interesting = _Interesting(overview)
    notes = list(asked.notes)
    runs = None
    if is_full:
        runs = chunks_of(overview.store, overview.folders, interesting.numbers)
        interesting.places = runs.places
        if runs.kept < runs.of:
            notes.append(
                f"The search and the bars of single runs show a sample of the inputs, with {runs.kept:,} of "
                f"{runs.of:,} runs. All numbers are of all runs, and `scar report --csv` writes all of them."
            )
    functions = [
        _function(number, one, [file for file in files if file.function == number], attempts, more)
        for number, one in enumerate(overview.functions)
    ]
    period = (
        {"start_ms": round(overview.start_ms), "end_ms": round(overview.end_ms)} if overview.end_ms else None
    )
    found: dict[str, Any] = {
        "scar_report": FORMAT,
        "title": asked.title,
        "version": version("scar-cdk"),
        "command": asked.command,
        "made_ms": int(time.time() * 1000),
        "asked": {"since_ms": asked.since_ms, "until_ms": asked.until_ms, "launch": asked.launch},
        "period": period,
        "notes": notes,
        "prices": prices,
        "statuses": list(STATUSES),
        "stages": list(STAGES),
        "totals": _totals(overview, functions, files),
        "folders": overview.folders.uris,
        "functions": functions,
        "workflow": workflow_of(overview, files),
        "failures": _failures(overview, interesting),
        "slowest": [interesting.run(number, run) for number, run in overview.slowest],
        "costliest": [
            {**interesting.run(number, run), "cost_usd": usd} for usd, number, run in overview.costliest
        ],
    }
    if runs is not None:
        found["timeline"] = _timeline(overview)
        found["runs"] = runs.as_json()
    return found


@dataclass(frozen=True)
class _More:
    """What the runs do not tell about functions, by their names."""

    queues: Mapping[str, int]
    costs: Mapping[str, Any]
    advice: Mapping[str, Mapping[str, Any]]


class _Interesting:
    """Runs that are described one by one."""

    def __init__(self, overview: Overview) -> None:
        functions = [numbers.function for numbers in overview.functions]
        self.functions = {(one.name, one.region): number for number, one in enumerate(functions)}
        self.places: Mapping[int, tuple[int, int]] = {}
        self.numbers = {number for number, _run in overview.slowest}
        self.numbers |= {number for _usd, number, _run in overview.costliest}
        for failures in overview.failures.values():
            self.numbers |= {number for number, _run in failures.examples}

    def run(self, number: int, run: Run) -> dict[str, Any]:
        """A run with exact values. `at` is its chunk and row."""
        return {
            **fields_of(run),
            "function": self.functions[run.function, run.region],
            "stages": {name: round(one, 1) for name, one in zip(STAGES, run.stages(), strict=True) if one},
            "log": f"scar log -n {run.function} -ri {run.request_id}",
            "at": self.places.get(number),
        }


_PLAIN = (
    "subject",
    "status",
    "mode",
    "total_ms",
    "cold",
    "attempt",
    "input_bytes",
    "output_bytes",
    "output_files",
    "memory_used_bytes",
    "memory_given_bytes",
    "cpu_ms",
    "billed_ms",
    "exit_code",
    "signal",
    "kind",
    "reason",
    "request_id",
    "delegated_to",
    "stream",
    "trace",
    "span",
    "parent",
)


def fields_of(run: Run) -> dict[str, Any]:
    """The known fields of a run. Long texts are cut."""
    content: dict[str, Any] = {name: getattr(run, name) for name in _PLAIN}
    content |= {"start_ms": round(run.started_ms), "end_ms": round(run.ended_ms)}
    content["error"] = run.error[:_ERROR_LENGTH] if run.error else None
    content["last_lines"] = run.last_lines[-_OUTPUT_LENGTH:] if run.last_lines else None
    content["outputs"] = list(run.outputs) or None
    return {name: value for name, value in content.items() if value is not None and value != ""}


def _function(
    number: int,
    one: FunctionNumbers,
    files: list[Files],
    attempts: Mapping[int, list[int]],
    more: _More,
) -> dict[str, Any]:
    name = one.function.name
    advice = more.advice.get(name, {})
    durations = {"total": one.total, **dict(zip(STAGES, one.stages, strict=True)), "cpu": one.cpu}
    return {
        "name": name,
        "stack": one.function.stack,
        "region": one.function.region,
        "mode": one.function.mode,
        "runs": one.runs,
        "by_status": dict(one.by_status),
        "on": dict(one.by_mode),
        "files": _files(files),
        "attempts": attempts.get(number, []),
        "cold": one.cold,
        "warm": one.warm,
        "durations": {
            stage: distribution(histogram, "_ms") for stage, histogram in durations.items() if histogram.count
        },
        "memory": _memory(one.memory.get("lambda"), advice.get("memory")),
        "memory_batch": _memory(one.memory.get("batch"), advice.get("memory_batch")),
        "input_bytes": one.input_bytes,
        "largest_input_bytes": one.largest_input_bytes,
        "output_bytes": one.output_bytes,
        "output_files": one.output_files,
        "cost": more.costs.get(name),
        "advice": list(advice.get("sentences", ())),
        "failure_queue": more.queues.get(name),
        "retry": f"scar retry -n {name}",
    }


def _totals(overview: Overview, functions: list[dict[str, Any]], files: list[Files]) -> dict[str, Any]:
    by_status: dict[str, int] = {}
    for one in functions:
        for status, count in one["by_status"].items():
            by_status[status] = by_status.get(status, 0) + count
    queues = [one["failure_queue"] for one in functions if one["failure_queue"] is not None]
    costs = [one["cost"]["usd"] for one in functions if one["cost"] is not None]
    return {
        "runs": sum(one["runs"] for one in functions),
        "by_status": by_status,
        "inputs": overview.store.inputs(),
        "files": _files(files),
        "cold": sum(one["cold"] for one in functions),
        "input_bytes": sum(one["input_bytes"] for one in functions),
        "output_bytes": sum(one["output_bytes"] for one in functions),
        "output_files": sum(one["output_files"] for one in functions),
        "cost_usd": sum(costs) if costs else None,
        "failure_queues": sum(queues) if queues else None,
    }


def _files(files: Iterable[Files]) -> dict[str, int]:
    found = dict.fromkeys(("all", "done", "failed", "skipped", "unfinished", "recovered"), 0)
    for one in files:
        result = _RESULTS[one.status]
        found["all"] += one.files
        found[result] += one.files
        if result == "done":
            found["recovered"] += one.recovered
    return found


def _attempts(overview: Overview) -> dict[int, list[int]]:
    found: dict[int, list[int]] = {}
    for function, number, count in overview.store.attempts(_ATTEMPTS):
        counts = found.setdefault(function, [])
        counts.extend([0] * (number - len(counts)))
        counts[number - 1] += count
    return found


def distribution(histogram: Histogram, unit: str) -> dict[str, Any]:
    """Percentiles and bins of a histogram; `unit` ends the names of numbers."""
    numbers = {"sum": histogram.sum, "min": histogram.minimum, "max": histogram.maximum}
    numbers |= {f"p{percent}": histogram.percentile(percent) for percent in (50, 90, 99)}
    bins = [[round(low, 1), round(high, 1), count] for low, high, count in histogram.ranges(_BINS)]
    return {
        "count": histogram.count,
        **{f"{name}{unit}": round(number, 1) for name, number in numbers.items()},
        "histogram": bins,
    }


def _memory(memory: Memory | None, proposed_mib: int | None) -> dict[str, Any] | None:
    if memory is None or not memory.used.count:
        return None
    given = memory.given.most_common(1)
    return {
        **distribution(memory.used, "_bytes"),
        "given_bytes": given[0][0] if given else None,
        "proposed_mib": proposed_mib,
    }


def _failures(overview: Overview, interesting: _Interesting) -> list[dict[str, Any]]:
    """Reasons, most frequent first."""
    counts: dict[int, int] = {}
    names: dict[int, list[str]] = {}
    left = _ALL_NAMES
    uris = overview.folders.uris
    for reason, folder, name in overview.store.failed_files():
        counts[reason] = counts.get(reason, 0) + 1
        if left and counts[reason] <= _NAMES:
            names.setdefault(reason, []).append(name if folder < 0 else uris[folder] + name)
            left -= 1
    reasons = sorted(overview.failures.values(), key=lambda one: (-one.runs, one.number))
    found = []
    for one in reasons[:_REASONS]:
        function = overview.functions[one.function].function.name
        since = (iso_time(int(one.first_ms)) or "")[:16]
        found.append(
            {
                "id": one.number,
                "function": one.function,
                "reason": one.reason,
                "kind": one.kind,
                "runs": one.runs,
                "files": counts.get(one.number, 0),
                "first_ms": round(one.first_ms),
                "last_ms": round(one.last_ms),
                "retry": f"scar retry -n {function}",
                "log": f"scar log -n {function} --errors --since {since}Z",
                "names": names.get(one.number, []),
                "examples": [interesting.run(number, run) for number, run in _latest_first(one)],
            }
        )
    if rest := reasons[_REASONS:]:
        found.append(
            {
                "id": 0,
                "function": None,
                "reason": f"({len(rest)} other reasons)",
                "runs": sum(one.runs for one in rest),
                "files": sum(counts.get(one.number, 0) for one in rest),
                "names": [],
                "examples": [],
            }
        )
    return found


def _latest_first(failures: Failures) -> list[tuple[int, Run]]:
    return sorted(failures.examples, key=lambda one: one[1].ended_ms, reverse=True)


def _timeline(overview: Overview) -> dict[str, Any]:
    width, functions = overview.timeline.buckets(len(overview.functions))
    first = min((buckets[0][0] for buckets in functions if buckets), default=0)
    found = []
    for buckets in functions:
        places = [place - first for place, _numbers in buckets]
        columns: dict[str, list[int]] = {
            "bucket": [later - earlier for earlier, later in pairwise([0, *places])]
        }
        for index, name in enumerate((*COUNTS, *STAGES)):
            column = [numbers[index] for _place, numbers in buckets]
            if any(column):
                columns[name] = column
        found.append(columns)
    return {"start_ms": first * width, "bucket_ms": width, "data": packed_json(found)}
