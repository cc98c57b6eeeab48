"""Runs and their stages as spans of OpenTelemetry, received by a real server on loopback."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from runtime import otlp
from runtime.errors import InvocationError
from runtime.logs import Log
from runtime.trace import Trace
from tests.unit.runtime.conftest import Function
from tests.unit.runtime.event_shapes import s3_event

COPY = '#!/bin/sh\ncat "$INPUT_FILE_PATH" > "$TMP_OUTPUT_DIR/copy"\n'
ROOT = Path(__file__).parents[3]

LogLines = Callable[[], list[dict[str, Any]]]


@dataclass
class Collector:
    """What was received."""

    endpoint: str
    requests: list[tuple[str, dict[str, str], dict[str, Any]]] = field(default_factory=list)
    status: int = 200

    def spans(self) -> list[dict[str, Any]]:
        return [
            span for *_, body in self.requests for span in body["resourceSpans"][0]["scopeSpans"][0]["spans"]
        ]


def attributes(of: dict[str, Any]) -> dict[str, Any]:
    return {one["key"]: next(iter(one["value"].values())) for one in of["attributes"]}


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    """A collector that the runner's environment names."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            found.requests.append((self.path, dict(self.headers), json.loads(body)))
            self.send_response(found.status)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found = Collector(f"http://127.0.0.1:{server.server_port}")
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setattr(otlp._here, "silent_until", 0.0)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", found.endpoint)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "20000")
    yield found
    server.shutdown()
    server.server_close()


def test_a_run_and_its_stages_are_spans_of_its_trace(
    function: Function, collector: Collector, log_lines: LogLines, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-key=a%20b,other=1")
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment=dev")
    function.deploy(f"{COPY}sleep 0.1\n")
    before_ns = time.time_ns()
    function.invoke(s3_event(function.bucket.name, function.bucket.put("in/a")))
    after_ns = time.time_ns()
    (summary,) = (line for line in log_lines() if line["message"] == "summary")
    ((path, headers, body),) = collector.requests
    assert (path, headers["x-key"], headers["other"]) == ("/v1/traces", "a b", "1")
    assert headers["Content-Type"] == "application/json"
    assert attributes(body["resourceSpans"][0]["resource"]) == {
        "service.name": "shrink",
        "cloud.provider": "aws",
        "cloud.region": "us-east-1",
        "faas.name": "shrink",
        "deployment.environment": "dev",
    }
    whole, *stages = collector.spans()
    assert (whole["traceId"], whole["spanId"]) == (summary["trace"], summary["span"])
    assert (whole["name"], whole["kind"], whole["status"]) == ("shrink", 5, {})
    assert "parentSpanId" not in whole
    assert attributes(whole)["scar.memory_bytes"] == str(summary["memory_bytes"])
    assert attributes(whole)["scar.cpu_ms"] == summary["cpu_ms"]
    assert [stage["name"] for stage in stages] == ["stage-in", "image", "run", "stage-out"]
    moments = [before_ns]
    for stage in stages:
        assert (stage["traceId"], stage["parentSpanId"]) == (whole["traceId"], whole["spanId"])
        moments += [int(stage["startTimeUnixNano"]), int(stage["endTimeUnixNano"])]
    assert moments[1] >= int(whole["startTimeUnixNano"]) >= before_ns
    assert moments[-1] <= int(whole["endTimeUnixNano"]) <= after_ns
    rounding_ns = 100_000
    assert all(later >= earlier - rounding_ns for earlier, later in pairwise(moments))


def test_a_failure_is_an_error_of_the_run_and_of_its_stage(
    function: Function, collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OTEL_EXPORTER_OTLP_ENDPOINT")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", f"{collector.endpoint}/at/once")
    monkeypatch.setenv("OTEL_SERVICE_NAME", "thumbnails")
    function.deploy("#!/bin/sh\nexit 3\n")
    for key in (function.bucket.put("in/a"), "in/missing"):
        with pytest.raises(InvocationError):
            function.invoke(s3_event(function.bucket.name, key))
    first, second = collector.requests
    assert first[0] == "/at/once"
    assert attributes(first[2]["resourceSpans"][0]["resource"])["service.name"] == "thumbnails"
    whole, _stage_in, _image, run, missing, stage_in = collector.spans()
    assert whole["status"]["code"] == run["status"]["code"] == 2
    assert "exited with code 3" in whole["status"]["message"]
    assert attributes(whole)["scar.kind"] == "ScriptFailed"
    assert (missing["status"]["code"], stage_in["status"]["code"]) == (2, 2)
    assert len(second[2]["resourceSpans"]) == 1


@pytest.mark.parametrize("status", [400, 503, 301])
def test_a_collector_that_refuses_is_left_alone_for_a_while(
    status: int, function: Function, collector: Collector, log_lines: LogLines
) -> None:
    collector.status = status
    function.deploy("#!/bin/sh\n")
    for _ in range(3):
        function.invoke({"n": 1})
    assert len(collector.requests) == 1
    (warning,) = (line for line in log_lines() if line["message"] == "trace not exported")
    assert warning["reason"] == f"the collector answered with status {status}"


@pytest.mark.parametrize("answers", ["nothing", "a byte at a time"])
def test_a_collector_that_hangs_delays_one_run_by_the_timeout(
    answers: str, function: Function, log_lines: LogLines, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(otlp._here, "silent_until", 0.0)
    function.deploy("#!/bin/sh\n")
    with socket.create_server(("127.0.0.1", 0)) as server:

        def trickle() -> None:
            connection, _ = server.accept()
            with connection, suppress(OSError):
                while answers != "nothing":
                    connection.sendall(b"H")
                    time.sleep(0.05)
                while connection.recv(4096):
                    pass

        threading.Thread(target=trickle, daemon=True).start()
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{server.getsockname()[1]}")
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "300")
        for _ in range(3):
            assert function.invoke({"n": 1})["results"][0]["status"] == "done"
    lines = log_lines()
    (warning,) = (line for line in lines if line["message"] == "trace not exported")
    assert warning["reason"] == "the collector did not answer in time"
    (summary, *_) = (line for line in lines if line["message"] == "summary")
    assert moment(warning) - moment(summary) < 3


def test_nothing_is_sent_when_the_time_of_the_function_is_up(
    collector: Collector, log_lines: LogLines
) -> None:
    run = otlp.RunSpans(Trace("a" * 32), "f", "r", "", False, {}, time.monotonic(), ())
    environ = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.endpoint}
    otlp.export(run, environ, Log(), until=time.monotonic())
    assert collector.requests == []
    otlp.export(run, environ, Log(), until=time.monotonic() + 60)
    assert len(collector.requests) == 1
    assert log_lines() == []


