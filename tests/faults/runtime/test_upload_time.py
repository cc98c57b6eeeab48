"""Outputs heed the time that is left: all of them become visible, or none."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from containers.errors import ExplainedError
from runtime.storage import s3_upload
from runtime.storage.contract import Upload
from runtime.storage.kinds import open_storage
from tests.faults.runtime.test_batch_job import BATCH
from tests.unit.runtime.conftest import BatchApi, Function
from tests.unit.runtime.storage.slow_s3 import SlowS3

MIB = 1024 * 1024
MANY = """#!/bin/sh
number=0
while [ $number -lt 600 ]; do echo $number > $TMP_OUTPUT_DIR/$number; number=$((number + 1)); done
"""


@pytest.fixture
def slow(aws_environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[SlowS3]:
    """Outputs go there; nothing is known of its pace."""
    with SlowS3() as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", server.endpoint)
        yield server
        s3_upload._paces.pop(server.endpoint, None)


def files(folder: Path, *sizes: int) -> list[Upload]:
    uploads = []
    for number, size in enumerate(sizes):
        file = folder / str(number)
        with file.open("wb") as content:
            content.truncate(size)
        uploads.append(Upload(file, "bucket", f"out/{number}", size))
    return uploads


def test_a_run_with_more_outputs_than_time_shows_none_of_them(function: Function, slow: SlowS3) -> None:
    slow.request_s = 0.1  # 600 of them, 8 at once: 7.5 s
    function.deploy(MANY, timeout_s=900, timeout_threshold_s=4)
    with pytest.raises(ExplainedError) as caught:
        function.invoke({}, remaining_ms=7_000)
    assert caught.value.kind == "TimedOut"
    assert "600 output files (2290 bytes) would take about" in str(caught.value)
    assert "none was uploaded" in str(caught.value)
    assert "timeout_threshold" in str(caught.value)
    assert (slow.visible, slow.unfinished, slow.requests["put"]) == ({}, {}, 0)


def test_lambda_batch_hands_a_run_with_more_outputs_than_time_over(
    function: Function, slow: SlowS3, batch_api: BatchApi
) -> None:
    slow.request_s = 0.1
    function.deploy(
        MANY, **{**BATCH, "execution_mode": "lambda-batch", "timeout_s": 900, "timeout_threshold_s": 4}
    )
    answer = function.invoke({}, remaining_ms=7_000)
    assert [result["status"] for result in answer["results"]] == ["delegated"]
    assert len(batch_api.requests) == 1
    assert slow.visible == {}


def test_a_run_with_time_for_its_outputs_shows_all_of_them(function: Function, slow: SlowS3) -> None:
    slow.request_s = 0.01
    function.deploy(MANY, timeout_s=900, timeout_threshold_s=40)
    function.invoke({}, remaining_ms=45_000)
    assert len(slow.visible) == 600
    assert slow.unfinished == {}
    assert slow.requests["begin"] == slow.requests["abort"] == 8, "its pace was measured once"


def test_ordinary_outputs_cost_one_request_each(slow: SlowS3, tmp_path: Path) -> None:
    storage = open_storage("s3")
    uploads = files(tmp_path, *[10] * 20)
    storage.require_time(uploads, time.monotonic() + 60)
    storage.upload(uploads, time.monotonic() + 60)
    assert slow.requests == {"put": 20}


def test_a_pace_that_is_known_is_not_measured_again(slow: SlowS3, tmp_path: Path) -> None:
    slow.request_s = 0.001
    uploads = files(tmp_path, *[10] * 100)
    for _ in range(3):
        open_storage("s3").require_time(uploads, time.monotonic() + 50)
    assert slow.requests["begin"] == 8


def test_large_outputs_that_do_not_fit_are_invisible_and_aborted(slow: SlowS3, tmp_path: Path) -> None:
    slow.bytes_per_s = 400 * MIB
    uploads = files(tmp_path, 40 * MIB, 17 * MIB, 100)
    slow.hang_after = 5
    with pytest.raises(
        ExplainedError, match=r"upload of 3 output files \(57\.0 MiB\): none of them is visible"
    ):
        open_storage("s3").upload(uploads, time.monotonic() + 1.5)
    assert slow.visible == {}


def test_the_size_of_outputs_counts_too(slow: SlowS3, tmp_path: Path) -> None:
    slow.bytes_per_s = 20 * MIB
    with pytest.raises(ExplainedError, match=r"12 output files \(180\.0 MiB\) would take about"):
        open_storage("s3").require_time(files(tmp_path, *[15 * MIB] * 12), time.monotonic() + 4)
    assert (slow.visible, slow.unfinished) == ({}, {})


def test_uploads_that_the_time_runs_out_of_stop_and_say_what_is_visible(slow: SlowS3, tmp_path: Path) -> None:
    slow.hang_after = 20
    with pytest.raises(ExplainedError) as caught:
        open_storage("s3").upload(files(tmp_path, *[10] * 40), time.monotonic() + 4)
    assert caught.value.kind == "TimedOut"
    assert f"{len(slow.visible)} of them are visible" in str(caught.value)
    assert slow.requests["put"] == 20


def test_time_that_is_up_already_uploads_nothing(slow: SlowS3, tmp_path: Path) -> None:
    with pytest.raises(ExplainedError, match=r"no time left to upload 1 output file .*: none was uploaded"):
        open_storage("s3").require_time(files(tmp_path, 1), time.monotonic() - 1)
    assert not slow.requests


def test_large_outputs_arrive_whole_and_last_of_all_become_visible(slow: SlowS3, tmp_path: Path) -> None:
    uploads = files(tmp_path, 20 * MIB, 10)
    content = bytes(range(256)) * (20 * MIB // 256)
    uploads[0].file.write_bytes(content)
    open_storage("s3").upload(uploads)
    assert slow.visible == {"/bucket/out/0": content, "/bucket/out/1": b"\0" * 10}
    assert slow.requests == {"begin": 1, "part": 3, "finish": 1, "put": 1}
