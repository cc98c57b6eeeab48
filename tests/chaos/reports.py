"""Files fail on purpose in a chain of three functions: is `scar report` right about each of them?

in ─► report-first (Lambda) ─► a ─► report-second (Batch) ─► b ─► report-third (Lambda, then Batch) ─► out

Each input says how it ends in each function, before the workflow is deployed again and after that. So what a
report has to contain is known from the inputs. It is compared with the report, with the failure queues, and
with the folders.
"""

from __future__ import annotations

import csv
import io
import json
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from local_cloud.cloud import Cloud
from tests.chaos.workload import Workload
from tests.cloud.embedded import CloudUnderTest
from tests.cloud.scar_command import Scar

_STACK, _BUCKET = "report", "report-files"
_FOLDERS = ("in", "a", "b", "out")
_FUNCTIONS = {"first": "lambda", "second": "batch", "third": "lambda-batch"}
"""Names without `report-`, and modes. Each reads the folder of its index, and writes to the next one."""
_ATTEMPTS = 2
"""Of Lambda and of Batch."""
_LAMBDA_S, _RESERVED_S, _SLOW_S = 20, 5, 25
_SCRIPT = f"""#!/bin/sh
set -- $(grep "^$STEP " "$INPUT_FILE_PATH")
if [ "$MENDED" = yes ]; then end=$3; else end=$2; fi
case $end in
slow*) sleep {_SLOW_S}; end=${{end#slow}} ;;
memory) x=$(head -c 900000000 /dev/zero | tr '\\0' x) ;;
esac
[ "${{end:-0}}" = 0 ] || exit "$end"
cp -- "$INPUT_FILE_PATH" "$TMP_OUTPUT_DIR/"
"""
_REASONS = {
    "7": "ScriptFailed: The container exited with code 7",
    "9": "ScriptFailed: The container exited with code 9",
    "slow0": "TimedOut: The run timed out (`timeout` minus `container.timeout_threshold`) and the container "
    "was killed",
    "slow9": "ScriptFailed: The container exited with code 9",
    "memory": "OutOfMemoryError: Container killed due to memory usage",
    "missing": "InputMissing: The input … does not exist",
}
_COMPLETE_WITHIN_S = 60.0
"""Log lines and messages arrive a moment after the end of a run."""


@dataclass(frozen=True)
class Case:
    """Files that end in the same way in all functions."""

    name: str
    of_300: int
    ends: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    """By function: how the script ends, before it is mended and after that. `0`: well; `7`, `9`: exit code;
    `slow0`, `slow9`: the same, but later than Lambda waits; `memory`: it takes more than the job has."""
    prefix: str = "file-"
    is_empty: bool = False
    is_deleted: bool = False
    """Before the failed events are sent again."""
    is_repeated: bool = False
    """It is uploaded a second time."""

    @property
    def is_skipped(self) -> bool:
        """No run of a script."""
        return self.is_empty or self.prefix != "file-"

    def body(self) -> bytes:
        """The content of the files."""
        lines = [f"{function} {before} {after}\n" for function, (before, after) in self.ends.items()]
        return b"" if self.is_empty else "".join(lines or ["fine\n"]).encode()


_CASES = (
    Case("always-7", 20, {"first": ("7", "7")}),
    Case("always-9", 15, {"first": ("9", "9")}),
    Case("mended", 10, {"first": ("7", "0")}),
    Case("another-reason", 5, {"first": ("7", "9")}),
    Case("deleted", 4, {"first": ("9", "0")}, is_deleted=True),
    Case("too-slow", 2, {"first": ("slow0", "slow0")}),
    Case("other", 8, prefix="other-"),
    Case("empty", 4, is_empty=True),
    Case("job-always-7", 12, {"second": ("7", "7")}),
    Case("job-always-9", 6, {"second": ("9", "9")}),
    Case("job-mended", 8, {"second": ("7", "0")}),
    Case("job-memory", 2, {"second": ("memory", "memory")}),
    Case("job-memory-mended", 2, {"second": ("memory", "0")}),
    Case("mended-then-job", 3, {"first": ("7", "0"), "second": ("7", "7")}),
    Case("last-always-7", 10, {"third": ("7", "7")}),
    Case("last-mended", 5, {"third": ("7", "0")}),
    Case("all-mended", 5, {"first": ("7", "0"), "second": ("9", "0"), "third": ("7", "0")}),
    Case("to-batch", 2, {"third": ("slow0", "slow0")}),
    Case("to-batch-failed", 2, {"third": ("slow9", "slow9")}),
    Case("twice", 5, is_repeated=True),
)


