"""The fields of the summary line."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from runtime import handler, summary
from runtime.errors import InvocationError
from runtime.events.invocation import iso_time
from runtime.storage.contract import Upload
from tests.unit.runtime.conftest import Function
from tests.unit.runtime.event_shapes import s3_event, sqs

LogLines = Callable[[], list[dict[str, Any]]]


def summaries(log_lines: LogLines) -> list[dict[str, Any]]:
    return [line for line in log_lines() if line["message"] == "summary"]


def test_age_of_this_process_is_measured_from_its_start() -> None:
    before = summary.ms_since_process_start()
    time.sleep(0.05)
    after = summary.ms_since_process_start()
    assert before is not None and after is not None
    assert 40 <= after - before < 5000
    assert before > 10, "Python itself takes longer to start"


@pytest.mark.parametrize(
    ("age_s", "zone", "expected_ms"),
    [(60, "Z", 60_000), (60, "+00:00", 60_000), (60, "", 60_000), (-3600, "Z", 0)],
)
def test_queued_time_begins_with_the_event(age_s: int, zone: str, expected_ms: float) -> None:
    event_time = iso_time(time.time() - age_s).replace("Z", zone)
    assert summary.queued_ms(event_time) == pytest.approx(expected_ms, abs=30_000)


@pytest.mark.parametrize(
    ("environ", "told"),
    [
        (
            {"AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "128"},
            {"mode": "lambda", "memory_limit_bytes": 128 << 20},
        ),
        (
            {"AWS_BATCH_JOB_ID": "j", "SCAR_MEMORY_MIB": "2048"},
            {"mode": "batch", "memory_limit_bytes": 2048 << 20},
        ),
        ({"AWS_BATCH_JOB_ID": "j", "SCAR_MEMORY_MIB": "much"}, {"mode": "batch"}),
    ],
)
def test_mode_and_memory_of_an_environment(environ: dict[str, str], told: dict[str, object]) -> None:
    assert summary.where(environ) == told


def uploads(keys: list[str]) -> list[tuple[str, Upload]]:
    return [("s3", Upload(Path("x"), "b", key, 1)) for key in keys]


def test_outputs_are_bounded_in_number_and_size() -> None:
    few = [f"out/{number}" for number in range(3)]
    assert summary.shown_outputs(uploads(few)) == [f"s3://b/{key}" for key in few]
    many = [f"out/{number}" for number in range(1000)]
    assert summary.shown_outputs(uploads(many)) == [f"s3://b/{key}" for key in many[:20]]
    long = [str(number) + "k" * 1000 for number in range(20)]
    assert summary.shown_outputs(uploads(long)) == [f"s3://b/{key}" for key in long[:3]]
    control = ["a\nb"]
    assert summary.shown_outputs(uploads(control)) == ["s3://b/a\\nb"], "as it is in `subject`"


def test_only_the_first_run_of_an_environment_is_cold(
    function: Function, log_lines: LogLines, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handler._here, "cold", True)
    function.deploy("#!/bin/sh\n")
    event = s3_event(function.bucket.name, function.bucket.put("in/a"), function.bucket.put("in/b"))
    function.invoke(event)
    assert [("init_ms" in line, line["cold"]) for line in summaries(log_lines)] == [
        (True, True),
        (False, False),
    ]


@pytest.mark.parametrize(
    ("attributes", "attempt"),
    [
        ({"ApproximateReceiveCount": "3"}, 3),
        ({"ApproximateReceiveCount": 3}, None),
        ({"ApproximateReceiveCount": "9" * 5000}, None),
        (["3"], None),
        ({}, None),
    ],
)
def test_attempt_of_a_message_is_how_often_it_was_received(
    attributes: object, attempt: int | None, function: Function, log_lines: LogLines
) -> None:
    function.deploy("#!/bin/sh\n")
    event = sqs(s3_event(function.bucket.name, function.bucket.put("in/a")))
    event["Records"][0]["attributes"] = attributes
    assert function.invoke(event) == {"batchItemFailures": []}
    (line,) = summaries(log_lines)
    assert line.get("attempt") == attempt


def test_line_is_not_longer_than_batch_allows_and_numbers_are_not_cut(
    function: Function, capsys: pytest.CaptureFixture[str]
) -> None:
    name = "ü" * 100
    function.deploy(
        f'#!/bin/sh\ni=0; while [ $i -lt 100 ]; do i=$((i+1)); : > "$TMP_OUTPUT_DIR/{name}$i"; done\n'
    )
    function.invoke(s3_event(function.bucket.name, function.bucket.put("in/a")))
    long = "\\1" * 499
    function.deploy(f"#!/bin/sh\ni=0; while [ $i -lt 40 ]; do i=$((i+1)); printf '{long}\\n'; done\nexit 1\n")
    with pytest.raises(InvocationError):
        function.invoke(s3_event(function.bucket.name, function.bucket.put("in/a")))
    lines = [line for line in capsys.readouterr().out.splitlines() if '"message": "summary"' in line]
    assert all(line.startswith('{"scar": 1, ') and len(line.encode()) <= 15 * 1024 for line in lines)
    done, failed = map(json.loads, lines)
    assert (done["output_files"], len(done["outputs"])) == (100, 15)
    assert all(uri.startswith("s3://") for uri in done["outputs"])
    assert isinstance(failed["cpu_ms"], float)
