"""Chains of requests: which invocations of functions have led to a request, a message or an event.

As on AWS, the chain is in the X-Ray trace header, which SDKs pass on from a function to S3, SQS, SNS and
Lambda. EventBridge and Batch do not pass it on.
"""

from __future__ import annotations

import contextvars
import re
import secrets
import time
from collections.abc import Mapping
from urllib.parse import unquote

import ministack.app

from local_cloud.asgi import Receive, Scope, Send
from local_cloud.patches import Original, replaces

Chain = dict[str, int]
"""How often each function was invoked, by the hash of its ARN."""
current: contextvars.ContextVar[Mapping[str, int]] = contextvars.ContextVar("chain", default={})  # noqa: B039
"""The chain of the request, or the invocation, in this context; it is replaced, never changed."""
_LINEAGE = re.compile(r"Lineage=([0-9a-f]{8}:\d{1,4}(?:\|[0-9a-f]{8}:\d{1,4})*)")


def install() -> None:
    """Read the chain of each request."""

    @replaces(ministack.app, "app")
    async def with_chain(serve: Original, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            header = dict(scope["headers"]).get(b"x-amzn-trace-id", b"")
            current.set(chain_in(header.decode("latin-1")))
        await serve(scope, receive, send)


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
