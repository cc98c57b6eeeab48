"""An endpoint on loopback that replaces S3 and Lambda, and counts the events that it receives.

S3 lists a folder's marker and the requested number of files, `input/file-00000000.txt` and so on. Each page
is generated on request. Lambda answers an asynchronous invocation with 202 and a synchronous one with 200,
and counts the events for each key. The other requests of SCAR and `scar-launch` get the same responses as
from AWS.

    python -m benchmarks.fan_out_endpoint KEYS

prints its port, and its counts when its standard input ends, as a line of JSON (see `Counted`). It must be
faster than every client that is measured with it, so it supports only the parts of HTTP that they use.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import re
import sys
import time
from array import array
from dataclasses import asdict, dataclass
from urllib.parse import parse_qs, urlsplit

FOLDER = "input/"
_PAGE = 1000
_KEY = re.compile(rb'"key": ?"input/file-(\d{8})\.txt"')
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_WAITS = re.compile(rb"\r\nx-amz-invocation-type: *requestresponse", re.IGNORECASE)
_LIVE = "2026-01-01T00:00:00.000Z"
_REASONS = {200: "OK", 202: "Accepted", 404: "Not Found", 429: "Too Many Requests"}


@dataclass
class Counted:
    """The events that arrived, and their keys."""

    calls: int = 0
    distinct: int = 0
    most_for_one_key: int = 0
    seconds: float = 0.0
    """From the first event to the last."""


def key_of(number: int) -> str:
    """The key of a file from its number."""
    return f"{FOLDER}file-{number:08d}.txt"


class Endpoint:
    """Answers requests and counts them."""

    def __init__(self, keys: int) -> None:
        self._counted = Counted()
        self._times = array("I", bytes(4 * keys))
        self._first = self._last = 0.0
        self._accepted = http_response(202)
        self._ran = http_response(200, b"{}", "application/json")

    def answer(self, head: bytes, body: bytes) -> bytes:
        """The whole response to a request: status line, headers and body."""
        if head.startswith(b"POST /2015-03-31/functions/"):
            return self._invoked(head, body)
        method, target, _version = head[: head.index(b"\r\n")].decode("latin-1").split(" ", 2)
        url = urlsplit(target)
        query = parse_qs(url.query, keep_blank_values=True)
        if method == "GET" and "list-type" in query:
            return self._listed(url.path.strip("/"), query)
        if method == "GET" and "location" in query:
            return xml_response('<LocationConstraint xmlns="http://s3.amazonaws.com/doc/2006-03-01/"/>')
        if method == "HEAD":
            return http_response(200, extra="x-amz-bucket-region: us-east-1\r\n")
        if method == "POST" and b"Action=GetUser" in body:
            return xml_response(
                '<GetUserResponse xmlns="https://iam.amazonaws.com/doc/2010-05-08/"><GetUserResult><User>'
                "<UserName>bench</UserName><UserId>AIDABENCH</UserId><Path>/</Path>"
                f"<Arn>arn:aws:iam::000000000000:user/bench</Arn><CreateDate>{_LIVE}</CreateDate>"
                "</User></GetUserResult></GetUserResponse>"
            )
        print(f"fan_out_endpoint: {method} {target}", file=sys.stderr)
        return http_response(404)

    def counted(self) -> Counted:
        """The counts so far."""
        self._counted.distinct = len(self._times) - self._times.count(0)
        self._counted.most_for_one_key = max(self._times, default=0)
        self._counted.seconds = self._last - self._first
        return self._counted

    def _invoked(self, head: bytes, body: bytes) -> bytes:
        counted = self._counted
        self._last = time.monotonic()
        if counted.calls == 0:
            self._first = self._last
        counted.calls += 1
        found = _KEY.search(body)
        if found and int(found[1]) < len(self._times):
            self._times[int(found[1])] += 1
        return self._ran if _WAITS.search(head) else self._accepted

    def _listed(self, bucket: str, query: dict[str, list[str]]) -> bytes:
        """A page of the listing, in which number 0 is the folder's marker and file 0 has number 1."""
        begin = int(query.get("continuation-token", ["0"])[0])
        if after := query.get("start-after", [""])[0]:
            begin = max(begin, int(re.sub(r"\D", "", after) or "-1") + 2)
        end = min(begin + _PAGE, len(self._times) + 1)
        entries = "".join(
            f"<Contents><Key>{key_of(number - 1) if number else FOLDER}</Key>"
            f"<LastModified>{_LIVE}</LastModified><ETag>&quot;{number:032x}&quot;</ETag>"
            f"<Size>{1000 if number else 0}</Size><StorageClass>STANDARD</StorageClass></Contents>"
            for number in range(begin, end)
        )
        more = end <= len(self._times)
        return xml_response(
            '<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
            f"<Name>{bucket}</Name><Prefix>{FOLDER}</Prefix><KeyCount>{end - begin}</KeyCount>"
            f"<MaxKeys>{_PAGE}</MaxKeys><IsTruncated>{str(more).lower()}</IsTruncated>"
            + (f"<NextContinuationToken>{end}</NextContinuationToken>" if more else "")
            + f"{entries}</ListBucketResult>"
        )


class _Connection(asyncio.Protocol):
    """A kept connection, with one request at a time or pipelined requests."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._left = b""
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        data = self._left + data
        while (end := data.find(b"\r\n\r\n")) >= 0:
            head = data[: end + 2]
            length = _LENGTH.search(head)
            after = end + 4 + (int(length[1]) if length else 0)
            if after > len(data):
                break
            self._transport.write(self._endpoint.answer(head, data[end + 4 : after]))
            data = data[after:]
        self._left = data


def http_response(status: int, body: bytes = b"", kind: str = "text/plain", extra: str = "") -> bytes:
    """A whole response; `extra` are more headers, each with its line ending."""
    head = (
        f"HTTP/1.1 {status} {_REASONS[status]}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n"
        f"x-amzn-RequestId: 00000000-0000-0000-0000-000000000000\r\n{extra}\r\n"
    )
    return head.encode() + body


def xml_response(text: str) -> bytes:
    """A response with XML."""
    return http_response(200, f'<?xml version="1.0" encoding="UTF-8"?>\n{text}'.encode(), "application/xml")


async def _serve(endpoint: Endpoint) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: _Connection(endpoint), "127.0.0.1", 0, backlog=1024)
    ended = asyncio.Event()
    loop.add_reader(sys.stdin.fileno(), lambda: None if os.read(sys.stdin.fileno(), 1) else ended.set())
    print(server.sockets[0].getsockname()[1], flush=True)
    await ended.wait()
    server.close()


def main() -> None:
    """Serve until standard input ends."""
    endpoint = Endpoint(int(sys.argv[1]))
    gc.freeze()
    asyncio.run(_serve(endpoint))
    print(json.dumps(asdict(endpoint.counted())), flush=True)


if __name__ == "__main__":
    main()