@dataclass
class Expected:
    """What must be known of each function, by name of the file."""

    runs: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    """Of each function, URI of the input, and status."""
    failed: dict[str, dict[str, str]] = field(default_factory=lambda: {name: {} for name in _FUNCTIONS})
    """Reasons of the latest runs."""
    done: dict[str, set[str]] = field(default_factory=lambda: {name: set() for name in _FUNCTIONS})
    skipped: dict[str, set[str]] = field(default_factory=lambda: {name: set() for name in _FUNCTIONS})
    recovered: dict[str, set[str]] = field(default_factory=lambda: {name: set() for name in _FUNCTIONS})

    def add(self, name: str, case: Case) -> None:
        """A file that is uploaded, sent again after a failure, and uploaded again if it is `is_repeated`."""
        stopped = self._process(name, case, 0, is_mended=False)
        if case.is_repeated:
            self._process(name, case, 0, is_mended=False)
        if stopped is not None:
            self._process(name, case, stopped, is_mended=True)

    def _process(self, name: str, case: Case, start: int, *, is_mended: bool) -> int | None:
        """Go through the functions from the index `start` on. Returns the index of the one that failed."""
        for number, (function, mode) in list(enumerate(_FUNCTIONS.items()))[start:]:
            uri = f"s3://{_BUCKET}/{_FOLDERS[number]}/{name}"
            if case.is_skipped:
                self.runs[function, uri, "skipped"] += 1
                self.skipped[function].add(name)
                return None
            end = case.ends.get(function, ("0", "0"))[is_mended]
            if case.is_deleted and is_mended:
                end = "missing"
            if mode == "batch":
                self.runs[function, uri, "submitted"] += 1
            if mode == "lambda-batch" and end.startswith("slow"):
                self.runs[function, uri, "delegated"] += 1
                end = end.removeprefix("slow")
            if end != "0":
                # A job that ran out of memory would do so again.
                self.runs[function, uri, "failed"] += 1 if end == "memory" else _ATTEMPTS
                self.failed[function][name] = _REASONS[end]
                return number
            self.runs[function, uri, "done"] += 1
            self.done[function].add(name)
            if self.failed[function].pop(name, None) is not None:
                self.recovered[function].add(name)
        return None


def compare_reports(folder: Path, files: int) -> int:
    """Process so many files, at least one for each case, and compare the report about them: how much of it
    is wrong."""
    cloud = Cloud(folder / "report-cloud")
    workload = Workload(cloud, folder, _STACK, _BUCKET)
    try:
        running = workload.start()
        workload.client("s3").create_bucket(Bucket=_BUCKET)
        (folder / "steps.sh").write_text(_SCRIPT)
        workload.deploy(_fdl(is_mended=False))
        started = time.monotonic()
        cases = dict(_cases(files))
        expected = Expected()
        for name, case in cases.items():
            expected.add(name, case)
        _upload(workload, cases.items())
        workload.until_idle()
        _upload(workload, ((name, case) for name, case in cases.items() if case.is_repeated))
        workload.until_idle()
        for name, case in cases.items():
            if case.is_deleted:
                workload.client("s3").delete_object(Bucket=_BUCKET, Key=f"in/{name}")
        first_s = time.monotonic() - started
        workload.deploy(_fdl(is_mended=True))
        scar = Scar(CloudUnderTest(cloud, running))
        started = time.monotonic()
        sent = json.loads(scar.process("retry", "-f", str(workload.fdl), "-j").stdout)
        workload.until_idle()
        again_s = time.monotonic() - started
        rows, report, report_s = _reported(scar, workload.fdl, expected)
        wrong = list(_compared(workload, cases, expected, rows, report))
    finally:
        cloud.stop()
    retried = sum(len(one["events"]) for one in sent["functions"])
    failed = sum(map(len, expected.failed.values()))
    print(
        f"{len(cases)} files in a chain of three, some of which fail on purpose, in {first_s:.0f} s; "
        f"{retried} events sent again, in {again_s:.0f} s:\n"
        f"  {len(rows)} runs in the report, {failed} failed files under {len(report['failures'])} reasons, "
        f"{sum(map(len, expected.recovered.values()))} recovered, {len(expected.done['third'])} results; "
        f"{len(wrong)} differences; the report took {report_s:.1f} s",
        flush=True,
    )
    for one in wrong[:30]:
        print(f"  WRONG: {one}", flush=True)
    return len(wrong)


