from __future__ import annotations

import io
import json

import pytest
from rich.console import Console
from watching.figures import read_figures
from watching.live_view import LiveView
from watching.times_table import seconds, times_table
from watching.workflow import Progress, complete_results, json_line


def summary(request: str, name: str, *, cold: bool, total_ms: float, status: str = "done") -> str:
    line = {"message": "summary", "request_id": request, "subject": f"s3://b/{name}", "status": status}
    return json.dumps({**line, "cold": cold, "total_ms": total_ms})


def stage(request: str, name: str, duration_ms: float) -> str:
    line = {"message": "stage", "request_id": request, "subject": "s3://b/x", "stage": name}
    return json.dumps({**line, "duration_ms": duration_ms})


LINES = [
    "START RequestId: a Version: $LATEST",
    stage("a", "run", 100),
    summary("a", "1.jpg", cold=True, total_ms=300),
    "REPORT RequestId: a\tDuration: 12900.5 ms\tBilled Duration: 2901 ms\tMemory Size: 3008 MB",
    stage("b", "run", 300),
    summary("b", "2.jpg", cold=False, total_ms=400, status="failed"),
    "REPORT RequestId: b\tDuration: 450 ms\tBilled Duration: 450 ms",
    summary("c", "2.jpg", cold=False, total_ms=500),
    "REPORT RequestId: c\tDuration: 550 ms\tBilled Duration: 550 ms",
    "a container's line",
    '{"message": "a container\'s JSON"}',
    "{not JSON",
]


def test_times_are_lambdas_own_and_failed_runs_are_counted_apart() -> None:
    figures = read_figures("detect", "Lambda", LINES)
    assert (figures.files, figures.failures) == (2, 1)
    assert (figures.cold.count, figures.cold.median_ms) == (1, 12900.5)
    assert (figures.warm.count, figures.warm.max_ms) == (1, 550)
    assert figures.stage("run").median_ms == 200
    assert figures.stage("image").count == 0


def test_job_without_lambdas_report_has_the_runners_total() -> None:
    assert (
        read_figures("split", "Batch", [summary("j", "v.avi", cold=True, total_ms=2300)]).cold.max_ms == 2300
    )


def test_table_fits_eighty_columns() -> None:
    console = Console(file=io.StringIO(), width=80)
    console.print(times_table([read_figures("scar-batch-ffmpeg-split", "Lambda", LINES)]))
    text = console.file.getvalue() if isinstance(console.file, io.StringIO) else ""
    assert "scar-batch-ffmpeg-split" in text
    assert "1: 12.9 s, 12.9 s" in text
    assert "…" not in text


@pytest.mark.parametrize(("milliseconds", "text"), [(420, "0.42 s"), (3100, "3.1 s"), (75_200, "75 s")])
def test_durations_are_shown_with_fitting_digits(milliseconds: float, text: str) -> None:
    assert seconds(milliseconds) == text


def test_result_is_complete_with_text_and_picture() -> None:
    keys = ["o/out001.out", "o/out001.png", "o/out002.png", "o/out003.out", "o/out004.out", "o/out004.jpg"]
    assert complete_results(keys) == ["o/out001.out", "o/out004.out"]


@pytest.mark.parametrize("line", ["", "text", "{", "{}", "[1]", "null", '{"a": '])
def test_lines_that_are_not_structured_are_empty(line: str) -> None:
    assert json_line(line) == {}


def test_at_rest_only_after_the_split_has_ended() -> None:
    assert not Progress("RUNNING", images=3, results=3, failures=0).at_rest
    assert not Progress("SUCCEEDED", images=68, results=67, failures=0).at_rest
    assert Progress("SUCCEEDED", images=68, results=68, failures=0).at_rest
    assert Progress("FAILED", images=0, results=0, failures=1).job_failed


def test_plain_output_says_changes_once() -> None:
    console = Console(file=io.StringIO(), width=120)
    with LiveView(console, expected=68, parallel=2).shown() as view:
        view.update(Progress("RUNNING", 0, 0, 0))
        view.update(Progress("RUNNING", 0, 0, 0))
        view.update(Progress("SUCCEEDED", 68, 10, 0))
    text = console.file.getvalue() if isinstance(console.file, io.StringIO) else ""
    assert text.count("\n") == 2
    assert "split succeeded, 68 images, 56 waiting, 2 running, 10 results, 0 failures" in text
