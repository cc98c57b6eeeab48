"""Two calls of AWS on loopback: S3's ListObjectsV2 over as many keys as wanted, and Lambda's Invoke.

It runs nothing. It answers as AWS does on the wire, notes which keys it has accepted events for, and can be
told to misbehave: to refuse, to hang up, to stay silent.
"""

from __future__ import annotations

import asyncio
import json
import re
import ssl
import threading
from array import array
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from urllib.parse import parse_qs, quote, unquote_plus, urlsplit

FDL = """
functions:
  aws:
  - lambda:
      name: fan
      container: {image: grycap/cowsay}
      input: [{storage_provider: s3, path: bucket/in}]
"""
"""Of a function that reads from this bucket."""
_KEY = re.compile(rb'"key": ?"([^"]+)"')
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_REASONS = {200: "OK", 202: "Accepted", 403: "Forbidden", 404: "Not Found", 429: "Too Many Requests"}


@dataclass
class LoopbackAws:
    """What the bucket holds, what was received, and how the next call is treated."""

    count: int = 0
    """Keys `in/00000000.txt` and so on."""
    trouble: Callable[[int], str | None] = lambda _call: None
    """For the n-th call of Invoke: a status such as `429`, `close` (before), `cut` (after accepting it),
    `stall`, an error code of AWS's (refused by 403), or None."""
    first_trouble: list[str] = field(default_factory=list)
    """The same for the calls whose caller waits, one after another."""
    retry_after_s: str | None = None
    """The header `Retry-After` of refusals."""
    refuse_listing_after: str | None = None
    """Listing behind this key is answered by an expired token."""
    delay_s: float = 0.0
    """Before each acceptance."""
    port: int = 0
    received: list[str] = field(default_factory=list)
    """Keys of accepted events, in their order."""
    first: list[str] = field(default_factory=list)
    """Keys of the events that were run while the caller waited."""
    calls: int = 0
    listed: int = 0
    at_once: int = 0
    most_at_once: int = 0
    connections: set[asyncio.Transport] = field(default_factory=set)
    loop: asyncio.AbstractEventLoop | None = None
    counts: array[int] | None = None
    """Instead of `received`, for very many: how often each key was accepted."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def environment(self) -> dict[str, str]:
        """What makes boto3 talk to it."""
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_REGION": "us-east-1",
            "AWS_DEFAULT_REGION": "us-east-1",
        }

    def key(self, number: int) -> str:
        return f"in/{number:08}.txt"

    def hang_up(self) -> None:
        """Close all connections, and wait until they are."""
        done = threading.Event()

        def close() -> None:
            for one in list(self.connections):
                one.close()
            assert self.loop is not None
            self.loop.call_soon(done.set)  # behind what closes them

        assert self.loop is not None
        self.loop.call_soon_threadsafe(close)
        assert done.wait(10)

    def accept(self, key: str) -> None:
        if self.counts is not None:
            self.counts[int(key[3:11])] += 1
        else:
            self.received.append(key)

    def page(self, query: dict[str, list[str]]) -> bytes:
        """A page of the listing."""
        self.listed += 1
        after, prefix = query.get("start-after", [""])[0], query.get("prefix", [""])[0]
        most = int(query.get("max-keys", ["1000"])[0])
        begin = 0
        if len(prefix) > len("in/"):
            number = int(prefix[3:11])
            numbers = [number] if number < self.count and self.key(number).startswith(prefix) else []
        else:
            begin = int(after[3:11]) + 1 if after else 0
            numbers = list(range(begin, min(begin + most, self.count)))
        more = bool(numbers) and numbers[-1] + 1 < self.count and len(prefix) <= len("in/")
        contents = "".join(
            f"<Contents><Key>{quote(self.key(number))}</Key><LastModified>2026-11-01T00:00:00.000Z</LastModified>"
            f"<ETag>&quot;d41d8cd98f00b204e9800998ecf8427e&quot;</ETag><Size>{number % 1000 + 1}</Size>"
            "<StorageClass>STANDARD</StorageClass></Contents>"
            for number in numbers
        )
        return (
            '<?xml version="1.0" encoding="UTF-8"?>'
            '<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>bucket</Name>'
            f"<EncodingType>url</EncodingType><Prefix>{prefix}</Prefix><KeyCount>{len(numbers)}</KeyCount>"
            f"<MaxKeys>{most}</MaxKeys><IsTruncated>{str(more).lower()}</IsTruncated>"
            f"{contents}</ListBucketResult>"
        ).encode()


@contextmanager
def running(aws: LoopbackAws, tls: ssl.SSLContext | None = None) -> Iterator[LoopbackAws]:
    """Serve it from a thread until the end of the `with`."""
    loop = aws.loop = asyncio.new_event_loop()
    ready = threading.Event()

    async def serve() -> asyncio.Server:
        server = await loop.create_server(lambda: _Connection(aws, loop), "127.0.0.1", 0, ssl=tls)
        aws.port = server.sockets[0].getsockname()[1]
        ready.set()
        return server

    task = loop.create_task(serve())
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    assert ready.wait(10)
    try:
        yield aws
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        task.result().close()
        loop.close()


class _Connection(asyncio.Protocol):
    def __init__(self, aws: LoopbackAws, loop: asyncio.AbstractEventLoop) -> None:
        self._aws = aws
        self._loop = loop
        self._data = b""
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._aws.connections.add(transport)

    def connection_lost(self, _error: Exception | None) -> None:
        self._aws.connections.discard(self._transport)

    def data_received(self, data: bytes) -> None:
        self._data += data
        while (end := self._data.find(b"\r\n\r\n")) >= 0:
            head = self._data[:end]
            length = int(found[1]) if (found := _LENGTH.search(head)) else 0
            if len(self._data) < end + 4 + length:
                return
            body, self._data = self._data[end + 4 : end + 4 + length], self._data[end + 4 + length :]
            if head.startswith(b"POST"):
                self._invoke(head, body)
            else:
                self._list(head)

    def _list(self, head: bytes) -> None:
        query = parse_qs(urlsplit(head.split(b" ", 2)[1].decode()).query)
        limit = self._aws.refuse_listing_after
        if limit is not None and query.get("start-after", [""])[0] > limit:
            text = b"<Error><Code>ExpiredToken</Code><Message>The token has expired.</Message></Error>"
            self._answer(403, text, "application/xml")
        else:
            self._answer(200, self._aws.page(query), "application/xml")

    def _invoke(self, head: bytes, body: bytes) -> None:
        aws = self._aws
        found = _KEY.search(body)
        assert found is not None
        key = unquote_plus(found[1].decode())
        if b"RequestResponse" in head:
            trouble = aws.first_trouble.pop(0) if aws.first_trouble else None
            if trouble is not None:
                self._misbehave(trouble, key)
                return
            aws.first.append(key)
            aws.accept(key)
            answer = {"status": "ok", "results": [{"subject": key, "status": "done"}], "skipped": []}
            self._answer(200, json.dumps(answer).encode())
            return
        aws.calls += 1
        trouble = aws.trouble(aws.calls)
        if trouble is not None:
            self._misbehave(trouble, key)
        elif aws.delay_s:
            aws.at_once += 1
            aws.most_at_once = max(aws.most_at_once, aws.at_once)
            self._loop.call_later(aws.delay_s, self._accept_late, key)
        else:
            aws.accept(key)
            self._answer(202, b"")

    def _misbehave(self, trouble: str, key: str) -> None:
        aws = self._aws
        if trouble == "stall":
            return
        if trouble == "close":
            self._transport.close()
        elif trouble == "cut":
            aws.accept(key)
            self._transport.close()
        elif trouble.isdigit():
            code = "TooManyRequestsException" if trouble == "429" else "ServiceException"
            self._answer(int(trouble), json.dumps({"message": "Rate Exceeded."}).encode(), error=code)
        else:
            text = json.dumps({"message": f"{trouble} it is"}).encode()
            self._answer(404 if trouble == "ResourceNotFoundException" else 403, text, error=trouble)

    def _accept_late(self, key: str) -> None:
        self._aws.at_once -= 1
        if not self._transport.is_closing():
            self._aws.accept(key)
            self._answer(202, b"")

    def _answer(
        self, status: int, body: bytes, kind: str = "application/json", error: str | None = None
    ) -> None:
        lines = [
            f"HTTP/1.1 {status} {_REASONS.get(status, 'Error')}",
            "Date: Sun, 22 Nov 2026 12:00:00 GMT",
            f"Content-Type: {kind}",
            f"Content-Length: {len(body)}",
            "Connection: keep-alive",
            "x-amzn-RequestId: 11111111-2222-3333-4444-555555555555",
            "X-Amzn-Trace-Id: root=1-5f5e3b7e-0123456789abcdef01234567;sampled=0",
        ]
        if error is not None:
            lines.append(f"x-amzn-ErrorType: {error}:http://internal.amazon.com/")
            if self._aws.retry_after_s is not None:
                lines.append(f"Retry-After: {self._aws.retry_after_s}")
        self._transport.write("\r\n".join([*lines, "", ""]).encode() + body)


def main(count: int) -> None:
    """Serve `count` keys in this process, for measurements; prints the port, then at the end what came."""
    with running(LoopbackAws(count, counts=array("H", [0]) * count)) as aws:
        print(aws.port, flush=True)
        with suppress(EOFError):
            input()
        assert aws.counts is not None
        print(json.dumps({"distinct": sum(map(bool, aws.counts)), "accepted": sum(aws.counts)}), flush=True)


if __name__ == "__main__":
    import sys

    main(int(sys.argv[1]))
