"""Metrics in log lines: CloudWatch's embedded metric format.

https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html

As on AWS, a line that breaks a rule of the format is only a log line.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ministack.services import cloudwatch

_MAXIMUM_DIMENSIONS = 30
_MAXIMUM_METRICS = 100
_MAXIMUM_VALUES = 100
_LONGEST_NAME = 255
_LONGEST_TEXT = 1024
_UNITS = frozenset(
    unit + per
    for per in ("", "/Second")
    for unit in (
        *("Bytes", "Kilobytes", "Megabytes", "Gigabytes", "Terabytes"),
        *("Bits", "Kilobits", "Megabits", "Gigabits", "Terabits", "Count"),
    )
) | {"Seconds", "Microseconds", "Milliseconds", "Percent", "None"}
_log = logging.getLogger("metrics")


class FormatError(ValueError):
    """A line breaks a rule of the format."""


@dataclass(frozen=True, slots=True)
class Metric:
    """Values of one metric in one line."""

    namespace: str
    name: str
    dimensions: Mapping[str, str]
    unit: str
    values: tuple[float, ...]
    timestamp_ms: float


def record(events: Iterable[Mapping[str, Any]]) -> None:
    """Add the metrics in lines of the current account and region to CloudWatch."""
    for event in events:
        text = event["message"]
        if '"_aws"' not in text or not text.startswith("{"):
            continue
        try:
            found = list(metrics_of(text))
        except FormatError as error:
            _log.warning("a line in the embedded metric format is invalid: %s", error)
            continue
        for metric in found:
            for value in metric.values:
                cloudwatch._store_datum(
                    metric.namespace,
                    metric.name,
                    dict(metric.dimensions),
                    metric.timestamp_ms / 1000,
                    metric.unit,
                    value,
                    None,
                    None,
                    None,
                )


def metrics_of(text: str) -> Iterator[Metric]:
    """The metrics in a line; none if it is not in the format.

    Raises:
        FormatError: it breaks a rule of the format.
    """
    try:
        line = json.loads(text)
    except (ValueError, RecursionError):
        return
    if not isinstance(line, dict) or not isinstance(line.get("_aws"), dict):
        return
    about = line["_aws"]
    directives = _list(about.get("CloudWatchMetrics"), "CloudWatchMetrics", None)
    timestamp_ms = about.get("Timestamp")
    _require(type(timestamp_ms) in (int, float), "Timestamp is not a number")
    for directive in directives:
        _require(isinstance(directive, dict), "CloudWatchMetrics contains something else than objects")
        namespace = _text(directive.get("Namespace"), "Namespace", _LONGEST_NAME)
        sets = _list(directive.get("Dimensions"), "Dimensions", None)
        _require(bool(sets), "Dimensions is empty")
        metrics = _list(directive.get("Metrics"), "Metrics", _MAXIMUM_METRICS)
        for names in sets:
            dimensions = {
                _text(name, "a dimension", _LONGEST_NAME): _text(line.get(name), f"{name}", _LONGEST_TEXT)
                for name in _list(names, "a dimension set", _MAXIMUM_DIMENSIONS)
            }
            for metric in metrics:
                _require(isinstance(metric, dict), "Metrics contains something else than objects")
                name = _text(metric.get("Name"), "Name", _LONGEST_TEXT)
                unit = metric.get("Unit", "None")
                _require(unit in _UNITS, f"{unit!r} is not a unit")
                values = line.get(name)
                values = _list(values if isinstance(values, list) else [values], name, _MAXIMUM_VALUES)
                _require(all(type(value) in (int, float) for value in values), f"{name} is not a number")
                yield Metric(namespace, name, dimensions, unit, tuple(map(float, values)), timestamp_ms)


def _require(is_right: bool, problem: str) -> None:
    if not is_right:
        raise FormatError(problem)


def _list(value: object, what: str, longest: int | None) -> list[Any]:
    if not isinstance(value, list):
        raise FormatError(f"{what} is not a list")
    _require(longest is None or len(value) <= longest, f"{what} has more than {longest} members")
    return value


def _text(value: object, what: str, longest: int) -> str:
    if not isinstance(value, str) or not value.strip():
        raise FormatError(f"{what} is not a string, or empty")
    _require(len(value) <= longest, f"{what} is longer than {longest} characters")
    return value