def moment(line: dict[str, Any]) -> float:
    hours, minutes, seconds = line["time"].partition("T")[2].rstrip("Z").split(":")
    return float(hours) * 3600 + float(minutes) * 60 + float(seconds)


@pytest.mark.parametrize(
    ("variables", "reason"),
    [
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://user:secret@127.0.0.1:1"}, "ConnectionRefusedError"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "ftp://secret"}, "InvalidURL"),
        ({"OTEL_EXPORTER_OTLP_HEADERS": "a=b%0asecret"}, "ValueError"),
    ],
)
def test_a_mistake_in_the_settings_fails_no_run_and_shows_no_secret(  # noqa: PLR0917 - fixtures
    variables: dict[str, str],
    reason: str,
    function: Function,
    collector: Collector,
    log_lines: LogLines,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    function.deploy("#!/bin/sh\n")
    assert function.invoke({"n": 1})["results"][0]["status"] == "done"
    (warning,) = (line for line in log_lines() if line["message"] == "trace not exported")
    assert reason in warning["reason"]
    assert "secret" not in warning["reason"]
    assert collector.requests == []


@pytest.mark.parametrize(("name", "value"), [("OTEL_SDK_DISABLED", "true"), ("OTEL_TRACES_EXPORTER", "none")])
def test_it_can_be_turned_off(
    name: str, value: str, function: Function, collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    function.deploy("#!/bin/sh\n")
    function.invoke({"n": 1})
    assert collector.requests == []


def test_without_an_endpoint_nothing_of_it_is_loaded() -> None:
    program = "import sys, runtime.handler, runtime.batch_job; print('runtime.otlp' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "False"
