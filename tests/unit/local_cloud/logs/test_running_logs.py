"""Lines that Lambda itself adds to the log of an invocation."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ministack.services import cloudwatch_logs, lambda_svc

from local_cloud.logs.events import LogEvents
from local_cloud.logs.running import RunningLogs
from local_cloud.state.store import Store

CONFIG = {
    "FunctionName": "f",
    "FunctionArn": "arn:aws:lambda:us-east-1:000000000000:function:f",
    "MemorySize": 128,
}


@pytest.fixture(autouse=True)
def no_logs() -> Iterator[None]:
    yield
    cloudwatch_logs._log_groups.clear()


@pytest.mark.parametrize(
    ("result", "added"),
    [
        ({"status": "error", "error": "Task timed out after 3.00 seconds"}, 1),
        ({"status": "error", "error": "of the handler"}, 0),
        ({"status": "ok", "result": None}, 0),
    ],
)
def test_a_zip_function_that_ran_out_of_time_logs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, result: dict[str, Any], added: int
) -> None:
    monkeypatch.setattr(lambda_svc, "_probe_peak_memory_mb", lambda _function: 1)
    store = Store(tmp_path / "state.db")
    logs = RunningLogs(store, LogEvents(store))
    worker = SimpleNamespace(config=CONFIG)
    assert logs._invoke(lambda *_given: result, worker, {}, "request-1") == result
    logs._end({"config": CONFIG}, "request-1", "", True, 3000)
    (stream,) = cloudwatch_logs._log_groups["/aws/lambda/f"]["streams"].values()
    lines = [event["message"] for event in stream["events"]]
    assert lines[0].startswith("START RequestId: request-1")
    assert [line.split(" ", 1)[1] for line in lines if "timed out" in line] == [
        "request-1 Task timed out after 3.00 seconds"
    ] * added
    assert lines[-2] == "END RequestId: request-1"
