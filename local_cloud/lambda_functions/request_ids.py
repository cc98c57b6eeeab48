"""Lambda's request ids: one for all attempts of an event, and that of the answer for a call, as on AWS.

ministack makes up an id for each attempt, and another one for the answer of Lambda's Invoke.
"""

from __future__ import annotations

import contextvars
from collections.abc import Callable
from typing import Any

from ministack import app
from ministack.services import lambda_svc

current: contextvars.ContextVar[str | None] = contextvars.ContextVar("request_id", default=None)
"""Of the event whose attempt runs in this thread, or of the call of Lambda's Invoke in this task."""
_call_id: contextvars.ContextVar[str | None] = contextvars.ContextVar("call_id", default=None)
"""Of the API call that this task answers."""


def install() -> None:
    """Put ourselves around calls and executions."""
    lambda_svc._execute_function_dispatch = _with_the_events_request_id(lambda_svc._execute_function_dispatch)
    lambda_svc._invoke = _with_the_calls_request_id(lambda_svc._invoke)
    app._dispatch_service_request = _noting_its_request_id(app._dispatch_service_request)


def _with_the_events_request_id(dispatch: Callable[..., Any]) -> Callable[..., Any]:
    """Have an attempt run under its event's request id; the emulator makes up one for each."""

    def dispatch_with_it(function: Any, config: Any, event: Any, request_id: str, started: float) -> Any:
        return dispatch(function, config, event, current.get() or request_id, started)

    return dispatch_with_it


def _noting_its_request_id(dispatch: Callable[..., Any]) -> Callable[..., Any]:
    """Have an API call's handler know the request id that its answer will bear."""

    async def dispatch_noted(*request: Any) -> Any:
        _call_id.set(request[-1])
        return await dispatch(*request)

    return dispatch_noted


def _with_the_calls_request_id(invoke: Callable[..., Any]) -> Callable[..., Any]:
    """Have a function run under the request id that Lambda's answer to the caller bears, as on AWS."""

    async def invoke_with_it(*arguments: Any) -> Any:
        token = current.set(_call_id.get())
        try:
            return await invoke(*arguments)
        finally:
            current.reset(token)

    return invoke_with_it
