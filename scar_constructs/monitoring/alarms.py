"""The alarms of a workflow.

AWS charges 0.10 USD a month for each metric of each alarm, whether an alarm has one metric or ten
(https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/cloudwatch_billing.html). Functions share
alarms for other reasons: a stack has 500 resources at most, and what slows down one function, such as the
concurrency limit of the account, slows down others, too, and should be one notification. Failed events are
never shared: an alarm that is already in the state ALARM notifies nobody of the failures of another function.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from scar_constructs.monitoring.measured import Measured, Metric

MOST_METRICS = 10
"""Of an alarm (https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/alarm-limits.html)."""

WAITING_S = 3_600
THROTTLED_PERIODS = 3
ERRORS_PERCENT = 10
ERRORS_OF_AT_LEAST = 10
"""Invocations in the period: a single broken file with all its retries is no error rate. Its event is soon in
the failure queue, which has an alarm of its own."""

_Item = TypeVar("_Item")


@dataclass(frozen=True, slots=True)
class Alarm:
    """An alarm: `metrics` are called m0, m1, … in `expression`. Missing data never breaches."""

    identity: str
    """Unique in its stack."""
    description: str
    metrics: tuple[Metric, ...]
    threshold: float
    """Breached by this value, and by any larger one."""
    period_s: int
    expression: str | None = None
    """None: the value of the only metric."""
    periods: int = 1
    """In a row that must breach the threshold."""


def failures(function: Measured) -> Alarm:
    """Something is in the failure queue of a function."""
    return Alarm(
        identity="FailuresAlarm",
        description=f"Events of function {function.name} have failed. Show the reasons: scar status -n "
        f"{function.name}. Send the events again: scar retry -n {function.name}.",
        metrics=(function.failed_events,),
        threshold=1,
        period_s=60,
    )


def shared(functions: Sequence[Measured]) -> Iterator[Alarm]:
    """The alarms that the functions of a stack share."""
    ages = [(function, *age) for function in functions for age in function.ages]
    for number, waiting in enumerate(_groups(ages, MOST_METRICS), start=1):
        terms = [
            f"m{index}" if unit == 1 else f"m{index} * {unit}" for index, (*_, unit) in enumerate(waiting)
        ]
        yield Alarm(
            identity=f"WaitingAlarm{number}",
            description=f"An event has been waiting for an hour. {_of(one for one, *_ in waiting)} Show the "
            "queues: scar status. A larger max_concurrency or max_v_cpus, or a higher quota of concurrent "
            "executions, processes more at once.",
            metrics=tuple(metric for _, metric, _ in waiting),
            expression=f"MAX([{', '.join(terms)}])",
            threshold=WAITING_S,
            period_s=300,
        )
    for number, group in enumerate(_groups(functions, MOST_METRICS), start=1):
        yield Alarm(
            identity=f"ThrottlesAlarm{number}",
            description=f"Lambda has rejected invocations for {THROTTLED_PERIODS * 5} minutes. {_of(group)} "
            "Events are retried. Request a higher quota of concurrent executions, or use a queue with "
            "max_concurrency.",
            metrics=tuple(function.in_lambda("Throttles") for function in group),
            expression=f"SUM([{', '.join(f'm{index}' for index in range(len(group)))}])",
            threshold=1,
            period_s=300,
            periods=THROTTLED_PERIODS,
        )
    for number, group in enumerate(_groups(functions, MOST_METRICS // 2), start=1):
        rates = [
            f"IF(m{2 * index} >= {ERRORS_OF_AT_LEAST}, 100 * m{2 * index + 1} / m{2 * index}, 0)"
            for index in range(len(group))
        ]
        yield Alarm(
            identity=f"ErrorsAlarm{number}",
            description=f"{ERRORS_PERCENT}% of the invocations of a function have failed. {_of(group)} "
            "Show the reasons: scar status.",
            metrics=tuple(
                function.in_lambda(name) for function in group for name in ("Invocations", "Errors")
            ),
            expression=f"MAX([{', '.join(rates)}])",
            threshold=ERRORS_PERCENT,
            period_s=900,
        )


def _groups(items: Sequence[_Item], size: int) -> Iterator[Sequence[_Item]]:
    return (items[start : start + size] for start in range(0, len(items), size))


def _of(functions: Iterable[Measured]) -> str:
    names = list(dict.fromkeys(function.name for function in functions))
    return f"Function: {names[0]}." if len(names) == 1 else f"One of these functions: {', '.join(names)}."
