"""Requests and answers as ASGI has them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


def headers_of(scope: Scope) -> dict[str, str]:
    """The headers of a request, their names in lower case; of one that is repeated, the last."""
    return {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}


async def start(send: Send, status: int, headers: Mapping[str, str]) -> None:
    """The beginning of an answer."""
    lines = [(name.lower().encode(), value.encode("latin-1", "replace")) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": status, "headers": lines})


async def answer(send: Send, status: int, headers: Mapping[str, str], body: bytes) -> None:
    """A whole answer."""
    await start(send, status, {"Content-Length": str(len(body)), **headers})
    await send({"type": "http.response.body", "body": body})


async def refuse(send: Send, status: int, headers: Mapping[str, str], body: bytes) -> None:
    """A whole answer, after which the connection ends, since the request's body may not have been read."""
    await answer(send, status, {**headers, "Connection": "close"}, body)
