"""The registry's requests and answers in ASGI, with streamed bodies."""

from __future__ import annotations

import asyncio
from pathlib import Path

from local_cloud import asgi
from local_cloud.asgi import Receive, Send

PIECE = 1 << 20
"""Bytes that are handled at once."""
_VERSION = {"Docker-Distribution-API-Version": "registry/2.0"}


class Disconnected(Exception):  # noqa: N818 - it is no error of ours
    """The client has disconnected."""


class Refusal(Exception):  # noqa: N818 - an answer
    """The request fails with `status`, and the specification's error `code`."""

    def __init__(self, status: int, code: str, message: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(message)
        self.status, self.code, self.headers = status, code, headers or {}


def bounds(first: str, last: str, size: int) -> tuple[int, int]:
    """First byte and end of a range (RFC 9110, 14.1.2)."""
    if not first:
        return max(0, size - int(last)), size
    return int(first), min(size, int(last) + 1 if last else size)


async def small_body(receive: Receive, limit: int) -> bytes:
    """A body of `limit` bytes at most. Raises Refusal."""
    content = b""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Disconnected
        content += bytes(message.get("body", b""))
        if len(content) > limit:
            raise Refusal(413, "MANIFEST_INVALID", f"a manifest has at most {limit} bytes")
        if not message.get("more_body", False):
            return content


async def send_file(send: Send, path: Path, first: int, end: int) -> None:
    """Part of a file, as a part of the body."""
    with path.open("rb") as file:
        file.seek(first)
        while first < end:
            piece = await asyncio.to_thread(file.read, min(PIECE, end - first))
            if not piece:
                raise Disconnected
            first += len(piece)
            await send({"type": "http.response.body", "body": piece, "more_body": True})


async def answer(send: Send, status: int, headers: dict[str, str], body: bytes) -> None:
    """A whole answer."""
    await asgi.answer(send, status, _VERSION | headers, body)


async def start(send: Send, status: int, headers: dict[str, str]) -> None:
    """The beginning of an answer."""
    await asgi.start(send, status, _VERSION | headers)
