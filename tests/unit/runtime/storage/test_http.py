"""Addresses, redirects, TLS, pauses."""

from __future__ import annotations

import select
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from containers.errors import ExplainedError
from runtime.config import StorageConnection
from runtime.storage import http
from runtime.storage.address import ServerAddress
from runtime.storage.contract import StoredObject, Upload
from runtime.storage.webdav import WebDavStorage
from tests.unit.runtime.storage.places import webdav_place
from tests.unit.runtime.storage.servers import Fault, Running, threaded, webdav_server


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("dav.example.org", "https://dav.example.org"),
        ("dav.example.org:8443/", "https://dav.example.org:8443"),
        ("https://dav.example.org/remote.php/dav/", "https://dav.example.org/remote.php/dav"),
        ("http://10.0.0.1:8080", "http://10.0.0.1:8080"),
        ("localhost:8080", "https://localhost:8080"),
        ("[::1]:99", "https://[::1]:99"),
        ("https://h/a b".replace(" ", "%20"), "https://h/a%20b"),
    ],
)
def test_address_is_read_as_it_is_meant(text: str, url: str) -> None:
    assert ServerAddress.parse(text, "hostname").url == url


@pytest.mark.parametrize(
    "text",
    [
        "",
        "https://",
        "ftp://h",
        "file:///etc/passwd",
        "https://ann:top-secret@h",
        "https://top-secret@h",
        "https://h?top-secret",
        "https://h#top-secret",
        "https://h:99999",
        "https://h:x",
        "h\r\nX-Top-Secret: 1",
        "https://h /a",
        "https://[::1",
        "hö",
    ],
)
def test_bad_address_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(ExplainedError) as caught:
        ServerAddress.parse(text, "hostname of webdav.home")
    assert caught.value.kind == "Misconfigured"
    assert "hostname of webdav.home" in str(caught.value)
    assert "secret" not in str(caught.value).lower()


@pytest.fixture
def thief() -> Iterator[tuple[str, list[str]]]:
    """A server that notes what it is sent."""
    notes: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            notes.append(f"{self.command} {self.path} {self.headers}")
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_PUT = do_MKCOL = do_GET  # noqa: N815

        def log_message(self, format: str, *args: object) -> None:
            pass

    with threaded(Handler) as url:
        yield url, notes


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("method", ["GET", "PUT", "MKCOL"])
def test_redirect_to_another_server_is_not_followed(
    status: int, method: str, dav: Running, thief: tuple[str, list[str]], tmp_path: Path
) -> None:
    elsewhere, notes = thief
    place = webdav_place(dav)
    if method != "MKCOL":
        place.upload(tmp_path, a=b"1")
    dav.watch.faults.append(Fault(method, status, headers={"Location": f"{elsewhere}/x?signature=abc"}))
    with pytest.raises(ExplainedError) as caught:
        if method == "GET":
            place.download("out/a", tmp_path / "down")
        else:
            place.upload(tmp_path, b=b"2")
    assert elsewhere in str(caught.value)
    assert "signature" not in str(caught.value)
    assert notes == []


def test_redirect_of_a_read_on_the_same_server_is_followed(dav: Running, tmp_path: Path) -> None:
    place = webdav_place(dav)
    place.upload(tmp_path, a=b"1", b=b"2")
    path = "/remote.php/dav/out/b"
    dav.watch.faults.append(Fault("GET", 302, headers={"Location": path}))
    place.download("out/a", tmp_path / "down")
    assert (tmp_path / "down").read_bytes() == b"2"
    dav.watch.faults.append(Fault("PUT", 307, headers={"Location": path}))
    with pytest.raises(ExplainedError, match="redirects a PUT to another path"):
        place.upload(tmp_path, c=b"3" * 1000)
    assert dav.watch.files(temporary=True) == {"out/a": b"1", "out/b": b"2"}


def test_redirects_in_circles_end(dav: Running, tmp_path: Path) -> None:
    dav.watch.faults += [Fault("GET", 302, headers={"Location": "/remote.php/dav/out/a"})] * 9
    with pytest.raises(ExplainedError, match="redirects in a loop"):
        webdav_place(dav).download("out/a", tmp_path / "down")


def test_certificate_is_checked(
    certificate: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with webdav_server(tmp_path / "dav", certificate=certificate) as running:
        place = webdav_place(running)
        with pytest.raises(ExplainedError) as caught:
            place.upload(tmp_path, a=b"1")
        assert (caught.value.kind, "untrusted certificate" in str(caught.value)) == (
            "StorageRefused",
            True,
        )
        assert running.watch.requests == []
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))
        place.upload(tmp_path, a=b"1")
        assert running.watch.files() == {"out/a": b"1"}


