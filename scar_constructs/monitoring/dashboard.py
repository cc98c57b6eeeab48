"""The body of the dashboard of a workflow.

https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/CloudWatch-Dashboard-Body-Structure.html
describes it. AWS allows 500 widgets, 500 metrics in a widget, and 2,500 metrics in a dashboard
(https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/cloudwatch_limits.html). Each stack has a
dashboard of its functions. It has less than 100 functions, because it has 500 resources at most, and a
function has less than 25 metrics, so that no limit is reached.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass

from scar_constructs.monitoring.measured import Measured, Metric, of_queue

Json = dict[str, object]

_WIDTH = 24
"""Of a dashboard."""
_ALARMS_OF_A_WIDGET = 100
_PERIOD_S = 300
_COST_PERIOD_S = 3_600

_STAGES = (("stage_in_ms", "download"), ("run_ms", "script"), ("stage_out_ms", "upload"))


@dataclass(frozen=True, slots=True)
class _Widget:
    """A part of the dashboard, which has 24 columns."""

    type: str
    width: int
    height: int
    properties: Json


@dataclass(frozen=True, slots=True)
class _Line:
    """A line of a graph: a metric, or an expression of metrics."""

    label: str
    metric: Metric | None = None
    expression: str = ""
    of: tuple[Metric, ...] = ()
    """The metrics in the expression: m0, m1, …"""


def body(
    title: str,
    functions: Sequence[Measured],
    *,
    region: str,
    priced_region: str,
    alarms: Sequence[str] = (),
) -> Json:
    """The body of a dashboard.

    :param title: in Markdown.
    :param region: may be a token of the CDK.
    :param priced_region: whose prices `functions` contain.
    :param alarms: ARNs of alarms whose state is shown.
    """
    rows: list[Sequence[_Widget]] = [[_text(title)]]
    if alarms:
        rows.append([_states(alarms[:_ALARMS_OF_A_WIDGET])])
    graphs = [_graph(name, lines, region=region) for name, lines in _lines(functions).items() if lines]
    cost = _graph(
        f"Cost of Lambda and Fargate per hour, in USD, estimated with the prices of {priced_region}",
        [_cost(function) for function in functions],
        region=region,
        period_s=_COST_PERIOD_S,
        stacked=True,
    )
    rows += _pairs([*graphs, cost, *(_stages(function, region) for function in functions)])
    return {"widgets": _placed(rows), "periodOverride": "inherit"}


def _lines(functions: Sequence[Measured]) -> Mapping[str, Sequence[_Line]]:
    """The lines of each graph, by its title."""

    def of_each(metric_of: Callable[[Measured], Metric]) -> Sequence[_Line]:
        return [_Line(function.name, metric_of(function)) for function in functions]

    return {
        "Runs in Lambda and Batch": of_each(lambda one: one.in_runner("total_ms", "SampleCount")),
        "Failed runs": of_each(lambda one: one.in_runner("total_ms", "SampleCount", status="failed")),
        "Events in failure queues": of_each(lambda one: one.failed_events),
        "Failed invocations of Lambda": of_each(lambda one: one.in_lambda("Errors")),
        "Age of the oldest event, in seconds": [
            _Line(one.name, expression=f"m0 * {unit:g}", of=(metric,))
            for one in functions
            for metric, unit in one.ages
        ],
        "Events in input queues": [
            _Line(one.name, of_queue(queue, "ApproximateNumberOfMessagesVisible"))
            for one in functions
            for queue in one.queues
        ],
        "Throttled invocations": of_each(lambda one: one.in_lambda("Throttles")),
        "Concurrent invocations": of_each(lambda one: one.in_lambda("ConcurrentExecutions", "Maximum")),
        "Duration of a run, 90th percentile, in milliseconds": of_each(
            lambda one: one.in_runner("total_ms", "p90")
        ),
        "Wait before a run, 90th percentile, in milliseconds": of_each(
            lambda one: one.in_runner("queued_ms", "p90")
        ),
        "Memory of the script, maximum, in bytes": of_each(
            lambda one: one.in_runner("memory_bytes", "Maximum")
        ),
    }


def _cost(one: Measured) -> _Line:
    duration, invocations = one.in_lambda("Duration"), one.in_lambda("Invocations")
    in_lambda = f"FILL(m0, 0) * {one.usd_per_ms:.4g} + FILL(m1, 0) * {one.usd_per_invocation:.4g}"
    if one.usd_per_ms_of_jobs is None:
        return _Line(one.name, expression=in_lambda, of=(duration, invocations))
    runs = one.in_runner("total_ms", "Sum")
    # If a function also runs in Lambda, the time beyond that of Lambda is that of jobs.
    of_jobs = "IF(FILL(m2, 0) > FILL(m0, 0), m2 - FILL(m0, 0), 0)" if one.runs_in_lambda else "FILL(m2, 0)"
    expression = f"{in_lambda} + {of_jobs} * {one.usd_per_ms_of_jobs:.4g}"
    return _Line(one.name, expression=expression, of=(duration, invocations, runs))


def _stages(one: Measured, region: str) -> _Widget:
    return _graph(
        f"{one.name}: stages of a run, average, in milliseconds",
        [_Line(label, one.in_runner(name, "Average")) for name, label in _STAGES],
        region=region,
        stacked=True,
    )


def _graph(
    title: str, lines: Iterable[_Line], *, region: str, period_s: int = _PERIOD_S, stacked: bool = False
) -> _Widget:
    metrics: list[list[object]] = []
    for number, line in enumerate(lines):
        if line.metric is not None:
            metrics.append([*_flat(line.metric), {"label": line.label, "stat": line.metric.statistic}])
            continue
        expression = re.sub(r"\bm(\d)\b", rf"m{number}x\1", line.expression)
        metrics.append([{"expression": expression, "label": line.label, "id": f"e{number}"}])
        metrics += [
            [*_flat(metric), {"id": f"m{number}x{index}", "stat": metric.statistic, "visible": False}]
            for index, metric in enumerate(line.of)
        ]
    properties = {
        "title": title,
        "view": "timeSeries",
        "stacked": stacked,
        "region": region,
        "period": period_s,
        "metrics": metrics,
        "yAxis": {"left": {"min": 0, "showUnits": False}},
    }
    return _Widget("metric", _WIDTH // 2, 6, properties)


def _flat(metric: Metric) -> list[object]:
    return [metric.namespace, metric.name, *(text for dimension in metric.dimensions for text in dimension)]


def _text(markdown: str) -> _Widget:
    return _Widget("text", _WIDTH, 2, {"markdown": markdown})


def _states(alarms: Sequence[str]) -> _Widget:
    return _Widget("alarm", _WIDTH, 3, {"title": "Alarms", "alarms": list(alarms)})


def _pairs(widgets: Sequence[_Widget]) -> list[Sequence[_Widget]]:
    return [widgets[start : start + 2] for start in range(0, len(widgets), 2)]


def _placed(rows: Iterable[Sequence[_Widget]]) -> list[Json]:
    placed = []
    y = 0
    for row in rows:
        for index, widget in enumerate(row):
            x = index * _WIDTH // 2
            placed.append({"x": x, "y": y, **asdict(widget)})
        y += row[0].height
    return placed
