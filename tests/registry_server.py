"""Registries for tests: Debian's `docker-registry`, and one that misbehaves on purpose.

Both listen on loopback ports that the system chooses, and are stopped by whoever started them.
"""

from __future__ import annotations

import contextlib
import http.server
import shutil
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

REGISTRY_PROGRAM = shutil.which("docker-registry")


@contextlib.contextmanager
def real_registry(folder: Path, *, htpasswd: str = "") -> Iterator[str]:
    """A docker-registry that keeps its images in `folder`; gives its address (http://127.0.0.1:port).

    `htpasswd` is the content of a password file (bcrypt), without which nobody is let in then.
    """
    assert REGISTRY_PROGRAM is not None
    port = _free_port()
    configuration = folder / "config.yml"
    (folder / "htpasswd").write_text(htpasswd)
    access = f"auth: {{htpasswd: {{realm: test, path: {folder / 'htpasswd'}}}}}\n" if htpasswd else ""
    configuration.write_text(
        f"version: 0.1\nlog: {{level: error, accesslog: {{disabled: true}}}}\n"
        f"storage: {{filesystem: {{rootdirectory: {folder / 'data'}}}}}\n"
        f"http: {{addr: 127.0.0.1:{port}}}\n{access}"
    )
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [REGISTRY_PROGRAM, "serve", str(configuration)], stdout=log, stderr=log, stdin=subprocess.DEVNULL
        )
    try:
        _wait_until_ready(f"http://127.0.0.1:{port}/v2/", process)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(10)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _wait_until_ready(url: str, process: subprocess.Popen[bytes]) -> None:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    for _ in range(1000):
        assert process.poll() is None, "docker-registry ended at once"
        try:
            opener.open(url, timeout=5).close()
        except urllib.error.HTTPError:
            return
        except OSError:
            time.sleep(0.01)
        else:
            return
    raise AssertionError("docker-registry does not become ready")


@dataclass
class Answer:
    """What the scripted server is to answer; `body` is cut after `cut_at` bytes if that is given."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    cut_at: int | None = None


@dataclass
class Request:
    path: str
    headers: Mapping[str, str]
    body: bytes = b""
    method: str = "GET"


class ScriptedServer:
    """An HTTP server whose every answer comes from `answer(request)`; `requests` lists what was asked.

    With `keep_alive` a connection serves many requests; `connections` counts them.
    """

    def __init__(self, answer: Callable[[Request], Answer], *, keep_alive: bool = False) -> None:
        self.requests: list[Request] = []
        self.connections = 0
        server = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1" if keep_alive else "HTTP/1.0"
            timeout = 10

            def setup(self) -> None:
                super().setup()
                server.connections += 1

            def do_GET(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                request = Request(self.path, dict(self.headers.items()), body, self.command)
                server.requests.append(request)
                given = answer(request)
                self.send_response(given.status)
                for name, value in given.headers.items():
                    self.send_header(name, value)
                if "Content-Length" not in given.headers:
                    self.send_header("Content-Length", str(len(given.body)))
                self.end_headers()
                with contextlib.suppress(OSError):
                    self.wfile.write(given.body[: given.cut_at] if self.command != "HEAD" else b"")
                    self.wfile.flush()
                if not keep_alive or given.cut_at is not None:
                    self.close_connection = True

            do_CONNECT = do_GET  # noqa: N815
            do_HEAD = do_GET  # noqa: N815
            do_POST = do_PUT = do_GET  # noqa: N815 - the server looks for these names

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self._server.server_address[1]
        self.address = f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def __enter__(self) -> ScriptedServer:
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
