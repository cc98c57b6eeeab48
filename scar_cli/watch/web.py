"""The page of `scar report`, live: an HTTP server for the browser of this user.

Other users of the machine, and web pages in any browser on it, can connect to a loopback address. A request
is answered only if

1. its path begins with a random token, which only the terminal shows. Otherwise, the answer is always 404.
2. its `Host` is this server's. Stops DNS rebinding: a page whose own name points to 127.0.0.1.
3. it is not from a page of another origin (`Origin`, `Sec-Fetch-Site`), except for opening the page itself.
4. its method is GET.

Answers have no CORS headers, are not stored by caches, cannot be framed, and send no `Referer` with the token
to other sites. Scripts are limited by the policy of the page (`scar_cli/report/page.py`).
"""

from __future__ import annotations

import hmac
import json
import secrets
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from scar_cli.errors import UserError

Document = Mapping[str, Any]
"""The document of a report, see `scar_cli/report/document.py`."""
EVENTS = "events"
"""The relative URL of the server-sent events."""
_ADDRESS = "127.0.0.1"
_ALIVE_EVERY_S = 15.0
_ANSWER_WITHIN_S = 10.0
_CONNECTIONS = 32
_PROTECTION = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


class LivePage:
    """The latest document, for any number of browser tabs."""

    def __init__(self, port: int, document: Document, render: Callable[[Document], str]) -> None:
        """`render` writes the HTML of a document, in another thread."""
        self._document = document
        self._render = render
        self.token = secrets.token_urlsafe(32)
        self.url = f"http://{_ADDRESS}:{port}/{self.token}/"
        self.hosts = (f"{_ADDRESS}:{port}", f"localhost:{port}")
        self._changed = threading.Condition()
        self._message = ""
        self._number = 0
        self._is_over = False

    def html(self) -> str:
        """The page with the latest document."""
        return self._render(self._document)

    def publish(self, document: Document) -> None:
        """Send a document to all tabs. A slow tab only gets the latest one."""
        message = json.dumps(document, separators=(",", ":"), allow_nan=False)
        with self._changed:
            self._document = document
            self._message = message
            self._number += 1
            self._changed.notify_all()

    def end(self) -> None:
        """Tell the tabs that nothing more will be sent."""
        with self._changed:
            self._is_over = True
            self._changed.notify_all()

    def messages(self) -> Iterator[str | None]:
        """The messages from now on, the latest one at first; None after some seconds without one."""
        number = 0
        while True:
            with self._changed:
                if self._number == number and not self._is_over:
                    self._changed.wait(_ALIVE_EVERY_S)
                if self._is_over:
                    return
                message = self._message if self._number > number else None
                number = self._number
            yield message


@contextmanager
def serving(port: int, document: Document, render: Callable[[Document], str]) -> Iterator[LivePage]:
    """Serve the page of a document on a port of the loopback address; 0 is any free one.

    Raises:
        UserError: the port is not available.
    """
    try:
        server = _Server((_ADDRESS, port), _Handler)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise UserError(f"Port {port} cannot be used: {reason}", "Use another --port, or omit it") from None
    page = server.page = LivePage(server.server_port, document, render)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield page
    finally:
        page.end()
        server.shutdown()
        server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 2 * _CONNECTIONS
    block_on_close = False
    page: LivePage

    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler]) -> None:
        self._free = threading.BoundedSemaphore(_CONNECTIONS)
        super().__init__(address, handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        if self._free.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Do nothing: the browser has closed the connection."""


class _Handler(BaseHTTPRequestHandler):
    timeout = _ANSWER_WITHIN_S
    error_message_format = "%(code)d\n"
    error_content_type = "text/plain"
    server: _Server

    def version_string(self) -> str:
        return "scar"

    def log_message(self, *_words: Any) -> None:
        """Log nothing: the terminal shows the view, and paths contain the token."""

    def end_headers(self) -> None:
        for name, value in _PROTECTION.items():
            self.send_header(name, value)
        super().end_headers()

    def do_GET(self) -> None:
        page = self.server.page
        token, slash, name = self.path.removeprefix("/").partition("/")
        is_known = hmac.compare_digest(token.encode(), page.token.encode()) and slash
        if not is_known or not _is_allowed(self.headers.get_all, page.hosts, opens=name == ""):
            self.send_error(HTTPStatus.NOT_FOUND)
        elif name == "":
            self._answer("text/html; charset=utf-8", page.html().encode())
        elif name == EVENTS:
            self._stream(page)
        else:
            self.send_error(HTTPStatus.NOT_FOUND)

    def _answer(self, kind: str, content: bytes) -> None:
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _stream(self, page: LivePage) -> None:
        """Server-sent events, until the page is over or the tab is closed; the last one is empty."""
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        for message in page.messages():
            self.wfile.write(f"data: {message}\n\n".encode() if message is not None else b": alive\n\n")
        self.wfile.write(b"data: \n\n")


def _is_allowed(values: Callable[[str], list[str] | None], hosts: tuple[str, ...], *, opens: bool) -> bool:
    """Whether the headers are those of this user's tab. `opens`: the request is for the page itself."""
    host = [one.lower() for one in values("Host") or []]
    if len(host) != 1 or host[0] not in hosts:
        return False
    if any(origin != f"http://{host[0]}" for origin in values("Origin") or []):
        return False
    sites, modes = values("Sec-Fetch-Site") or [], values("Sec-Fetch-Mode") or []
    if all(site in ("same-origin", "none") for site in sites):
        return True
    return opens and modes == ["navigate"]  # such as a link in a terminal that is a web page
