"""An upload that does not fit on the disk is rejected before it is served, with a status that is not retried.

ministack would answer with success, keep the object in memory, and lose it at the next start.
"""

from __future__ import annotations

import json
import os
import shutil
from xml.sax.saxutils import escape

import ministack.app
from ministack.services import s3

from local_cloud import asgi
from local_cloud.asgi import Receive, Scope, Send
from local_cloud.patches import Original, replaces

_RESERVE = 1_000_000
"""Bytes reserved for the emulator's own writes."""
_BAD_REQUEST = 400


def install() -> None:
    """Put ourselves between the server and the emulator."""
    on_the_way = 0

    @replaces(ministack.app, "app")
    async def guarded(serve: Original, scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal on_the_way  # only the event loop's thread runs this
        needed = upload_size(scope)
        if needed and (free := free_space() - on_the_way) < needed:
            message = (
                f"The disk of the embedded cloud's state folder is full: {needed} bytes are needed and "
                f"{max(0, free)} are free"
            )
            await refuse(scope, send, message)
            return
        on_the_way += needed
        try:
            await serve(scope, receive, send)
        finally:
            on_the_way -= needed


def upload_size(scope: Scope) -> int:
    """Bytes of an object, or a part of one, in a request; 0 for every other request."""
    if scope["type"] != "http" or scope["method"] != "PUT" or "/" not in scope["path"].strip("/"):
        return 0
    headers = dict(scope["headers"])
    length = headers.get(b"content-length", b"0")
    if b"/s3/aws4_request" not in headers.get(b"authorization", b"") or not length.isdigit():
        return 0
    return int(length)


def free_space() -> int:
    """Bytes available for objects, without those for parts that wait in memory."""
    waiting = sum(
        int(part.get("size", 0))
        for upload in list(s3._multipart_uploads._data.values())
        for part in list(upload["parts"].values())
    )
    return shutil.disk_usage(os.environ["STATE_DIR"].rpartition("/")[0]).free - waiting - _RESERVE


async def refuse(scope: Scope, send: Send, message: str) -> None:
    """Answer a request with the error `DiskFull`, in XML or JSON as its service does."""
    if any(name == b"content-type" and b"json" in value for name, value in scope["headers"]):
        body = json.dumps({"__type": "DiskFull", "message": message})
        kind = "application/x-amz-json-1.1"
    else:
        body = f"<Error><Code>DiskFull</Code><Message>{escape(message)}</Message></Error>"
        kind = "application/xml"
    await asgi.refuse(send, _BAD_REQUEST, {"Content-Type": kind}, body.encode())
