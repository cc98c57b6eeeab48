"""Custom resources whose function ends without an answer.

As on AWS, CloudFormation invokes the function again after an error, as often as the event invoke
configuration specifies. (ministack invokes it once and waits for an answer forever.) After the last attempt
the resource fails with the reason at once; AWS waits for `ServiceTimeout`, an hour by default.
"""

from __future__ import annotations

import contextvars
import logging
import time
from typing import Any

from ministack.services import lambda_svc
from ministack.services.cloudformation import custom_resource

from local_cloud.lambda_functions.events import RETRY_AFTER_S, event_invoke_config, retries_of
from local_cloud.patches import Original, replaces

_for_a_resource: contextvars.ContextVar[bool] = contextvars.ContextVar("custom_resource", default=False)
_log = logging.getLogger("custom-resources")


def install() -> None:
    """Wrap the calls of custom resources, and what they execute."""

    @replaces(custom_resource, "invoke_custom_resource")
    def invoke_noted(invoke: Original, *arguments: Any, **options: Any) -> Any:
        token = _for_a_resource.set(True)
        try:
            return invoke(*arguments, **options)
        finally:
            _for_a_resource.reset(token)

    @replaces(lambda_svc, "_execute_function_with_config_scope")
    def execute_with_retries(execute: Original, function: dict[str, Any], event: Any, *more: Any) -> Any:
        if not _for_a_resource.get():
            return execute(function, event, *more)
        resource, config = event["ResponseURL"].rpartition("/")[2], function["config"]
        retries = retries_of(event_invoke_config(function, config["FunctionArn"]))
        for attempt in range(retries + 1):
            result = execute(function, event, *more)
            if not result.get("error") or _is_answered(resource):
                return result
            _log.warning("%s, attempt %d: %s", config["FunctionName"], attempt + 1, result.get("body"))
            if attempt < retries:
                time.sleep(RETRY_AFTER_S[min(attempt, len(RETRY_AFTER_S) - 1)])
        body = result.get("body")
        told = body.get("errorMessage") if isinstance(body, dict) else body
        reason = f"The function {config['FunctionName']} failed {retries + 1} times without an answer: {told}"
        custom_resource.deliver_response(resource, {"Status": "FAILED", "Reason": reason})
        return result


def _is_answered(resource: str) -> bool:
    with custom_resource._lock:
        entry = custom_resource._pending.get(resource)
        return entry is None or entry["event"].is_set()
