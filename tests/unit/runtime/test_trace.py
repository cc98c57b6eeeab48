"""Runs that descend from one input are in one trace, across S3, queues and Batch."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from runtime.errors import InvocationError
from runtime.storage.contract import StoredObject
from runtime.trace import VARIABLE, Trace
from tests.function_configs import function_config
from tests.unit.runtime.conftest import BatchApi, Function
from tests.unit.runtime.event_shapes import event_bridge, s3_event, sqs

COPY = '#!/bin/sh\ncat "$INPUT_FILE_PATH" > "$TMP_OUTPUT_DIR/${INPUT_FILE_PATH##*/}"\n'
HEADER = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
SOURCE = StoredObject("b", "k", etag="e")
MIB = 1 << 20

LogLines = Callable[[], list[dict[str, Any]]]


@pytest.fixture
def run(function: Function, log_lines: LogLines) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """Invoke the function; returns the summary."""

    def run(event: dict[str, Any]) -> dict[str, Any]:
        log_lines()
        function.invoke(event)
        (summary,) = (line for line in log_lines() if line["message"] == "summary")
        return summary

    return run


Run = Callable[[dict[str, Any]], dict[str, Any]]


def reading(function: Function, folder: str) -> None:
    """Deploy a function that reads what the one before it has written."""
    where = function_config("f", "x", function.bucket.name)
    function.deploy(
        COPY,
        inputs=[{**where["inputs"][0], "folder": folder}],
        outputs=[{**where["outputs"][0], "folder": f"{folder}/next"}],
    )


@pytest.mark.parametrize("size", [5, 17 * MIB, 33 * MIB])
def test_chain_of_functions_is_one_trace(size: int, function: Function, run: Run) -> None:
    name = function.bucket.name
    function.deploy(COPY)
    first = run(s3_event(name, function.bucket.put("in/a", b"x" * size), size=size))
    written = function.bucket.client.head_object(Bucket=name, Key="out/a")["Metadata"]
    assert written == {"traceparent": f"00-{first['trace']}-{first['span']}-01"}
    assert "parent" not in first
    reading(function, "out")
    second = run(s3_event(name, "out/a", size=size))
    reading(function, "out/next")
    third = run(sqs(s3_event(name, "out/next/a", size=size)))
    assert first["trace"] == second["trace"] == third["trace"]
    assert (second["parent"], third["parent"]) == (first["span"], second["span"])
    assert len({first["span"], second["span"], third["span"]}) == 3


def test_each_attempt_and_each_function_of_an_upload_is_in_its_trace(
    function: Function, run: Run, log_lines: LogLines
) -> None:
    key, name = function.bucket.put("in/a"), function.bucket.name
    function.deploy("#!/bin/sh\nexit 1\n")
    with pytest.raises(InvocationError):
        function.invoke(s3_event(name, key))
    (failed,) = (line for line in log_lines() if line["message"] == "summary")
    function.deploy(COPY, name="other")
    done = run(event_bridge(name, key))
    assert (failed["status"], failed["trace"]) == ("failed", done["trace"])
    assert run(s3_event(name, function.bucket.put("in/b")))["trace"] != done["trace"]


def test_run_that_cannot_read_its_input_is_in_no_trace(function: Function, log_lines: LogLines) -> None:
    function.deploy(COPY)
    with pytest.raises(InvocationError):
        function.invoke(s3_event(function.bucket.name, "in/missing"))
    (failed,) = (line for line in log_lines() if line["message"] == "summary")
    assert not {"trace", "span", "parent"} & failed.keys()


def test_job_of_a_direct_invocation_is_in_its_trace(
    function: Function, batch_api: BatchApi, run: Run
) -> None:
    settings: dict[str, Any] = {"batch": {"timeout_s": 600, "attempts": 2}}
    function.deploy("#!/bin/sh\nsleep 60\n", execution_mode="lambda-batch", **settings)
    delegated = function.invoke({"n": 1}, remaining_ms=5800)
    assert delegated["results"][0]["status"] == "delegated"
    of_lambda = batch_api.environment()[VARIABLE]
    function.deploy("#!/bin/sh\n", execution_mode="batch", **settings)
    function.invoke({"n": 1})
    assert batch_api.environment()[VARIABLE] == of_lambda
    assert Trace.of_request("job", batch_api.environment()).id == of_lambda
    function.deploy("#!/bin/sh\n")
    assert run({"n": 1})["trace"] == of_lambda, "the request has the same id in this test"


def test_the_header_of_an_input_is_continued() -> None:
    trace = Trace.of_object(SOURCE, {"traceparent": HEADER})
    assert (trace.id, trace.parent) == ("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7")
    assert re.fullmatch(r"[0-9a-f]{16}", trace.span)
    assert trace.header == f"00-{trace.id}-{trace.span}-01"


@pytest.mark.parametrize(
    "header",
    [
        "",
        HEADER.upper(),
        HEADER + "-00",
        HEADER.replace("4bf92f3577b34da6a3ce929d0e0e4736", "0" * 32),
        HEADER.replace("00f067aa0ba902b7", "0" * 16),
        HEADER.replace("00-", "ff-", 1),
        HEADER + "\n",
        "x" * 2000,
    ],
)
def test_an_invalid_header_begins_a_new_trace(header: str) -> None:
    assert Trace.of_object(SOURCE, {"traceparent": header}).id == Trace.of_object(SOURCE, {}).id
    assert Trace.of_object(SOURCE, {"traceparent": header}).parent is None


def test_ids_of_other_inputs_differ() -> None:
    others = [StoredObject("b", "k", etag="f"), StoredObject("b", "l", etag="e"), StoredObject("c", "k")]
    assert len({Trace.of_object(one, {}).id for one in (SOURCE, *others)}) == 4
    assert Trace.of_request("1", {VARIABLE: "no id"}).id == Trace.of_request("1", {}).id
