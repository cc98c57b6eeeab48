"""GetMetricData, with metric math."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from ministack.services import cloudwatch

from local_cloud.metrics.expressions import Evaluation, ExpressionError, Series
from local_cloud.patches import Original, replaces

Query = Mapping[str, Any]


def install() -> None:
    """Answer queries that have expressions."""

    @replaces(cloudwatch, "_get_metric_data")
    def get_metric_data(
        original: Original, params: Any, request: dict[str, Any], is_cbor: bool, is_json: bool = False
    ) -> Any:
        queries = request.get("MetricDataQueries") or []
        if not any(query.get("Expression") for query in queries):
            return original(params, request, is_cbor, is_json)
        start, end = (cloudwatch._parse_ts(request.get(key)) for key in ("StartTime", "EndTime"))
        results = [_result(query, queries, start, end) for query in queries if query.get("ReturnData", True)]
        if is_cbor:
            answers = [cloudwatch._cbor_metric_data_result(result) for result in results]
            return cloudwatch._cbor_ok({"MetricDataResults": answers})
        return cloudwatch._json_ok({"MetricDataResults": results})


def _result(query: Query, queries: Sequence[Query], start: float, end: float) -> dict[str, Any]:
    about = {"Id": query["Id"], "Label": query.get("Label", query["Id"])}
    try:
        found = values(query, queries, start, end)
    except ExpressionError as error:
        message = {"Code": "ValidationError", "Value": str(error)}
        return {**about, "StatusCode": "InternalError", "Messages": [message], "Timestamps": [], "Values": []}
    times = sorted(found)
    return {
        **about,
        "StatusCode": "Complete",
        "Timestamps": [cloudwatch._ts_iso(at) for at in times],
        "Values": [found[at] for at in times],
    }


def values(query: Query, queries: Sequence[Query], start: float, end: float) -> Series:
    """The values of a query of GetMetricData, or of an alarm.

    :param queries: all queries, to which an expression refers by their ids.
    :raises ExpressionError: an expression is invalid or not supported.
    """
    if not query.get("Expression"):
        return _of_metric(query["MetricStat"], start, end)
    others = [other for other in queries if other["Id"] != query["Id"]]
    period = period_of(query, queries)
    first = int(start // period) * period
    series = {other["Id"]: values(other, others, start, end) for other in others}
    return Evaluation(series, range(first, int(end), period)).value_of(query["Expression"])


def period_of(query: Query, queries: Sequence[Query]) -> int:
    """The period of a query, in seconds: that of the metrics, if it is an expression without one."""
    periods = [one["MetricStat"]["Period"] for one in (query, *queries) if one.get("MetricStat")]
    return int(query.get("Period") or max(map(int, periods), default=60))


def _of_metric(wanted: Mapping[str, Any], start: float, end: float) -> Series:
    metric, period, statistic = wanted["Metric"], int(wanted["Period"]), wanted["Stat"]
    dimensions = cloudwatch._dims_key(cloudwatch._dims_from_list(metric.get("Dimensions") or []))
    points = cloudwatch._metrics.get((metric["Namespace"], metric["MetricName"], dimensions)) or []
    by_time: dict[int, list[Any]] = defaultdict(list)
    for point in list(points):
        at = int(point["Timestamp"] // period) * period
        if start // period * period <= at < end:
            by_time[at].append(point)
    found = {
        at: cloudwatch._stat_value(cloudwatch._calc_stats(few), statistic, few) for at, few in by_time.items()
    }
    return {at: float(value) for at, value in found.items() if value is not None}
