"""Metrics in log lines, as CloudWatch takes them."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from local_cloud.logs.embedded_metrics import FormatError, Metric, metrics_of
from runtime.summary import embedded_metrics
from tests.emulator_programs import result_of

FIELDS: dict[str, Any] = {"function": "f", "status": "done", "total_ms": 12.5, "input_bytes": 7}


def summary_line(**more: Any) -> str:
    """What the runner writes."""
    fields = {**FIELDS, **more}
    return json.dumps({"scar": 1, **fields, "_aws": embedded_metrics(fields)})


def test_a_summary_line_is_three_metrics() -> None:
    found = list(metrics_of(summary_line()))
    timestamp_ms = found[0].timestamp_ms
    assert abs(timestamp_ms / 1000 - time.time()) < 60
    assert found == [
        Metric("scar-cdk", "total_ms", {"function": "f"}, "Milliseconds", (12.5,), timestamp_ms),
        Metric("scar-cdk", "input_bytes", {"function": "f"}, "Bytes", (7.0,), timestamp_ms),
        Metric(
            "scar-cdk", "total_ms", {"function": "f", "status": "done"}, "Milliseconds", (12.5,), timestamp_ms
        ),
    ]


DIRECTIVE: dict[str, Any] = {"Namespace": "n", "Dimensions": [["d"]], "Metrics": [{"Name": "m"}]}


def line(directive: dict[str, Any] | None = None, timestamp: object = 1, **root: Any) -> str:
    metadata = {"Timestamp": timestamp, "CloudWatchMetrics": [{**DIRECTIVE, **(directive or {})}]}
    return json.dumps({"d": "x", "m": 1, **root, "_aws": metadata})


def test_a_metric_may_have_several_values_and_no_unit() -> None:
    assert list(metrics_of(line(m=[1, 2.5]))) == [Metric("n", "m", {"d": "x"}, "None", (1.0, 2.5), 1)]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (line(timestamp="now"), "Timestamp is not a number"),
        (line({"Namespace": ""}), "Namespace is not a string, or empty"),
        (line({"Dimensions": []}), "Dimensions is empty"),
        (line({"Dimensions": ["d"]}), "a dimension set is not a list"),
        (line({"Dimensions": [["d"] * 31]}), "a dimension set has more than 30 members"),
        (line({"Dimensions": [["other"]]}), "other is not a string, or empty"),
        (line(d=1), "d is not a string, or empty"),
        (line(d="x" * 1025), "d is longer than 1024 characters"),
        (line({"Metrics": [{"Name": "m"}] * 101}), "Metrics has more than 100 members"),
        (line({"Metrics": [{"Name": "other"}]}), "other is not a number"),
        (line({"Metrics": [{"Name": "m", "Unit": "ms"}]}), "'ms' is not a unit"),
        (line(m="1"), "m is not a number"),
        (line(m=True), "m is not a number"),
        (line(m=[1] * 101), "m has more than 100 members"),
        (json.dumps({"_aws": {"Timestamp": 1}}), "CloudWatchMetrics is not a list"),
    ],
)
def test_a_line_that_breaks_a_rule_is_no_metric(text: str, problem: str) -> None:
    with pytest.raises(FormatError, match=problem):
        list(metrics_of(text))


@pytest.mark.parametrize("text", ["", "x", '{"_aws": ', "[" * 10_000, '["_aws"]', '{"a": 1}', '{"_aws": 1}'])
def test_any_other_line_is_no_metric(text: str) -> None:
    assert list(metrics_of(text)) == []


_PROGRAM = """
import json, sys, time
from pathlib import Path
from ministack.core.responses import request_scope
from ministack.services import cloudwatch, cloudwatch_logs as logs
from local_cloud.logs.events import LogEvents
from local_cloud.state.store import Store

def samples(region):
    request = {"Namespace": "scar-cdk", "MetricName": "total_ms", "Dimensions": [
        {"Name": "function", "Value": "f"}, {"Name": "status", "Value": "done"}],
        "StartTime": time.time() - 600, "EndTime": time.time() + 600, "Period": 3600}
    with request_scope("000000000000", region):
        _status, _headers, body = cloudwatch._get_metric_statistics({}, request, False, True)
    return [(point["SampleCount"], point["Sum"]) for point in json.loads(body)["Datapoints"]]

text, folder = sys.argv[1:]
events = LogEvents(Store(Path(folder) / "state.db"))
events.install()
now_ms = int(time.time() * 1000)
with request_scope("000000000000", "eu-west-1"):
    logs._create_log_group({"logGroupName": "/aws/batch/f"})
    logs._create_log_stream({"logGroupName": "/aws/batch/f", "logStreamName": "s"})
    lines = [{"timestamp": now_ms, "message": message} for message in (text, "a line", text, text[1:])]
    logs._put_log_events({"logGroupName": "/aws/batch/f", "logStreamName": "s", "logEvents": lines})
    stream = logs._log_groups["/aws/batch/f"]["streams"]["s"]
    events.show(stream, [{"timestamp": now_ms, "ingestionTime": now_ms, "message": text}])
print(json.dumps([samples("eu-west-1"), samples("us-east-1")]))
"""


def test_lines_of_jobs_and_of_functions_become_metrics_of_their_region(tmp_path: Any) -> None:
    here, elsewhere = result_of(_PROGRAM, summary_line(), str(tmp_path))
    assert here == [[3.0, 37.5]]
    assert elsewhere == []
