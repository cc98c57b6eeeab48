"""Dashboards and alarms of many functions, and the costs that a dashboard shows. No CDK is loaded here;
`test_everything` has the template.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from fdl_schemas.model import BatchJob, ComputeResources, Container, ExecutionMode, Function
from local_cloud.metrics.expressions import Evaluation
from scar_constructs.monitoring import alarms
from scar_constructs.monitoring.compute_prices import prices_for, usd_per_ms, usd_per_ms_of_jobs
from scar_constructs.monitoring.dashboard import body
from scar_constructs.monitoring.measured import Measured
from scar_constructs.parts import MOST_RESOURCES

SMALLEST = 5
"""Resources of a function without inputs, in pulled mode."""


def measured(name: str, **more: Any) -> Measured:
    return Measured(name=name, failure_queue=f"{name}-failures", **more)


def widgets(functions: list[Measured]) -> list[dict[str, Any]]:
    content: Any = body("# w", functions, region="us-east-1", priced_region="us-east-1", alarms=["a"] * 150)
    found: list[dict[str, Any]] = content["widgets"]
    return found


def test_a_full_stack_is_within_the_limits_of_a_dashboard() -> None:
    functions = [
        measured(f"f{index}", queues=("q",), has_events=True, usd_per_ms_of_jobs=1e-8)
        for index in range(MOST_RESOURCES // SMALLEST)
    ]
    found = widgets(functions)
    assert len(found) <= 500
    counts = [
        sum(not isinstance(line[0], dict) for line in widget["properties"].get("metrics", ()))
        for widget in found
    ]
    assert max(counts) <= 500
    assert sum(counts) <= 2500
    (states,) = (widget["properties"]["alarms"] for widget in found if widget["type"] == "alarm")
    assert len(states) == 100


def test_functions_without_events_have_no_graphs_of_waiting_events() -> None:
    titles = {widget["properties"].get("title") for widget in widgets([measured("f")])}
    assert "Events in failure queues" in titles
    assert not titles & {"Age of the oldest event, in seconds", "Events in input queues"}


def test_shared_alarms_have_ten_metrics_at_most() -> None:
    functions = [
        *(measured(f"queue{index}", queues=("a", "b"), has_events=True) for index in range(7)),
        *(measured(f"called{index}") for index in range(5)),
    ]
    found = list(alarms.shared(functions))
    counts = {alarm.identity: len(alarm.metrics) for alarm in found}
    assert counts == {
        **{"WaitingAlarm1": 10, "WaitingAlarm2": 10, "WaitingAlarm3": 1},
        **{"ThrottlesAlarm1": 10, "ThrottlesAlarm2": 2},
        **{"ErrorsAlarm1": 10, "ErrorsAlarm2": 10, "ErrorsAlarm3": 4},
    }
    assert found[2].description.startswith("An event has been waiting for an hour. Function: queue6. ")
    assert "One of these functions: called3, called4." in found[4].description
    longest = [measured("f" * 62 + f"{index:02}", queues=("q",)) for index in range(10)]
    assert all(len(alarm.description) <= 1024 for alarm in alarms.shared(longest))


X86 = Function(name="f", container=Container(image="alpine"), memory_mib=1024)
ARM = Function(name="f", container=Container(image="alpine"), memory_mib=512, architecture="arm64")
ON_FARGATE = Function(
    name="f",
    container=Container(image="alpine"),
    memory_mib=512,
    execution_mode=ExecutionMode.BATCH,
    batch=BatchJob(vcpus=1, memory_mib=2048),
)
ON_EC2 = Function(
    name="f",
    container=Container(image="alpine"),
    execution_mode=ExecutionMode.BATCH,
    batch=BatchJob(compute_resources=ComputeResources(type="EC2")),
)
HOUR_MS = 3_600_000.0
IN_LAMBDA_USD, ON_FARGATE_USD = 3600 * 0.5 * 0.0000166667, 0.04048 + 2 * 0.004445


@pytest.mark.parametrize(
    ("function", "runs_in_lambda", "values", "usd"),
    [
        (X86, True, {"Duration": HOUR_MS, "Invocations": 1_000_000}, 3600 * 0.0000166667 + 0.20),
        (ARM, True, {"Duration": HOUR_MS}, 3600 * 0.5 * 0.0000133334),
        (X86, True, {}, 0),
        (ON_FARGATE, False, {"total_ms": HOUR_MS}, ON_FARGATE_USD),
        (
            ON_FARGATE,
            True,
            {"Duration": HOUR_MS, "total_ms": 3 * HOUR_MS},
            IN_LAMBDA_USD + 2 * ON_FARGATE_USD,
        ),
        (ON_FARGATE, True, {"Duration": HOUR_MS, "total_ms": HOUR_MS - 1}, IN_LAMBDA_USD),
        (ON_EC2, False, {"Invocations": 1_000_000, "total_ms": HOUR_MS}, 0.20),
    ],
)
def test_cost_of_an_hour(
    function: Function, runs_in_lambda: bool, values: dict[str, float], usd: float
) -> None:
    prices = prices_for([function], "us-east-1")
    one = measured(
        "f",
        usd_per_invocation=prices.usd("lambda_request"),
        usd_per_ms=usd_per_ms(function, prices),
        usd_per_ms_of_jobs=usd_per_ms_of_jobs(function, prices),
        runs_in_lambda=runs_in_lambda,
    )
    (graph,) = (
        widget["properties"]
        for widget in widgets([one])
        if str(widget["properties"].get("title")).startswith("Cost")
    )
    assert graph["period"] == 3600
    expression, *metrics = graph["metrics"]
    series = {line[-1]["id"]: {0: values[line[1]]} if line[1] in values else {} for line in metrics}
    found = Evaluation(series, (0,)).value_of(expression[0]["expression"])
    assert found == {0: pytest.approx(usd, rel=0.001)}


def test_lines_of_a_graph_have_metrics_of_their_own() -> None:
    found = widgets([measured("f", usd_per_ms=1.0), measured("g", usd_per_ms=1.0)])
    (graph,) = (one["properties"] for one in found if one["properties"].get("title", "").startswith("Cost"))
    series = {line[-1]["id"]: {0: float("g" in line)} for line in graph["metrics"] if "id" in line[-1]}
    costs = {
        line[0]["label"]: Evaluation(series, (0,)).value_of(line[0]["expression"])
        for line in graph["metrics"]
        if "expression" in line[0]
    }
    assert costs == {"f": {0: 0.0}, "g": {0: 1.0}}


def test_prices_are_those_of_the_region_if_all_are_known() -> None:
    assert prices_for([X86], "eu-west-1").region == "eu-west-1"
    assert prices_for([X86], None).region == prices_for([X86], "mars-north-1").region == "us-east-1"
    # Jobs on arm64 have no price in this region.
    assert prices_for([X86], "us-east-2").region == "us-east-2"
    assert prices_for([X86, replace(ON_FARGATE, architecture="arm64")], "us-east-2").region == "us-east-1"
