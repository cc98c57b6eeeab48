"""Recursive loops: Lambda stops a function that is invoked for the 17th time in one chain of requests.

Source: "Use Lambda recursive loop detection to prevent infinite loops" in the guide of AWS Lambda. As on AWS,
the invocations of each function are counted (`messages/chains.py`). ministack counts those of all functions
together, and only in direct calls.

`RecursiveLoop: Allow` of a function turns this off for it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from ministack.services import lambda_svc

from local_cloud.messages import chains
from local_cloud.messages.chains import Chain
from local_cloud.patches import Original, replaces

MOST_INVOCATIONS = 16


def install() -> None:
    """Put ourselves around invocations."""

    @replaces(lambda_svc, "_execute_function_dispatch")
    def execute(dispatch: Original, function: Any, config: Any, *more: Any) -> Any:
        token = chains.current.set(longer(chains.current.get(), config["FunctionArn"]))
        try:
            return dispatch(function, config, *more)
        finally:
            chains.current.reset(token)

    @replaces(lambda_svc, "_recursive_loop_drop")
    def drop(refuse: Original, name: str, function: dict[str, Any], _depth: int) -> Any:
        stopped = is_loop(chains.current.get(), function)
        return refuse(name, function, lambda_svc.MAX_INVOKE_DEPTH + 1) if stopped else None

    lambda_svc._xray_trace_id_for_invocation = lambda _config, _header=None: chains.trace_header(
        chains.current.get()
    )


def is_loop(chain: Mapping[str, int], function: dict[str, Any]) -> bool:
    """Whether Lambda stops another invocation of the function, a record of ministack's, in this chain."""
    if (function.get("recursive_loop") or "Terminate") == "Allow":
        return False
    return chain.get(_hash(function["config"]["FunctionArn"]), 0) >= MOST_INVOCATIONS


def stopped(function: dict[str, Any]) -> dict[str, Any]:
    """The result of an invocation that Lambda has stopped."""
    message = (
        "Lambda has detected your function being invoked in a recursive loop with other Amazon Web Services "
        f"resources and stopped your function's invocation: {function['config']['FunctionArn']}"
    )
    return {
        "error": True,
        "body": {"errorType": "RecursiveInvocationException", "errorMessage": message},
    }


def longer(chain: Mapping[str, int], function_arn: str) -> Chain:
    """The chain with one more invocation of a function."""
    name = _hash(function_arn)
    return {**chain, name: chain.get(name, 0) + 1}


def _hash(function_arn: str) -> str:
    unqualified = ":".join(function_arn.split(":")[:7])
    return hashlib.sha256(unqualified.encode()).hexdigest()[:8]
