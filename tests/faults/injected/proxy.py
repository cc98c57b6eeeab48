"""An HTTP proxy in front of the embedded cloud, with faults.

    proxy = Proxy(("127.0.0.1", 4566), ("127.0.0.2", 4566))
    with proxy.serving():
        proxy.inject(Fault.UNANSWERED)

A fault hits the next request. Requests whose `User-Agent` contains `SPARED` are passed on without faults and
limits, and are not counted: a test checks results with them. Every request is passed on byte for byte, except
for `Expect: 100-continue`, which the proxy answers, so signatures remain valid.
"""

from __future__ import annotations

import asyncio
import contextlib
import enum
import random
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from tests.faults.injected.limits import Limits

SPARED = "spared-by-the-proxy"
_MOST_HEAD_BYTES = 1 << 20
_PIECE = 1 << 16
_LONGEST_DELAY_S = 1.0
Address = tuple[str, int]


class Fault(enum.Enum):
    """What happens to a request."""

    REFUSED = "cut before the request was passed on"
    UNANSWERED = "cut after the request was carried out, before its answer"
    HALF_SENT = "cut in the middle of the request's body"
    HALF_ANSWERED = "cut in the middle of the answer"
    ERROR = "answered with 500 Internal Server Error"
    THROTTLED = "rejected as AWS rejects requests above a limit"
    DELAYED = "delayed"


@dataclass(frozen=True)
class Request:
    """The head of a request, and where its body is."""

    method: str
    target: str
    head: bytes
    """With the empty line at its end."""
    headers: dict[str, str]
    """Names in lower case."""

    @property
    def service(self) -> str:
        """The service for which it is signed, or ''."""
        _, _, scope = self.headers.get("authorization", "").partition("Credential=")
        parts = scope.partition(",")[0].split("/")
        return parts[3] if len(parts) > 3 else ""

    @property
    def action(self) -> str:
        """Service and operation: `s3 PUT`, `batch submitjob`, `dynamodb PutItem`."""
        operation = self.headers.get("x-amz-target", "").rpartition(".")[2]
        if not operation and self.service in ("batch", "lambda"):
            operation = self.target.partition("?")[0].rpartition("/")[2]
        return f"{self.service or 'unsigned'} {operation or self.method}"


Answer = Callable[[Request, bytes], bytes]
"""Makes a whole response from a request and its body."""


@dataclass
class Proxy:
    """Listens on `here`, and passes requests on to `there`."""

    here: Address
    there: Address
    seed: int = 0
    limits: Limits | None = None
    answers: dict[str, Answer] = field(default_factory=dict)
    """By action: requests that are answered here, and not passed on."""
    requests: int = 0
    """Requests so far, without the spared ones."""
    injected: Counter[Fault] = field(default_factory=Counter)
    """Faults that have hit a request."""
    actions: Counter[str] = field(default_factory=Counter)
    """Requests by action."""

    def __post_init__(self) -> None:
        self._chance = random.Random(self.seed)
        self._waiting: deque[Fault] = deque()
        self._serving: set[asyncio.Task[None]] = set()
        self._loop = asyncio.new_event_loop()

    @contextlib.contextmanager
    def serving(self) -> Iterator[Proxy]:
        """Serve in a thread of its own."""
        thread = threading.Thread(target=self._loop.run_forever, daemon=True, name="proxy")
        thread.start()
        starting = asyncio.start_server(self._serve, *self.here, limit=_MOST_HEAD_BYTES, backlog=1024)
        server = asyncio.run_coroutine_threadsafe(starting, self._loop).result(10)
        try:
            yield self
        finally:
            asyncio.run_coroutine_threadsafe(_end(server), self._loop).result(10)
            self._loop.call_soon_threadsafe(self._loop.stop)
            thread.join(10)
            self._loop.close()

    def inject(self, fault: Fault) -> None:
        """Let this fault hit one of the next requests: the first one that it fits."""
        self._waiting.append(fault)

    @property
    def pending(self) -> int:
        """Faults that have not hit a request yet."""
        return len(self._waiting)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if (task := asyncio.current_task()) is not None:
            self._serving.add(task)  # asyncio itself keeps only a weak reference
            task.add_done_callback(self._serving.discard)
        back: _Stream | None = None
        front = _Stream(reader, writer)
        try:
            while (request := await _read_request(reader)) is not None:
                back = await self._serve_one(request, front, back)
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, _Cut):
            pass
        except asyncio.CancelledError:
            return  # asyncio would print the traceback of a cancelled connection
        finally:
            for stream in (front, back):
                if stream is not None:
                    stream.abort()

    async def _serve_one(self, request: Request, front: _Stream, back: _Stream | None) -> _Stream | None:
        if "100-continue" in request.headers.get("expect", "").lower():
            front.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        fault = None
        if SPARED not in request.headers.get("user-agent", ""):
            self.requests += 1
            self.actions[request.action] += 1
            fault = self._fault_for(request)
            over = self.limits is not None and not self.limits.allow(request.action, time.monotonic())
            if fault is Fault.REFUSED:
                raise _Cut
            if over or fault in (Fault.THROTTLED, Fault.ERROR):
                await _drain_body(request, front.reader)
                front.writer.write(rejection(request, throttled=fault is not Fault.ERROR))
                await front.writer.drain()
                return back
            if fault is Fault.DELAYED:
                await asyncio.sleep(self._chance.random() * _LONGEST_DELAY_S)
            if (answer := self.answers.get(request.action)) is not None:
                body = await _whole_body(request, front.reader)
                front.writer.write(answer(request, body))
                await front.writer.drain()
                return back
        if back is None or back.reader.at_eof() or back.writer.is_closing():
            back = _Stream(*await asyncio.open_connection(*self.there, limit=_MOST_HEAD_BYTES))
        back.writer.write(_without_expect(request.head))
        limit = _length(request.headers) // 2 if fault is Fault.HALF_SENT else None
        await _copy_body(request.headers, front.reader, back.writer, limit)
        head = await back.reader.readuntil(b"\r\n\r\n")
        while head.startswith(b"HTTP/1.1 1"):
            head = await back.reader.readuntil(b"\r\n\r\n")
        status, headers = _parsed(head)
        has_body = request.method != "HEAD" and status not in (204, 304)
        if fault is Fault.UNANSWERED:
            raise _Cut
        front.writer.write(head)
        if has_body:
            limit = _length(headers) // 2 if fault is Fault.HALF_ANSWERED else None
            await _copy_body(headers, back.reader, front.writer, limit, to_end=True)
        elif fault is Fault.HALF_ANSWERED:
            raise _Cut
        await front.writer.drain()
        if headers.get("connection", "").lower() == "close":
            raise _Cut
        return back

    def _fault_for(self, request: Request) -> Fault | None:
        for fault in self._waiting:
            if fault is Fault.HALF_SENT and _length(request.headers) < 2:
                continue
            self._waiting.remove(fault)
            self.injected[fault] += 1
            return fault
        return None


