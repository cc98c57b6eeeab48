"""A server that takes objects and parts as S3 does, and as slowly as a test likes."""

from __future__ import annotations

import re
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit


@dataclass
class SlowS3:
    """Each request takes `request_s` seconds; of bodies, `bytes_per_s` are taken, of all together."""

    request_s: float = 0.0
    bytes_per_s: float = float("inf")
    hang_after: int | None = None
    """Requests after this one are answered when the test has ended."""
    visible: dict[str, bytes] = field(default_factory=dict)
    requests: Counter[str] = field(default_factory=Counter)
    unfinished: dict[str, dict[int, bytes]] = field(default_factory=dict)
    endpoint: str = ""
    _arrived: int = 0

    def __enter__(self) -> SlowS3:
        self._lock, self._carrying, self._over = threading.Lock(), threading.Lock(), threading.Event()
        slow = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_PUT(self) -> None:
                slow._answer(self)

            do_POST = do_DELETE = do_PUT  # noqa: N815 - the server looks for these names

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.endpoint = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._server.shutdown()
        self._server.server_close()

    def _answer(self, handler: BaseHTTPRequestHandler) -> None:
        body = _body(handler)
        address = urlsplit(handler.path)
        query = parse_qs(address.query, keep_blank_values=True)
        with self._lock:
            self._arrived += 1
            hangs = self.hang_after is not None and self._arrived > self.hang_after
        if hangs:
            self._over.wait(30)
        time.sleep(self.request_s)
        if body:
            with self._carrying:
                time.sleep(len(body) / self.bytes_per_s)
        with self._lock:
            content = self._obey(handler.command, address.path, query, body)
        handler.send_response(204 if handler.command == "DELETE" else 200)
        handler.send_header("ETag", '"0"')
        handler.send_header("Content-Length", str(len(content)))
        handler.end_headers()
        handler.wfile.write(content)

    def _obey(self, method: str, path: str, query: dict[str, list[str]], body: bytes) -> bytes:
        upload = query.get("uploadId", [""])[0]
        if method == "POST" and "uploads" in query:
            self.requests["begin"] += 1
            name = f"u{len(self.unfinished)}-{self.requests['begin']}"
            self.unfinished[name] = {}
            kind = "InitiateMultipartUploadResult"
            return f"<{kind}><UploadId>{name}</UploadId></{kind}>".encode()
        if method == "PUT" and upload:
            self.requests["part"] += 1
            self.unfinished[upload][int(query["partNumber"][0])] = body
        elif method == "POST":
            self.requests["finish"] += 1
            parts = self.unfinished.pop(upload)
            self.visible[path] = b"".join(parts[number] for number in sorted(parts))
            return b"<CompleteMultipartUploadResult></CompleteMultipartUploadResult>"
        elif method == "DELETE":
            self.requests["abort"] += 1
            self.unfinished.pop(upload, None)
        else:
            self.requests["put"] += 1
            self.visible[path] = body
        return b""


def _body(handler: BaseHTTPRequestHandler) -> bytes:
    raw = handler.rfile.read(int(handler.headers.get("Content-Length", 0)))
    if "aws-chunked" not in handler.headers.get("Content-Encoding", ""):
        return raw
    content = b""
    while match := re.match(rb"([0-9a-f]+)[^\r]*\r\n", raw):
        size = int(match[1], 16)
        content += raw[match.end() : match.end() + size]
        raw = raw[match.end() + size + 2 :]
        if not size:
            break
    return content
