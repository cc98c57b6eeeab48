"""A server on loopback for a few calls of AWS, whose answers each test decides."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest


class AwsHandler(BaseHTTPRequestHandler):
    """Answers as AWS does on the wire. Tests add `do_POST` and the like."""

    def answer(self, status: int, body: bytes, error: str = "") -> None:
        """Send an answer; `error` is a code of AWS."""
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        if error:
            self.send_header("x-amzn-ErrorType", error)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Print nothing."""


@contextmanager
def aws_endpoint(handler: type[AwsHandler], monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Serve until the end of the block. The environment names its address, which is also returned."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    endpoint = f"http://127.0.0.1:{server.server_port}"
    for name, value in {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    try:
        yield endpoint
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
