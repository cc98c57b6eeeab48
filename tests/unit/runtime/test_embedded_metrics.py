"""Summary lines are in CloudWatch's embedded metric format: by AWS's schema, and by the rules beside it."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from runtime import handler
from runtime.errors import InvocationError
from runtime.summary import METRICS, NAMESPACE
from tests.unit.runtime.conftest import Function
from tests.unit.runtime.event_shapes import s3_event

SCHEMA = json.loads(Path(__file__).with_name("emf.schema.json").read_text(encoding="utf-8"))
LONGEST_EVENT = 256 << 10
COPY = '#!/bin/sh\ncat "$INPUT_FILE_PATH" > "$TMP_OUTPUT_DIR/copy"\n'


def summary_lines(text: str) -> list[str]:
    return [line for line in text.splitlines() if '"message": "summary"' in line]


def require_valid(text: str) -> dict[str, Any]:
    """The line, if CloudWatch would take its metrics."""
    assert len(text.encode()) < LONGEST_EVENT
    line: dict[str, Any] = json.loads(text)
    Draft202012Validator(SCHEMA).validate(line)
    assert abs(line["_aws"]["Timestamp"] / 1000 - time.time()) < 7200
    for directive in line["_aws"]["CloudWatchMetrics"]:
        for name in {name for names in directive["Dimensions"] for name in names}:
            assert isinstance(line[name], str)
            assert 1 <= len(line[name]) <= 1024
            assert line[name].isascii()
        for metric in directive["Metrics"]:
            assert type(line[metric["Name"]]) in (int, float)
    return line


def metrics_of(line: dict[str, Any]) -> dict[tuple[str, ...], dict[str, str]]:
    """Names and units of the metrics for each set of dimensions."""
    return {
        tuple(names): {metric["Name"]: metric["Unit"] for metric in directive["Metrics"]}
        for directive in line["_aws"]["CloudWatchMetrics"]
        for names in directive["Dimensions"]
    }


def test_metrics_of_each_outcome_are_valid(
    function: Function, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handler._here, "cold", True)
    function.deploy(f"{COPY}sleep 0.3\n")  # a shorter script may end before its memory is known
    event = s3_event(function.bucket.name, function.bucket.put("in/a"))
    function.invoke(event)
    function.deploy(
        "#!/bin/sh\nsleep 0.3\nwhile :; do echo xxxxxxxxxxxxxxxxxxxxxxxx; done | head -c 100000; exit 3\n"
    )
    with pytest.raises(InvocationError):
        function.invoke(event)
    with pytest.raises(InvocationError):
        function.invoke(s3_event(function.bucket.name, "in/missing"))
    function.bucket.put("in/empty", b"")
    function.invoke(s3_event(function.bucket.name, "in/empty", size=None))
    done, failed, missing, skipped = map(require_valid, summary_lines(capsys.readouterr().out))
    assert [line["status"] for line in (done, failed, missing, skipped)] == [
        "done",
        "failed",
        "failed",
        "skipped",
    ]
    common = {"total_ms", "queued_ms", "stage_in_ms"}
    ran = common | {"image_ms", "run_ms", "cpu_ms", "memory_bytes", "input_bytes"}
    assert metrics_of(done)["function",].keys() == ran | {"init_ms", "stage_out_ms", "output_bytes"}
    assert metrics_of(failed)["function",].keys() == ran
    assert metrics_of(missing)["function",].keys() == metrics_of(skipped)["function",].keys() == common
    for line in (done, failed, missing, skipped):
        assert metrics_of(line).keys() == {("function",), ("function", "status")}
        assert metrics_of(line)["function", "status"] == {"total_ms": "Milliseconds"}
        assert {one["Namespace"] for one in line["_aws"]["CloudWatchMetrics"]} == {NAMESPACE}
        assert list(line)[-1] == "_aws", "readers cut it off"


def test_units_follow_the_names() -> None:
    units = {"ms": "Milliseconds", "bytes": "Bytes", "attempt": "Count"}
    assert {name: units[name.rpartition("_")[2]] for name in METRICS} == METRICS


def test_metrics_can_be_left_out(
    function: Function, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SCAR_METRICS", "false")
    function.deploy(COPY)
    function.invoke(s3_event(function.bucket.name, function.bucket.put("in/a")))
    (text,) = summary_lines(capsys.readouterr().out)
    line = json.loads(text)
    assert "_aws" not in line
    assert line["total_ms"] > 0
