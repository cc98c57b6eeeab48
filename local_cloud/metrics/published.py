"""The metrics that AWS Lambda and Amazon SQS publish, as far as workflows use them.

ministack publishes metrics of calls of Invoke only, and counts those that do not wait as successful.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from typing import Any

from ministack.core.responses import request_scope
from ministack.services import lambda_svc, sqs

from local_cloud.metrics import data_points
from local_cloud.patches import Original, replaces

_LAMBDA, _SQS = "AWS/Lambda", "AWS/SQS"


def install() -> None:
    """Count each run of a function, and each throttled one."""
    running: Counter[str] = Counter()
    lock = threading.Lock()

    @replaces(lambda_svc, "_emit_lambda_metrics")
    def emit(_emit: Original, name: str, duration_ms: float, error: bool, throttle: bool) -> None:
        # Invoke reports the same throttle again, with the time that it took.
        if throttle and not (error or duration_ms):
            data_points.record(_LAMBDA, "Throttles", 1, "Count", {"FunctionName": name})

    @replaces(lambda_svc, "_execute_function_dispatch")
    def execute(dispatch: Original, function: Any, config: Any, *more: Any) -> Any:
        of_function = {"FunctionName": config["FunctionName"]}
        with lock:
            running[config["FunctionArn"]] += 1
            at_once = running[config["FunctionArn"]]
        started_at, started = time.time(), time.monotonic()
        failed = True
        try:
            result = dispatch(function, config, *more)
            failed = bool(isinstance(result, dict) and result.get("error"))
        finally:
            with lock:
                running[config["FunctionArn"]] -= 1
            duration_ms = (time.monotonic() - started) * 1000
            for name, value, unit in (
                ("ConcurrentExecutions", at_once, "Count"),
                ("Invocations", 1, "Count"),
                ("Errors", int(failed), "Count"),
                ("Throttles", 0, "Count"),
                ("Duration", duration_ms, "Milliseconds"),
            ):
                data_points.record(_LAMBDA, name, value, unit, of_function, started_at)
        return result


def record_event_age(function_name: str, age_s: float) -> None:
    """Publish how long an event has waited for its function, which is about to run."""
    data_points.record(
        _LAMBDA, "AsyncEventAge", age_s * 1000, "Milliseconds", {"FunctionName": function_name}
    )


class Queues:
    """Publishes the metrics of queues that have messages, and of those that have become empty."""

    def __init__(self) -> None:
        self._active: set[tuple[str, str, str]] = set()

    def sample(self) -> None:
        """Publish the present values."""
        for key, queue in list(sqs._queues.all_items()):
            account, region, url = key
            visible, hidden, delayed = queue["messages"].counts()
            if not (visible or hidden or delayed) and key not in self._active:
                continue
            age_s = queue["messages"].oldest_age_s()
            with request_scope(account, region):
                of_queue = {"QueueName": url.rpartition("/")[2]}
                for name, value, unit in (
                    ("ApproximateNumberOfMessagesVisible", visible, "Count"),
                    ("ApproximateNumberOfMessagesNotVisible", hidden, "Count"),
                    ("ApproximateNumberOfMessagesDelayed", delayed, "Count"),
                    ("ApproximateAgeOfOldestMessage", age_s, "Seconds"),
                ):
                    data_points.record_level(_SQS, name, value, unit, of_queue)
            if visible or hidden or delayed:
                self._active.add(key)
            else:
                self._active.discard(key)
