"""A proxy in front of a registry that does to requests what networks and registries do on bad days."""

from __future__ import annotations

import contextlib
import http.client
import http.server
import threading
import urllib.parse
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Trouble:
    """What happens to a request: it is answered with `status` by the proxy itself, only `sent` bytes of
    it get to the registry, only `received` bytes of the answer come back, or the answer is changed by
    `answered`."""

    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    sent: int | None = None
    received: int | None = None
    answered: Callable[[int, dict[str, str]], tuple[int, dict[str, str]]] | None = None


Decide = Callable[[int, str, str], Trouble | None]
"""Number of the request, method, path."""


class BadNetwork:
    """The proxy; `requests` lists methods and paths, `ranges` where chunks belong."""

    def __init__(self, upstream: str, decide: Decide) -> None:
        self.requests: list[tuple[str, str]] = []
        self.ranges: list[str] = []
        self.bytes_to_registry = 0
        there = urllib.parse.urlsplit(upstream)
        network = self
        lock = threading.Lock()

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            timeout = 20

            def handle_any(self) -> None:
                with lock:
                    network.requests.append((self.command, self.path))
                    number = len(network.requests)
                    if self.command == "PATCH":
                        network.ranges.append(self.headers["Content-Range"])
                trouble = decide(number, self.command, self.path) or Trouble()
                length = int(self.headers.get("Content-Length") or 0)
                body = self.rfile.read(length if trouble.sent is None else min(trouble.sent, length))
                if trouble.status is not None:
                    self._answer(trouble.status, dict(trouble.headers), b"")
                    return
                connection = http.client.HTTPConnection(str(there.hostname), there.port, timeout=20)
                with contextlib.closing(connection):
                    connection.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
                    for name, value in self.headers.items():
                        connection.putheader(name, value)
                    connection.endheaders(body)
                    with lock:
                        network.bytes_to_registry += len(body)
                    if trouble.sent is not None:
                        self.close_connection = True
                        return
                    answer = connection.getresponse()
                    content = answer.read()
                status, headers = answer.status, dict(answer.getheaders())
                if trouble.answered is not None:
                    status, headers = trouble.answered(status, headers)
                self._answer(status, headers, content, trouble.received)

            def _answer(
                self, status: int, headers: dict[str, str], content: bytes, cut: int | None = None
            ) -> None:
                if cut == 0:
                    self.close_connection = True
                    return
                self.send_response_only(status)
                headers.setdefault("Content-Length", str(len(content)))
                for name, value in headers.items():
                    self.send_header(name, value)
                self.end_headers()
                with contextlib.suppress(OSError):
                    self.wfile.write(content[:cut] if self.command != "HEAD" else b"")
                if cut is not None:
                    self.close_connection = True

            do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = handle_any  # noqa: N815

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.address = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def __enter__(self) -> BadNetwork:
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
