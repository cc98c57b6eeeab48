"""Lambda's request ids: one for all attempts of an event, and for a call the one in its answer, as on AWS."""

from __future__ import annotations

import contextvars
from typing import Any

from ministack import app
from ministack.services import lambda_svc

from local_cloud.patches import Original, replaces

current: contextvars.ContextVar[str | None] = contextvars.ContextVar("request_id", default=None)
"""Of the event whose attempt runs in this thread, or of the call of Lambda's Invoke in this task."""
_call_id: contextvars.ContextVar[str | None] = contextvars.ContextVar("call_id", default=None)
"""Of the API call that this task answers."""


def install() -> None:
    """Have an attempt run under its event's id, and a call's function under the id of the answer."""

    @replaces(lambda_svc, "_execute_function_dispatch")
    def execute(
        dispatch: Original, function: Any, config: Any, event: Any, request_id: str, *more: Any
    ) -> Any:
        return dispatch(function, config, event, current.get() or request_id, *more)

    @replaces(app, "_dispatch_service_request")
    async def dispatch_call(dispatch: Original, *request: Any) -> Any:
        _call_id.set(request[-1])
        return await dispatch(*request)

    @replaces(lambda_svc, "_invoke")
    async def invoke_function(invoke: Original, *arguments: Any) -> Any:
        token = current.set(_call_id.get())
        try:
            return await invoke(*arguments)
        finally:
            current.reset(token)