async def _end(server: asyncio.Server) -> None:
    """Close the server and all connections."""
    server.close()
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)


class _Cut(Exception):  # noqa: N818 (no error)
    """The connection ends here."""


@dataclass
class _Stream:
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    def abort(self) -> None:
        if self.writer.can_write_eof():
            with contextlib.suppress(OSError):
                self.writer.close()


def rejection(request: Request, *, throttled: bool) -> bytes:
    """The response of the request's service to a call above a limit, or to one that fails for no reason of
    the caller's: status 503 and `SlowDown` of S3, 429 of Batch and Lambda, 400 of DynamoDB and SQS."""
    if request.service == "s3":
        code, status = ("SlowDown", 503) if throttled else ("InternalError", 500)
        text = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>injected</Message></Error>"
        return http_response(status, text.encode(), "application/xml")
    if not throttled:
        code, status = "InternalServerError", 500
    elif request.service in ("batch", "lambda"):
        code, status = "TooManyRequestsException", 429
    else:
        code, status = "ThrottlingException", 400
    return http_response(
        status,
        f'{{"__type": "{code}", "message": "injected"}}'.encode(),
        "application/x-amz-json-1.0",
        f"x-amzn-ErrorType: {code}\r\n",
    )


def http_response(status: int, body: bytes, kind: str, extra: str = "") -> bytes:
    """A whole response."""
    head = f"HTTP/1.1 {status} Injected\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n{extra}\r\n"
    return head.encode() + body


async def _read_request(reader: asyncio.StreamReader) -> Request | None:
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return None
    line, _, _ = head.partition(b"\r\n")
    method, target, _ = line.decode("latin-1").split(" ", 2)
    return Request(method, target, head, _headers(head))


def _parsed(head: bytes) -> tuple[int, dict[str, str]]:
    return int(head.split(b" ", 2)[1]), _headers(head)


def _headers(head: bytes) -> dict[str, str]:
    lines = head.decode("latin-1").split("\r\n")[1:]
    return {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}


def _length(headers: dict[str, str]) -> int:
    return int(headers.get("content-length", 0))


def _without_expect(head: bytes) -> bytes:
    lines = head.split(b"\r\n")
    return b"\r\n".join(line for line in lines if not line.lower().startswith(b"expect:"))


async def _whole_body(request: Request, reader: asyncio.StreamReader) -> bytes:
    return await reader.readexactly(_length(request.headers))


async def _drain_body(request: Request, reader: asyncio.StreamReader) -> None:
    await _copy_body(request.headers, reader, None, None)


async def _copy_body(
    headers: dict[str, str],
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter | None,
    limit: int | None,
    *,
    to_end: bool = False,
) -> None:
    """Copy a body; cut the connection after `limit` bytes. `to_end`: one without a length ends with the
    connection."""
    if "chunked" in headers.get("transfer-encoding", "").lower():
        await _copy_chunks(reader, writer, cut=limit is not None)
        return
    if to_end and "content-length" not in headers:
        while piece := await reader.read(_PIECE):
            _write(writer, piece)
        raise _Cut
    left = _length(headers) if limit is None else limit
    while left:
        piece = await reader.read(min(left, _PIECE))
        if not piece:
            raise _Cut
        left -= len(piece)
        _write(writer, piece)
        if writer is not None:
            await writer.drain()
    if limit is not None:
        if writer is not None:
            await writer.drain()
        raise _Cut


async def _copy_chunks(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter | None, *, cut: bool
) -> None:
    while True:
        line = await reader.readuntil(b"\r\n")
        _write(writer, line)
        size = int(line.partition(b";")[0], 16)
        if not size:
            break
        _write(writer, await reader.readexactly(size + 2))
        if writer is not None:
            await writer.drain()
        if cut:
            raise _Cut
    while (line := await reader.readuntil(b"\r\n")) != b"\r\n":
        _write(writer, line)
    _write(writer, line)


def _write(writer: asyncio.StreamWriter | None, data: bytes) -> None:
    if writer is not None:
        writer.write(data)
