"""Servers on loopback for the tests: a real WebDAV server, and one that speaks Onedata's CDMI as documented.

Both keep their files in a folder that the tests can look into, and can be told to fail (`Faults`).
"""

from __future__ import annotations

import json
import shutil
import ssl
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from cheroot import wsgi
from cheroot.ssl.builtin import BuiltinSSLAdapter
from wsgidav.wsgidav_app import WsgiDAVApp  # type: ignore[import-untyped]

LOGIN, PASSWORD = "ann", "pass: wörd+%40"
TOKEN = "MDAyMGxvY2F00aW9uIG96LAyL3Rt"


@dataclass
class Fault:
    """The next request of that method is answered with the status, before or after it was obeyed."""

    method: str
    status: int
    after: bool = False
    of: str = ""
    """Only of a path that ends so."""
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class Watch:
    """What a server was asked, what it is to fail, and what could be seen in its folder meanwhile."""

    root: Path
    faults: list[Fault] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    seen: dict[str, set[int]] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def reset(self) -> None:
        """Forget everything, files included."""
        for path in self.root.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        self.faults.clear()
        self.requests.clear()
        self.seen.clear()

    def request(self, method: str, path: str) -> Fault | None:
        """Note the request and what is visible at this moment; the fault that is due, if one is."""
        with self.lock:
            self.requests.append(f"{method} {path}")
            self.look()
            for fault in self.faults:
                if fault.method == method and path.endswith(fault.of):
                    self.faults.remove(fault)
                    return fault
        return None

    def look(self) -> None:
        for name, content in self.files().items():
            self.seen.setdefault(name, set()).add(len(content))

    def files(self, *, temporary: bool = False) -> dict[str, bytes]:
        """All files of the server by their names; those under temporary names only on demand."""
        found = {}
        for path in sorted(self.root.rglob("*")):
            if path.is_file() and (temporary or not path.name.startswith(".scar-")):
                try:
                    found[path.relative_to(self.root).as_posix()] = path.read_bytes()
                except FileNotFoundError:
                    continue  # renamed since
        return found


@dataclass
class Running:
    """A server that runs."""

    url: str
    watch: Watch


@contextmanager
def webdav_server(root: Path, *, certificate: tuple[Path, Path] | None = None) -> Iterator[Running]:
    """WsgiDAV below `/remote.php/dav`, with Basic authentication, in a thread."""
    root.mkdir(parents=True, exist_ok=True)
    watch = Watch(root)
    app = WsgiDAVApp(
        {
            "provider_mapping": {"/": str(root)},
            "mount_path": "/remote.php/dav",
            "simple_dc": {"user_mapping": {"*": {LOGIN: {"password": PASSWORD}}}},
            "http_authenticator": {"accept_basic": True, "accept_digest": False, "default_to_digest": False},
            "verbose": 0,
            "logging": {"enable": False},
        }
    )

    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        fault = watch.request(environ["REQUEST_METHOD"], environ["PATH_INFO"])
        if fault is not None and fault.after:
            for _ in app(environ, lambda *_: None):
                pass
        if fault is not None:
            rest = int(environ.get("CONTENT_LENGTH") or 0)
            while rest > 0 and not fault.after and (piece := environ["wsgi.input"].read(min(rest, 65536))):
                rest -= len(piece)
            start_response(f"{fault.status} Fault", list(fault.headers.items()))
            return [b""]
        answer: Iterable[bytes] = app(environ, start_response)
        return answer

    # The application is mounted below a prefix, as behind a reverse proxy.
    mounted = wsgi.PathInfoDispatcher({"/remote.php/dav": application})  # type: ignore[no-untyped-call]
    server = wsgi.Server(("127.0.0.1", 0), mounted, numthreads=8)
    if certificate is not None:
        server.ssl_adapter = BuiltinSSLAdapter(*map(str, certificate))
    server.error_log = lambda *_, **__: None  # type: ignore[method-assign]
    server.prepare()
    thread = threading.Thread(target=server.serve)
    thread.start()
    scheme = "http" if certificate is None else "https"
    try:
        yield Running(f"{scheme}://127.0.0.1:{server.bind_addr[1]}/remote.php/dav", watch)
    finally:
        server.stop()
        thread.join()


