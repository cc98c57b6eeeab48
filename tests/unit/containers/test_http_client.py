"""What the HTTP client does differently from urllib3 alone."""

from __future__ import annotations

import gzip
import http.client
import logging
import socket
from collections.abc import Callable, Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler

import pytest

from containers.http_client import HttpClient, Response
from tests.registry_server import Answer, Request, ScriptedServer
from tests.unit.runtime.storage.servers import threaded


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> Iterator[HttpClient]:
    monkeypatch.setenv("no_proxy", "*")
    with closing(HttpClient(5, plain_by_proxy=False)) as client:
        yield client


def ask(client: HttpClient, url: str, method: str = "GET") -> Response:
    def follow(_: Response, location: str) -> str:
        return location

    return client.request(method, url, {}, secrets={"Authorization": "secret"}, redirected=follow)


def test_a_redirect_that_is_followed_takes_no_credentials_along(client: HttpClient) -> None:
    with ScriptedServer(lambda _: Answer(200, b"there")) as elsewhere:
        to_elsewhere = Answer(307, headers={"Location": f"{elsewhere.address}/x"})
        with ScriptedServer(lambda _: to_elsewhere) as server, ask(client, server.address) as response:
            assert response.read(100) == b"there"
        assert server.requests[0].headers["Authorization"] == "secret"
        assert "Authorization" not in elsewhere.requests[0].headers


@pytest.mark.parametrize("sign", ["\\", "%5c", "@", "#@", "?@"])
def test_only_one_reading_of_an_address_counts(
    sign: str, client: HttpClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The host that is checked before a redirect is followed is the one that is connected to."""
    from urllib.parse import urlsplit

    names: list[str] = []

    def look_up(host: str, *_: object) -> list[object]:
        names.append(host)
        raise socket.gaierror(socket.EAI_NONAME, "no such name")

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    url = f"http://checked.invalid{sign}inside.invalid/"
    with pytest.raises((OSError, http.client.HTTPException)):
        ask(client, url)
    assert {name.lower() for name in names} <= {urlsplit(url).hostname}


def test_a_body_stays_compressed(client: HttpClient) -> None:
    """What a digest is of; and a small answer cannot become a very large one."""
    packed = gzip.compress(b"x" * 100_000)
    answer = Answer(200, packed, {"Content-Encoding": "gzip"})
    with ScriptedServer(lambda _: answer) as server, ask(client, server.address) as response:
        assert response.read(1 << 20) == packed


def test_a_body_that_is_shorter_than_promised_is_an_error_of_the_network(client: HttpClient) -> None:
    answer = Answer(200, b"x" * 10, cut_at=5)
    short = pytest.raises(http.client.HTTPException, match="5 bytes read, 5 more expected")
    with ScriptedServer(lambda _: answer) as server, ask(client, server.address) as response, short:
        response.read(100)


def test_an_error_is_that_of_the_socket(client: HttpClient) -> None:
    with ScriptedServer(lambda _: Answer()) as server:
        pass
    with pytest.raises(ConnectionRefusedError):
        ask(client, server.address)


def test_headers_that_cannot_be_parsed_do_not_reach_the_log(
    client: HttpClient, caplog: pytest.LogCaptureFixture
) -> None:
    class Forger(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.wfile.write(b"HTTP/1.0 200 OK\r\nA: b\r\nno header\r\nContent-Length: 0\r\n\r\n")

        def log_message(self, format: str, *args: object) -> None:
            pass

    with caplog.at_level(logging.WARNING), threaded(Forger) as url:
        ask(client, f"{url}/?signature=1").close()
    assert caplog.text == ""


def hanging_up(server: Callable[[], ScriptedServer]) -> Callable[[Request], Answer]:
    """Ends the connection before each answer but the first on it."""

    def answer(_: Request) -> Answer:
        if len(server().requests) == 2:
            raise ConnectionAbortedError
        return Answer(200, b"here")

    return answer


@pytest.mark.parametrize(("method", "requests"), [("GET", 3), ("POST", 2)])
def test_what_only_reads_is_sent_again_if_a_kept_connection_does_not_take_it(
    method: str, requests: int, client: HttpClient
) -> None:
    with ScriptedServer(hanging_up(lambda: server), keep_alive=True) as server:
        server._server.handle_error = lambda *_: None  # type: ignore[method-assign]
        with ask(client, server.address, method) as response:
            assert response.read(100) == b"here"
        if method == "GET":
            with ask(client, server.address, method) as response:
                assert response.read(100) == b"here"
        else:
            with pytest.raises(http.client.RemoteDisconnected):
                ask(client, server.address, method)
        assert len(server.requests) == requests
        assert server.connections == (2 if method == "GET" else 1)