def _cases(files: int) -> Iterator[tuple[str, Case]]:
    """Names of files, and their cases; all files that are left end well."""
    left = files
    for case in _CASES:
        count = max(1, case.of_300 * files // 300)
        left -= count
        yield from ((f"{case.prefix}{case.name}-{number:03}.txt", case) for number in range(count))
    fine = Case("fine", 0)
    yield from ((f"file-fine-{number:03}.txt", fine) for number in range(left))


def _fdl(*, is_mended: bool) -> str:
    return "functions:\n  aws:" + "".join(
        f"""
  - lambda:
      name: report-{name}
      init_script: steps.sh
      execution_mode: {mode}
      timeout: {_LAMBDA_S}
      retry_attempts: {_ATTEMPTS - 1}
      container:
        image_file: busybox.tar
        timeout_threshold: {_RESERVED_S}
        environment: {{Variables: {{STEP: {name}, MENDED: "{"yes" if is_mended else "no"}"}}}}
      input: [{{storage_provider: s3, path: {_BUCKET}/{_FOLDERS[number]}, prefix: [file-]}}]
      output: [{{storage_provider: s3, path: {_BUCKET}/{_FOLDERS[number + 1]}}}]
    batch: {{memory: 512, vcpus: 0.25, attempts: {_ATTEMPTS}}}"""
        for number, (name, mode) in enumerate(_FUNCTIONS.items())
    )


def _upload(workload: Workload, files: Iterable[tuple[str, Case]]) -> None:
    for name, case in files:
        workload.client("s3").put_object(Bucket=_BUCKET, Key=f"in/{name}", Body=case.body())


def _reported(
    scar: Scar, fdl: Path, expected: Expected
) -> tuple[list[dict[str, str]], dict[str, Any], float]:
    """The rows of `--csv`, the document of `--json`, and how long the latter took; written again until all
    runs are in it, or it is too late."""
    until = time.monotonic() + _COMPLETE_WITHIN_S
    while True:
        text = scar.process("report", "-f", str(fdl), "--csv").stdout
        rows = list(csv.DictReader(io.StringIO(text)))
        if len(rows) >= expected.runs.total() or time.monotonic() > until:
            started = time.monotonic()
            report = json.loads(scar.process("report", "-f", str(fdl), "--json").stdout)
            return rows, report, time.monotonic() - started
        time.sleep(1)


def _compared(
    workload: Workload,
    cases: Mapping[str, Case],
    expected: Expected,
    rows: list[dict[str, str]],
    report: dict[str, Any],
) -> Iterator[str]:
    """What is wrong: of what, what was found, and what was expected."""
    seen = Counter((row["function"].removeprefix("report-"), row["subject"], row["status"]) for row in rows)
    yield from (f"rows of --csv: {count} too many of {run}" for run, count in (seen - expected.runs).items())
    yield from (f"rows of --csv: {count} missing of {run}" for run, count in (expected.runs - seen).items())
    submitted = sum(count for (_name, _uri, status), count in expected.runs.items() if status == "submitted")
    yield from _different("totals: runs", report["totals"]["runs"], expected.runs.total() - submitted)
    given_up = workload.given_up_by_function()
    arrows = _arrows(report)
    for number, name in enumerate(_FUNCTIONS):
        before, after = (workload.names(folder) for folder in _FOLDERS[number : number + 2])
        if number == 0:
            before |= {file for file, case in cases.items() if case.is_deleted}
        one = next(one for one in report["functions"] if one["name"] == f"report-{name}")
        failed = expected.failed[name]
        sizes = {
            "done": len(expected.done[name]),
            "failed": len(failed),
            "skipped": len(expected.skipped[name]),
            "unfinished": 0,
            "recovered": len(expected.recovered[name]),
        }
        read = expected.done[name] | set(failed) | expected.skipped[name]
        yield from _different(f"{name}: files", one["files"], {"all": len(read), **sizes})
        yield from _different(
            f"{name}: names under reasons", _names(report, name), _by_reason(number, failed)
        )
        yield from _different(f"{name}: failure queue in the report", one["failure_queue"], len(failed))
        in_queue = given_up[f"report-{name}"]
        yield from _different(
            f"{name}: files in the failure queue", in_queue, Counter(dict.fromkeys(failed, 1))
        )
        yield from _different(f"{name}: files in its input folder", before, read)
        yield from _different(f"{name}: files in its output folder", after, expected.done[name])
        into, out = arrows[_FOLDERS[number], name], arrows[name, _FOLDERS[number + 1]]
        yield from _different(f"{name}: arrow to it", into, (len(before), len(failed)))
        yield from _different(f"{name}: arrow from it", out, (len(after), None))


def _different(what: str, found: object, wanted: object) -> Iterator[str]:
    if found != wanted:
        yield f"{what}: {found!r}, expected: {wanted!r}"


def _by_reason(number: int, failed: Mapping[str, str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name in sorted(failed):
        found.setdefault(failed[name], []).append(f"s3://{_BUCKET}/{_FOLDERS[number]}/{name}")
    return found


def _names(report: Mapping[str, Any], name: str) -> dict[str, list[str]]:
    """The files under each reason of a function; reasons that no file has any longer are left out."""
    return {
        one["reason"]: one["names"]
        for one in report["failures"]
        if report["functions"][one["function"]]["name"] == f"report-{name}" and (one["names"] or one["files"])
    }


def _arrows(report: Mapping[str, Any]) -> dict[tuple[str, str], tuple[int, int | None]]:
    """Numbers of files and of failed files, by folder and function as the picture names them."""
    names = [
        node["title"].removeprefix("report-") if "function" in node else node["lines"][0].strip("/")
        for node in report["workflow"]["nodes"]
    ]
    return {
        (names[edge["source"]], names[edge["target"]]): (edge["files"], edge.get("failed"))
        for edge in report["workflow"]["edges"]
    }
