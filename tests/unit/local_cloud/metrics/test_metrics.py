"""Metrics of the embedded cloud: what is stored, what queries return, and when alarms change their state."""

from __future__ import annotations

from typing import Any

import pytest

from tests.emulator_programs import result_in_block

START = """
import os, json, sys
os.environ["GATEWAY_PORT"] = "4566"
from ministack.core.responses import request_scope
from ministack.services import cloudwatch, sns
from local_cloud.metrics import alarms, data_points, queries
data_points.install()
queries.install()
alarms.install(lambda: None)
NOW = 1_800_000_000  # a multiple of 900
F = {"FunctionName": "f"}
def put(name, value, at=NOW, dimensions=F, **options):
    data_points.record("AWS/Lambda", name, value, "Count", dimensions, at, **options)
def points(name, dimensions=F):
    return cloudwatch._metrics[("AWS/Lambda", name, cloudwatch._dims_key(dimensions))]
def ask(request):
    return json.loads(cloudwatch._get_metric_data({}, request, False, True)[2])["MetricDataResults"]
def metric(name, statistic="Sum", period=60, dimensions=F):
    return {
        "Metric": {
            "Namespace": "AWS/Lambda",
            "MetricName": name,
            "Dimensions": [{"Name": key, "Value": value} for key, value in dimensions.items()],
        },
        "Period": period,
        "Stat": statistic,
    }
with request_scope("000000000000", "us-east-1"):
"""


def in_emulator(statements: str) -> Any:
    return result_in_block(START, statements)


def test_a_minute_is_one_data_point_of_all_its_values() -> None:
    count, stat, percentiles = in_emulator("""
for value in range(1, 1001):
    put("Duration", value, NOW + value % 60)
put("Duration", 5, NOW + 60)
def of(name):
    return queries.values({"MetricStat": metric("Duration", name)}, [], NOW, NOW + 60)[NOW]
result = [len(points("Duration")), of("Sum"), [of(name) for name in ("p50", "p90", "Maximum", "SampleCount")]]
""")
    assert (count, stat) == (2, 500_500)
    assert percentiles == pytest.approx([500.5, 900.1, 1000, 1000], rel=0.011)


def test_values_of_put_metric_data_are_counted() -> None:
    found = in_emulator("""
data = {"MetricName": "Size", "Dimensions": [{"Name": "FunctionName", "Value": "f"}], "Timestamp": NOW}
cloudwatch._put_metric_data({}, {"Namespace": "AWS/Lambda", "MetricData": [
    {**data, "Value": 3},
    {**data, "Values": [1, 2], "Counts": [4, 1]},
    {**data, "StatisticValues": {"SampleCount": 2, "Sum": 10, "Minimum": 4, "Maximum": 6}},
]}, False, True)
names = ("SampleCount", "Sum", "Minimum", "Maximum")
values = [queries.values({"MetricStat": metric("Size", name)}, [], NOW, NOW + 60)[NOW] for name in names]
result = values
""")
    assert found == [8, 19, 1, 6]


def test_snapshots_contain_alarms_and_no_metrics() -> None:
    found = in_emulator("""
put("Errors", 1)
cloudwatch.cloudformation_put_dashboard("d", "{}")
result = {name: len(value._data) for name, value in cloudwatch.get_state().items() if len(value._data)}
""")
    assert found == {"dashboards": 1}


def test_a_level_is_the_highest_of_its_minute() -> None:
    found = in_emulator("""
for value in (3, 7, 5):
    data_points.record_level("AWS/Lambda", "Level", value, "Count", F)
(point,) = points("Level")
result = point["_stat"]
""")
    assert found == {"SampleCount": 1, "Sum": 7, "Minimum": 7, "Maximum": 7}


def test_queries_with_expressions_are_answered() -> None:
    rate, unsupported = in_emulator("""
for minute, (invocations, errors) in enumerate([(10, 1), (20, 4)]):
    put("Invocations", 1, NOW + 60 * minute, count=invocations)
    put("Errors", 1, NOW + 60 * minute, count=errors)
    put("Errors", 99, NOW + 60 * minute, {"FunctionName": "another"})
hidden = [
    {"Id": "m0", "MetricStat": metric("Invocations"), "ReturnData": False},
    {"Id": "m1", "MetricStat": metric("Errors"), "ReturnData": False},
]
span = {"StartTime": NOW, "EndTime": NOW + 300}
rates = [
    {"Id": "rate", "Expression": "100 * m1 / m0", "Label": "x"}, {"Id": "rate", "Expression": "RATE(m1)"}
]
result = [ask({"MetricDataQueries": [rate, *hidden], **span}) for rate in rates]
""")
    times = [1_800_000_000, 1_800_000_060]
    expected = {"Id": "rate", "Label": "x", "StatusCode": "Complete", "Timestamps": times, "Values": [10, 20]}
    assert rate == [expected]
    assert unsupported[0]["StatusCode"] == "InternalError"
    assert unsupported[0]["Messages"][0]["Value"] == "not supported: RATE with 1 arguments"


