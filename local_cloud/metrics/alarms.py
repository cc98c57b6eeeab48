"""Alarms: evaluated every few seconds, for their own dimensions and periods, and with metric math.

ministack evaluates an alarm when someone calls PutMetricData, mixes the metrics of all dimensions, and
rejects templates with metric math.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from ministack.core.responses import get_account_id, request_scope
from ministack.services import cloudwatch, sns
from ministack.services.cloudformation import provisioners

from local_cloud.metrics import queries
from local_cloud.metrics.expressions import ExpressionError, Series
from local_cloud.patches import Original, replaces

_EVERY_S: Final = 5.0
_BREACHES: Final[Mapping[str, Callable[[float, float], bool]]] = {
    "GreaterThanOrEqualToThreshold": lambda value, threshold: value >= threshold,
    "GreaterThanThreshold": lambda value, threshold: value > threshold,
    "LessThanThreshold": lambda value, threshold: value < threshold,
    "LessThanOrEqualToThreshold": lambda value, threshold: value <= threshold,
}
_OF_A_METRIC: Final = ("MetricName", "Namespace", "Dimensions", "Statistic", "ExtendedStatistic", "Period")
_log = logging.getLogger("alarms")

Alarm = dict[str, Any]


def install(sample: Callable[[], None]) -> None:
    """Evaluate alarms. `sample` is called before each time."""

    @replaces(cloudwatch, "_evaluate_alarm")
    def evaluate_now(_evaluate: Original, alarm: Alarm) -> None:
        evaluate(alarm, time.time())

    @replaces(cloudwatch, "_dispatch_alarm_actions")
    def notify(dispatch: Original, alarm: Alarm, *more: Any) -> None:
        account = get_account_id()
        allowed = {
            key: [
                topic
                for topic in alarm.get(key) or []
                if sns.topic_policy_allows(topic, "cloudwatch.amazonaws.com", alarm["AlarmArn"], account)
            ]
            for key in ("AlarmActions", "OKActions", "InsufficientDataActions")
        }
        if any(len(allowed[key]) < len(alarm.get(key) or []) for key in allowed):
            _log.warning("alarm %s: the policy of a topic denies its notifications", alarm["AlarmName"])
        dispatch({**alarm, **allowed}, *more)

    @replaces(cloudwatch, "_put_metric_alarm")
    def put_alarm(put: Original, params: Any, request: dict[str, Any], *more: Any) -> Any:
        answer = put(params, request, *more)
        alarm = cloudwatch._alarms.get(request.get("AlarmName"))
        if request.get("Metrics") and alarm is not None:
            evaluate(_with_math(alarm, request["Metrics"]), time.time())
        return answer

    @replaces(provisioners, "_cw_metric_alarm_record")
    def record(of_template: Original, name: str, props: dict[str, Any]) -> Alarm:
        metrics = props.get("Metrics")
        if not metrics:
            made: Alarm = of_template(name, props)
            return made
        others = {key: value for key, value in props.items() if key != "Metrics"}
        return _with_math(of_template(name, {**others, "MetricName": "-", "Namespace": "-"}), metrics)

    threading.Thread(target=_evaluate_all, args=(sample,), daemon=True, name="alarms").start()


def _with_math(alarm: Alarm, metrics: Sequence[Mapping[str, Any]]) -> Alarm:
    for key in _OF_A_METRIC:
        alarm.pop(key, None)
    alarm["Metrics"] = [{**query, "ReturnData": _flag(query.get("ReturnData", True))} for query in metrics]
    return alarm


def _flag(value: object) -> bool:
    return str(value).lower() == "true"


def _evaluate_all(sample: Callable[[], None]) -> None:
    while True:
        time.sleep(_EVERY_S)
        try:
            sample()
            for (account, region, _name), alarm in list(cloudwatch._alarms._data.items()):
                with request_scope(account, region):
                    evaluate(alarm, time.time())
        except Exception:
            _log.exception("alarms cannot be evaluated")


def evaluate(alarm: Alarm, now: float) -> None:
    """Determine the state of an alarm. If it changes, the alarm's topics are notified."""
    periods = int(alarm.get("EvaluationPeriods") or 1)
    metrics = alarm.get("Metrics") or [_query(alarm)]
    (result,) = (query for query in metrics if query.get("ReturnData", True))
    period = queries.period_of(result, metrics)
    last = int(now // period) * period
    times = [last - index * period for index in reversed(range(periods))]
    try:
        found = queries.values(result, metrics, times[0], last + period)
    except ExpressionError as error:
        _log.warning("alarm %s: %s", alarm["AlarmName"], error)
        return
    state = _state(alarm, [found.get(at) for at in times])
    if state is None or state == alarm["StateValue"]:
        return
    before, alarm["StateValue"] = alarm["StateValue"], state
    alarm["StateReason"] = _reason(alarm, found, times)
    alarm["StateUpdatedTimestamp"] = int(now)
    about = (alarm["AlarmName"], before, state, alarm["StateReason"])
    cloudwatch._record_history(*about)
    cloudwatch._dispatch_alarm_actions(alarm, *about[1:])
    cloudwatch._evaluate_parent_alarms(alarm)


def _query(alarm: Alarm) -> dict[str, Any]:
    metric = {key: alarm.get(key) for key in ("Namespace", "MetricName", "Dimensions")}
    statistic = alarm.get("ExtendedStatistic") or alarm.get("Statistic") or "Average"
    return {
        "Id": "m",
        "MetricStat": {"Metric": metric, "Period": alarm.get("Period") or 60, "Stat": statistic},
    }


def _state(alarm: Alarm, values: Sequence[float | None]) -> str | None:
    """The state by the values of the periods, some of which may be missing. None: it does not change.

    https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/alarms-and-missing-data.html
    """
    threshold, breaches = float(alarm["Threshold"]), _BREACHES[alarm["ComparisonOperator"]]
    treat = alarm.get("TreatMissingData") or "missing"
    present = [breaches(value, threshold) for value in values if value is not None]
    missing = len(values) - len(present)
    if not present and treat in ("missing", "ignore"):
        return "INSUFFICIENT_DATA" if treat == "missing" else None
    breaching = sum(present) + (missing if treat == "breaching" else 0)
    wanted = int(alarm.get("DatapointsToAlarm") or len(values))
    if treat in ("missing", "ignore"):
        wanted = min(wanted, len(present))
    return "ALARM" if breaching >= wanted else "OK"


def _reason(alarm: Alarm, found: Series, times: Sequence[int]) -> str:
    present = [f"{found[at]:g} ({cloudwatch._ts_iso(at)})" for at in times if at in found]
    compared = f"{alarm['ComparisonOperator']} {float(alarm['Threshold']):g}"
    if not present:
        return f"Threshold Crossed: no data points were received for {len(times)} periods ({compared})."
    return f"Threshold Crossed: the data points are {', '.join(present)} ({compared})."
