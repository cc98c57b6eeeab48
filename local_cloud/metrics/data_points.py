"""The data points of metrics, one for each minute, as CloudWatch keeps them.

ministack keeps every value that it receives, copies all of them for each snapshot, and looks at all of them
for each request. A workflow of a million files has 20 million values. Here, a minute of a metric is its
number of values, their sum, minimum and maximum, and how many there are of each size, for percentiles. Sizes
are rounded to 1%. Metrics are not part of snapshots.
"""

from __future__ import annotations

import copy
import math
import threading
import time
from collections.abc import Mapping
from typing import Any, Final

from ministack.services import cloudwatch

from local_cloud.patches import Original, replaces

_MINUTE_S: Final = 60
_EVICT_EVERY_S: Final = 600.0
_RECENT: Final = 5
"""Data points at the end of a metric in which a value may belong: those of the last minutes."""
_STEP: Final = math.log(1.01)
_SAVED: Final = (
    "alarms",
    "composite_alarms",
    "composite_triggers",
    "alarm_history",
    "dashboards",
    "resource_tags",
)

Point = dict[str, Any]
_lock = threading.Lock()


def install() -> None:
    """Take the place of ministack's lists of values."""
    cloudwatch.record_metric = record
    cloudwatch._store_datum = _store_datum
    cloudwatch.get_state = _state_without_metrics
    next_eviction = time.monotonic()

    @replaces(cloudwatch, "_percentile_samples")
    def samples(original: Original, points: list[Point]) -> Any:
        if not all("Sizes" in point for point in points):
            return original(points)
        return [(_of_size(int(size)), count) for point in points for size, count in point["Sizes"].items()]

    @replaces(cloudwatch, "_evict_old_metrics")
    def evict(original: Original) -> None:
        nonlocal next_eviction
        if time.monotonic() < next_eviction:
            return
        next_eviction = time.monotonic() + _EVICT_EVERY_S
        with _lock:
            original()


def _state_without_metrics() -> dict[str, Any]:
    return {name: copy.deepcopy(getattr(cloudwatch, f"_{name}")) for name in _SAVED}


def record(  # noqa: PLR0917 (as ministack's services call it)
    namespace: str,
    name: str,
    value: float,
    unit: str = "None",
    dimensions: Mapping[str, str] | None = None,
    at: float | None = None,
    count: float = 1.0,
) -> None:
    """Add a value to a metric of the current account and region.

    `at` is its time, in seconds since 1970; `count` says how often it occurred.
    """
    with _lock:
        point = _point(namespace, name, unit, dimensions or {}, time.time() if at is None else at)
        total = point["_stat"]
        total["SampleCount"] += count
        total["Sum"] += value * count
        total["Minimum"] = min(total["Minimum"], value)
        total["Maximum"] = max(total["Maximum"], value)
        size = str(_size(value))
        point["Sizes"][size] = point["Sizes"].get(size, 0.0) + count


def record_level(namespace: str, name: str, value: float, unit: str, dimensions: Mapping[str, str]) -> None:
    """Set the value of the current minute, unless it was higher before in this minute."""
    with _lock:
        point = _point(namespace, name, unit, dimensions, time.time())
        highest = max(value, point["_stat"]["Maximum"])
        point["_stat"] = dict.fromkeys(("Sum", "Minimum", "Maximum"), highest) | {"SampleCount": 1.0}
        point["Sizes"] = {str(_size(highest)): 1.0}


def _point(namespace: str, name: str, unit: str, dimensions: Mapping[str, str], at: float) -> Point:
    """The data point of a minute. The lock is held."""
    minute = int(at // _MINUTE_S) * _MINUTE_S
    points = cloudwatch._metric_bucket((namespace, name, cloudwatch._dims_key(dict(dimensions))))
    for point in reversed(points[-_RECENT:]):
        if point["Timestamp"] == minute and "Sizes" in point:
            found: Point = point
            return found
    made = {
        "Timestamp": minute,
        "Unit": unit,
        "Dimensions": dict(dimensions),
        "_stat": {"SampleCount": 0.0, "Sum": 0.0, "Minimum": math.inf, "Maximum": -math.inf},
        "Sizes": {},
    }
    points.append(made)
    return made


def _store_datum(namespace: str, name: str, dimensions: dict[str, str], at: float, *about: Any) -> None:
    """A datum of PutMetricData: one value, several, or a statistic set."""
    unit, value, values, counts, statistics = about
    if values is not None:
        for one, count in zip(values, counts or [1.0] * len(values), strict=True):
            record(namespace, name, float(one), unit, dimensions, at, float(count))
    elif statistics is not None:
        with _lock:
            bucket = cloudwatch._metric_bucket((namespace, name, cloudwatch._dims_key(dimensions)))
            bucket.append({"Timestamp": at, "Unit": unit, "Dimensions": dimensions, "_stat": statistics})
    else:
        record(namespace, name, float(value or 0), unit, dimensions, at)


def _size(value: float) -> int:
    """The number of the range that a value is in: 0 for nothing, and one for each percent."""
    if value == 0:
        return 0
    steps = round(math.log(abs(value) * 1e9) / _STEP)
    return int(math.copysign(max(1, steps), value))


def _of_size(size: int) -> float:
    return 0.0 if size == 0 else math.copysign(math.exp(abs(size) * _STEP) / 1e9, size)