STATES: list[tuple[dict[str, Any], dict[int, float], str]] = [
    ({}, {0: 5}, "ALARM"),
    ({}, {0: 4}, "OK"),
    ({}, {1: 5}, "INSUFFICIENT_DATA"),
    ({"ComparisonOperator": "GreaterThanThreshold"}, {0: 5}, "OK"),
    ({"ComparisonOperator": "LessThanThreshold"}, {0: 4}, "ALARM"),
    ({"TreatMissingData": "notBreaching"}, {}, "OK"),
    ({"TreatMissingData": "breaching"}, {}, "ALARM"),
    ({"TreatMissingData": "ignore"}, {}, "INSUFFICIENT_DATA"),  # as it was
    ({"EvaluationPeriods": 3, "TreatMissingData": "notBreaching"}, {0: 9, 1: 9}, "OK"),
    ({"EvaluationPeriods": 3, "TreatMissingData": "notBreaching"}, {0: 9, 1: 9, 2: 9}, "ALARM"),
    ({"EvaluationPeriods": 3}, {0: 9, 1: 9}, "ALARM"),
    ({"EvaluationPeriods": 3, "DatapointsToAlarm": 2}, {0: 9, 1: 1, 2: 9}, "ALARM"),
    ({"EvaluationPeriods": 3, "DatapointsToAlarm": 2}, {0: 9, 1: 1, 2: 1}, "OK"),
    ({"Period": 300}, {4: 3, 3: 2}, "ALARM"),
]
"""Settings of an alarm, values of its metric by how many minutes ago they were, and its state."""


def test_states_of_alarms() -> None:
    alarm = {
        "AlarmName": "a",
        "Namespace": "AWS/Lambda",
        "MetricName": "Errors",
        "Dimensions": [{"Name": "FunctionName", "Value": "f"}],
        "Statistic": "Sum",
        "Period": 60,
        "EvaluationPeriods": 1,
        "Threshold": 5,
        "ComparisonOperator": "GreaterThanOrEqualToThreshold",
    }
    found = in_emulator(f"""
result = []
for settings, minutes, _state in {STATES!r}:
    cloudwatch.reset()
    put("Errors", 100, NOW + 240, {{"FunctionName": "another"}})
    for minute, value in minutes.items():
        put("Errors", value, NOW + 240 - 60 * minute)
    cloudwatch._put_metric_alarm({{}}, {alarm!r} | settings, False, True)
    cloudwatch._alarms["a"]["StateValue"] = "INSUFFICIENT_DATA"
    alarms.evaluate(cloudwatch._alarms["a"], NOW + 250)
    result.append(cloudwatch._alarms["a"]["StateValue"])
""")
    assert found == [state for *_, state in STATES]


def test_an_alarm_notifies_topics_whose_policy_allows_it() -> None:
    sent, history = in_emulator("""
from ministack.app import app
import ministack.app
ministack.app.AUTH = True
allow = {"Effect": "Allow", "Principal": {"Service": "cloudwatch.amazonaws.com"}, "Action": "sns:Publish",
         "Resource": "*", "Condition": {"StringEquals": {"aws:SourceAccount": "000000000000"}}}
topics = []
for name, statements in (("open", [allow]), ("closed", [])):
    arn = f"arn:aws:sns:us-east-1:000000000000:{name}"
    policy = json.dumps({"Version": "2012-10-17", "Statement": statements})
    sns._topics[arn] = {"arn": arn, "attributes": {"Policy": policy}, "subscriptions": []}
    topics.append(arn)
sent = []
sns._fanout = lambda topic, _id, message, subject: sent.append([topic, subject, json.loads(message)])
queries_of = [
    {"Id": "e", "Expression": "m0 * 2"}, {"Id": "m0", "MetricStat": metric("Errors"), "ReturnData": False}
]
cloudwatch._put_metric_alarm({}, {
    "AlarmName": "a", "Metrics": queries_of, "EvaluationPeriods": 1, "Threshold": 6, "AlarmActions": topics,
    "ComparisonOperator": "GreaterThanOrEqualToThreshold", "TreatMissingData": "notBreaching",
}, False, True)
put("Errors", 3)
for _ in range(2):
    alarms.evaluate(cloudwatch._alarms["a"], NOW + 1)
result = [sent, [entry["HistorySummary"] for entry in cloudwatch._history_entries()]]
""")
    ((topic, subject, message),) = sent
    assert topic.endswith(":open")
    assert subject == 'ALARM: "a" in us-east-1'
    assert message["NewStateReason"] == (
        "Threshold Crossed: the data points are 6 (2027-01-15T08:00:00Z) (GreaterThanOrEqualToThreshold 6)."
    )
    assert history[-2:] == ["Alarm updated from INSUFFICIENT_DATA to OK", "Alarm updated from OK to ALARM"]