@contextmanager
def onedata_server(root: Path, space: str) -> Iterator[Running]:
    """What a Oneprovider's CDMI interface does with files, as its documentation and source have it."""
    (root / space).mkdir(parents=True, exist_ok=True)
    watch = Watch(root / space)

    class Cdmi(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_request(self) -> None:
            raw = unquote(urlsplit(self.path).path)
            fault = watch.request(self.command, raw)
            body = self.headers.get("Content-Length")
            self.left = int(body or 0)
            if fault is not None and not fault.after:
                return self.answer(fault.status, {}, fault.headers)
            if self.headers.get("X-Auth-Token") != TOKEN:
                status: tuple[int, Any] = (401, error("unauthorized"))
            elif not raw.startswith("/cdmi/"):
                status = (404, error("notFound"))
            else:
                status = self.obey(raw.removeprefix("/cdmi/"))
            if fault is not None:
                status = (fault.status, {})
            return self.answer(*status)

        do_GET = do_PUT = do_DELETE = handle_request  # noqa: N815

        def obey(self, path: str) -> tuple[int, Any]:  # noqa: PLR0911
            version = self.headers.get("X-CDMI-Specification-Version")
            kind = self.headers.get("Content-Type", "")
            file = root / path
            if (kind.startswith("application/cdmi") and version is None) or ".." in file.parts:
                return 400, error("missingRequiredValue")
            if path.endswith("/"):
                return self.container(file) if self.command == "PUT" else (404, error("notFound"))
            if file.is_dir():
                self.moved_to = f"https://{self.headers['Host']}{self.path}/"
                return 302, {}
            if self.command == "DELETE":
                if not file.exists():
                    return 404, {}
                file.unlink()
                return 204, {}
            if self.command == "GET":
                if not file.exists():
                    return 404, {}
                return (200, {"objectName": file.name}) if version else (200, file)
            if not file.parent.is_dir():
                return posix("enoent")
            if kind != "application/cdmi-object":
                return self.write(file)
            order = json.loads(self.rfile.read(self.left))
            self.left = 0
            if "move" not in order:
                return 500, error("internalServerError")
            if file.exists():  # the real one has no clause for it
                return 500, error("internalServerError")
            source = root / order["move"].lstrip("/")
            if not source.exists():
                return posix("enoent")
            source.replace(file)
            return 201, {"objectName": file.name}

        def container(self, folder: Path) -> tuple[int, Any]:
            if not folder.parent.is_dir():
                return posix("enoent")
            if folder.is_dir():
                return 204, {}
            if folder.parent == root:
                return posix("eacces")  # spaces are made elsewhere
            folder.mkdir()
            return 201, {"objectName": folder.name + "/"}

        def write(self, file: Path) -> tuple[int, Any]:
            there = file.exists()
            with file.open("wb") as target:
                while self.left > 0 and (piece := self.rfile.read(min(self.left, 65536))):
                    self.left -= len(piece)
                    target.write(piece)
            return (204 if there else 201), {}

        def answer(self, status: int, content: Any, headers: dict[str, str] | None = None) -> None:
            while self.left > 0 and (piece := self.rfile.read(min(self.left, 65536))):
                self.left -= len(piece)
            body = content.read_bytes() if isinstance(content, Path) else json.dumps(content).encode()
            if status == 204:
                body = b""
            self.send_response(status)
            for name, value in (headers or {}).items():
                self.send_header(name, value)
            if status == 302:
                self.send_header("Location", self.moved_to)
            if status != 204:
                self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with threaded(Cdmi) as url:
        yield Running(url, watch)


def error(name: str, **details: str) -> dict[str, Any]:
    return {"error": {"id": name, "description": f"Something is wrong: {name}.", "details": details}}


def posix(errno: str) -> tuple[int, Any]:
    """How a Oneprovider tells of an error of its file system."""
    return 400, {
        "error": {
            "id": "posix",
            "description": f"Operation failed with POSIX error: {errno}.",
            "details": {"errno": errno},
        }
    }


@contextmanager
def threaded(handler: type[BaseHTTPRequestHandler], tls: ssl.SSLContext | None = None) -> Iterator[str]:
    """A server of handlers on a free port."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"http{'s' if tls else ''}://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
