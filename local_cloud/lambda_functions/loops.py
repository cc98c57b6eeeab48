"""Recursive loops: Lambda stops a function that is invoked for the 17th time in one chain of requests.

Source: "Use Lambda recursive loop detection to prevent infinite loops" in the guide of AWS Lambda. As on AWS,
the chain is in the X-Ray trace header, which SDKs pass on from a function to S3, SQS, SNS and Lambda, and it
counts the invocations of each function. EventBridge and Batch do not pass it on. ministack counts the
invocations of all functions together, and only in direct calls.

`RecursiveLoop: Allow` of a function turns this off for it.
"""

from __future__ import annotations

import contextvars
import hashlib
import re
import secrets
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

import ministack.app
from ministack.services import lambda_svc

from local_cloud.asgi import Receive, Scope, Send
from local_cloud.patches import Original, replaces

MOST_INVOCATIONS = 16
Chain = dict[str, int]
"""How often each function was invoked, by the hash of its ARN."""
current: contextvars.ContextVar[Mapping[str, int]] = contextvars.ContextVar("chain", default={})  # noqa: B039
"""The chain of the request, or the invocation, in this context; it is replaced, never changed."""
_LINEAGE = re.compile(r"Lineage=([0-9a-f]{8}:\d{1,4}(?:\|[0-9a-f]{8}:\d{1,4})*)")


def install() -> None:
    """Put ourselves around requests and invocations."""

    @replaces(ministack.app, "app")
    async def with_chain(serve: Original, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            header = dict(scope["headers"]).get(b"x-amzn-trace-id", b"")
            current.set(chain_in(header.decode("latin-1")))
        await serve(scope, receive, send)

    @replaces(lambda_svc, "_execute_function_dispatch")
    def execute(dispatch: Original, function: Any, config: Any, *more: Any) -> Any:
        token = current.set(longer(current.get(), config["FunctionArn"]))
        try:
            return dispatch(function, config, *more)
        finally:
            current.reset(token)

    @replaces(lambda_svc, "_recursive_loop_drop")
    def drop(refuse: Original, name: str, function: dict[str, Any], _depth: int) -> Any:
        stopped = is_loop(current.get(), function)
        return refuse(name, function, lambda_svc.MAX_INVOKE_DEPTH + 1) if stopped else None

    lambda_svc._xray_trace_id_for_invocation = lambda _config, _header=None: trace_header(current.get())


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


def trace_header(chain: Mapping[str, int]) -> str:
    """The trace header of an invocation."""
    header = f"Root=1-{int(time.time()):08x}-{secrets.token_hex(12)};Parent={secrets.token_hex(8)};Sampled=0"
    lineage = "|".join(f"{name}:{count}" for name, count in chain.items())
    return f"{header};Lineage={lineage}" if lineage else header


def chain_in(header: str) -> Chain:
    """The chain in a trace header."""
    found = _LINEAGE.search(unquote(header))
    pairs = found[1].split("|") if found else []
    return {pair.partition(":")[0]: int(pair.partition(":")[2]) for pair in pairs}


def _hash(function_arn: str) -> str:
    unqualified = ":".join(function_arn.split(":")[:7])
    return hashlib.sha256(unqualified.encode()).hexdigest()[:8]
