"""`scar report`: which runs are read, and what is written."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from benchmarks import synthetic_runs
from scar_cli.aws.logs import groups
from scar_cli.commands import report
from scar_cli.main import scar
from scar_cli.report import rows
from scar_cli.runs import reading
from scar_cli.runs.model import Run

INPUTS = 30
FUNCTIONS = synthetic_runs.functions()


class Aws:
    """CloudWatch Logs with the lines of synthetic runs, and a failure queue with one event."""

    def __init__(self) -> None:
        self.requests: list[dict[str, Any]] = []
        self.lines = {
            group: list(synthetic_runs.lines(group, INPUTS)) for one in FUNCTIONS for group in groups(one)
        }

    def filter_log_events(self, **request: Any) -> dict[str, Any]:
        self.requests.append(request)
        words = re.findall(r'\?"([^"]+)"', request["filterPattern"])
        first, last = request["startTime"], request.get("endTime", 2**62)
        found = [
            {"timestamp": time, "logStreamName": stream, "message": text}
            for time, stream, text in self.lines[request["logGroupName"]]
            if first <= time <= last and any(word in text for word in words)
        ]
        return {"events": found}

    def get_queue_attributes(self, **_request: Any) -> dict[str, Any]:
        return {
            "Attributes": {
                "ApproximateNumberOfMessages": "1",
                "ApproximateNumberOfMessagesNotVisible": "0",
            }
        }


@pytest.fixture(autouse=True)
def _aws(monkeypatch: pytest.MonkeyPatch) -> Aws:
    aws = Aws()
    monkeypatch.setattr(reading, "client", lambda *_words, **_more: aws)
    monkeypatch.setattr(report, "selected", lambda **_choice: FUNCTIONS)
    monkeypatch.setattr("scar_cli.cost.spent.sizes_of", lambda _functions: {})
    return aws


def run(*words: str) -> Result:
    return CliRunner().invoke(scar, ["report", *words], catch_exceptions=False, standalone_mode=False)


def test_the_page_is_one_file_with_the_document(tmp_path: Path) -> None:
    output = tmp_path / "r.html"
    result = run("--since", "2026-01-01", "-o", str(output))
    assert result.return_value == 0
    assert result.stderr == f"Report of 91 runs: {output}\n"
    text = output.read_text()
    assert text.startswith("<!DOCTYPE html>") or text.startswith("<!doctype html>")
    data = re.search(r'<script type="application/json"[^>]*>(.*?)</script>', text, re.DOTALL)
    assert data is not None
    content = json.loads(data[1])
    assert content["totals"]["runs"] == content["runs"]["kept"] == 91
    assert content["command"] == "scar report --since 2026-01-01"


def test_json_and_csv_have_the_same_numbers() -> None:
    content = json.loads(run("--since", "2026-01-01", "--json").stdout)
    assert [one["failure_queue"] for one in content["functions"]] == [1, 1, 1]
    lines = list(csv.DictReader(io.StringIO(run("--since", "2026-01-01", "--csv").stdout)))
    assert len(lines) == content["totals"]["runs"]
    for function in content["functions"]:
        own = [line for line in lines if line["function"] == function["name"]]
        assert len(own) == function["runs"]
        assert sum(line["status"] == "failed" for line in own) == function["by_status"].get("failed", 0)
        assert sum(int(line["input_bytes"]) for line in own) == function["input_bytes"]
        total = sum(float(line["total_ms"]) for line in own)
        assert total == pytest.approx(function["durations"]["total"]["sum_ms"], abs=0.1)
    assert lines[0].keys() == set(rows.COLUMNS)


def test_a_cell_is_no_formula_and_has_no_control_characters() -> None:
    one = next(iter(_first_run()))
    file = io.StringIO()
    rows.write_rows(file, [one._replace(subject="=1+1", error="a\nb\x1b", kind="@x")])
    (line,) = csv.DictReader(io.StringIO(file.getvalue()))
    assert (line["subject"], line["error"], line["kind"]) == ("'=1+1", "a b\\x1b", "'@x")


def test_only_runs_that_ended_in_the_period_are_read(_aws: Aws) -> None:
    start, end = 1_790_000_000_150, 1_790_000_000_300
    content = json.loads(run("--since", _iso(start), "--until", _iso(end), "--json").stdout)
    assert content["asked"] == {"since_ms": start, "until_ms": end, "launch": None}
    assert 0 < content["totals"]["runs"] < 91
    assert content["period"]["end_ms"] <= end
    assert all(request["endTime"] == end + 60_000 for request in _aws.requests)


def test_a_launch_has_its_files_and_those_that_descend_from_them(tmp_path: Path) -> None:
    journal = tmp_path / "launch.jsonl"
    keys = [f"in/photo-{number:07}.jpg" for number in (3, 7)]
    head = {
        "scar_launch": 1,
        "function": "resize",
        "since_ms": 1_700_000_000_000,
        "sources": [["bench", "in/"]],
        "options": {"stage": None},
    }
    lines = [head, {"send": [*keys, "in/photo-0000009.jpg"], "from": 0, "source": 0}, 0, 1]
    journal.write_text("".join(json.dumps(line) + "\n" for line in lines))
    content = json.loads(run("--launch", str(journal), "--json").stdout)
    assert content["asked"]["launch"] == {"journal": str(journal), "function": "resize", "accepted": 2}
    assert content["totals"]["inputs"] == 2
    # 3: resized, given to Batch and examined there, indexed. 7: failed twice.
    assert [one["runs"] for one in content["functions"]] == [3, 2, 1]


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("--json", "--csv"), "--json cannot be combined with --csv. Use only one of them."),
        (
            ("--launch", "x", "--since", "1h"),
            "--launch cannot be combined with --since. A launch has a start of its own.",
        ),
        (("--since", "soon"), "'soon' is not a time. Examples: 10m, 2h, 1d, 2026-01-31T12:00."),
        (
            ("-o", "/nowhere/r.html"),
            "/nowhere/r.html cannot be written: the folder /nowhere does not exist. Use another path.",
        ),
    ],
)
def test_what_cannot_be_written_is_an_error_before_anything_is_read(
    words: tuple[str, ...], reason: str, _aws: Aws
) -> None:
    result = CliRunner().invoke(scar, ["report", *words], standalone_mode=False)
    assert str(result.exception) == reason
    assert _aws.requests == []


def test_runs_of_which_some_are_selected_come_in_the_order_of_the_functions() -> None:
    """The files of a launch are known when the first function has been read."""
    functions: list[str] = []

    def select(runs: Iterable[Run]) -> Iterator[Run]:
        for run in runs:
            functions.append(run.function)
            if run.function != "examine":
                yield run

    reader = reading.RunReader(FUNCTIONS, reading.clients_of(FUNCTIONS), 0, select=select)
    assert {run.function for run in reader.runs()} == {"resize", "index"}
    assert list(dict.fromkeys(functions)) == ["resize", "examine", "index"]
    assert functions == sorted(functions, key=["resize", "examine", "index"].index)


def _first_run() -> Any:
    return reading.FunctionRuns(FUNCTIONS[0], 0).read(reading.clients_of(FUNCTIONS))


def _iso(milliseconds: int) -> str:
    from datetime import UTC, datetime

    return datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat()