def test_proxy_of_the_environment_is_a_tunnel_that_sees_no_credentials(
    certificate: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    heads: list[str] = []

    class Tunnel(BaseHTTPRequestHandler):
        def do_CONNECT(self) -> None:
            heads.append(f"{self.path} {self.headers}")
            host, _, port = self.path.rpartition(":")
            with socket.create_connection((host, int(port))) as there:
                self.send_response(200)
                self.end_headers()
                poll = select.poll()
                ways = {
                    self.connection.fileno(): (self.connection, there),
                    there.fileno(): (there, self.connection),
                }
                for descriptor in ways:
                    poll.register(descriptor, select.POLLIN)
                while True:
                    source, target = ways[poll.poll()[0][0]]
                    if not (piece := source.recv(65536)):
                        return
                    target.sendall(piece)

        def log_message(self, format: str, *args: object) -> None:
            pass

    monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))
    with webdav_server(tmp_path / "dav", certificate=certificate) as running, threaded(Tunnel) as proxy:
        monkeypatch.setenv("https_proxy", proxy.replace("//", "//user:pass@"))
        webdav_place(running).upload(tmp_path, a=b"1")
        assert running.watch.files() == {"out/a": b"1"}
        through = list(heads)
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        webdav_place(running).upload(tmp_path, a=b"1")
    assert through
    assert heads == through
    assert all("Proxy-Authorization: Basic dXNlcjpwYXNz" in head for head in heads)
    assert not any("\nAuthorization" in head for head in heads)


def test_connection_that_ends_early_is_tried_again(tmp_path: Path) -> None:
    asked: list[str] = []

    class Cut(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(200)
            self.send_header("Content-Length", "10")
            self.end_headers()
            self.wfile.write(b"half!" if len(asked) < 3 else b"the whole!")

        def log_message(self, format: str, *args: object) -> None:
            pass

    with threaded(Cut) as url:
        storage = WebDavStorage(
            StorageConnection("webdav.x", {}), {"hostname": url, "login": "a", "password": "b"}
        )
        target = tmp_path / "down"
        assert storage.download(StoredObject("b", "k"), target, on_size=lambda _: None) == 10
    assert target.read_bytes() == b"the whole!"
    assert len(asked) == 3


def test_server_that_refuses_a_large_file_early_is_understood(tmp_path: Path) -> None:
    class Refuses(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_PUT(self) -> None:  # answers, and never reads the body
            self.send_response(507)
            self.send_header("Content-Length", "0")
            self.send_header("Connection", "close")
            self.end_headers()
            self.close_connection = True

        def do_MKCOL(self) -> None:
            self.send_response(405)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def do_DELETE(self) -> None:
            self.do_MKCOL()

        def log_message(self, format: str, *args: object) -> None:
            pass

    file = tmp_path / "large"
    with file.open("wb") as sparse:
        sparse.truncate(20_000_000)
    with threaded(Refuses) as url:
        storage = WebDavStorage(
            StorageConnection("webdav.x", {}), {"hostname": url, "login": "a", "password": "b"}
        )
        with pytest.raises(ExplainedError) as caught:
            storage.upload([Upload(file, "b", "k", 20_000_000)])
    # A reset may overtake the answer; then the attempts are used up.
    assert caught.value.kind in ("StorageFull", "UploadFailed")


def test_pauses_grow_and_the_server_may_ask_for_longer_ones() -> None:
    patience = replace(http.PATIENCE, first_pause_s=0.25)
    for failures, longest in ((1, 0.25), (2, 0.5), (3, 1.0), (4, 2.0), (20, 10.0)):
        for _ in range(20):
            assert longest / 2 <= patience.pause_s(failures) <= longest
    assert patience.pause_s(1, "3") == 3
    assert patience.pause_s(1, "86400") == patience.longest_pause_s == 10
    assert 3 < patience.pause_s(1, formatdate(time.time() + 5, usegmt=True)) <= 5
    assert patience.pause_s(1, "soon") <= 0.25


def test_retry_after_is_obeyed(dav: Running, tmp_path: Path) -> None:
    dav.watch.faults.append(Fault("MKCOL", 429, headers={"Retry-After": "1"}))
    started = time.monotonic()
    webdav_place(dav).upload(tmp_path, a=b"1")
    assert time.monotonic() - started >= 1


def test_own_disk_that_is_full_is_not_blamed_on_the_server(dav: Running, tmp_path: Path) -> None:
    place = webdav_place(dav)
    place.upload(tmp_path, a=b"1" * 100_000)
    before = len(dav.watch.requests)
    with pytest.raises(OSError, match="No space left"):
        place.connect().download(StoredObject("out", "a"), Path("/dev/full"), on_size=lambda _: None)
    assert len(dav.watch.requests) == before + 1


def test_name_that_the_server_takes_for_another_is_an_error(dav: Running, tmp_path: Path) -> None:
    """WsgiDAV decodes a Destination before it splits it."""
    with pytest.raises(ExplainedError, match="stored the file under another name"):
        webdav_place(dav).upload_all(tmp_path, {"out/a?b": b"1"})


def test_uploads_run_in_parallel(dav: Running, tmp_path: Path) -> None:
    together = threading.Barrier(4, timeout=20)
    request = dav.watch.request

    def wait(method: str, path: str) -> Fault | None:
        if method == "PUT":
            together.wait()
        return request(method, path)

    dav.watch.request = wait  # type: ignore[method-assign]
    try:
        webdav_place(dav).upload(tmp_path, a=b"1", b=b"2", c=b"3", d=b"4")
    finally:
        dav.watch.request = request  # type: ignore[method-assign]
    assert len(dav.watch.files()) == 4
