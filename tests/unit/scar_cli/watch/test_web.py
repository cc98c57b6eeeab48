"""The server of `scar watch --web`: what it answers, and to whom."""

from __future__ import annotations

import http.client
import socket
import threading
from collections.abc import Iterator

import pytest

from scar_cli.errors import UserError
from scar_cli.watch import web
from scar_cli.watch.web import Document, LivePage, serving


def html(document: Document) -> str:
    return f"<!doctype html><title>live ü {document['n']}</title>"


@pytest.fixture
def page() -> Iterator[LivePage]:
    with serving(0, {"n": 0}, html) as live:
        yield live


def port_of(page: LivePage) -> int:
    return int(page.hosts[0].rpartition(":")[2])


def asked(page: LivePage, path: str, method: str = "GET", **headers: str) -> tuple[int, dict[str, str], str]:
    connection = http.client.HTTPConnection("127.0.0.1", port_of(page), timeout=10)
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request(method, path, headers=names)
    answer = connection.getresponse()
    body = "" if answer.getheader("Content-Type") == "text/event-stream" else answer.read().decode()
    connection.close()
    return answer.status, {name.lower(): value for name, value in answer.getheaders()}, body


def test_the_page_is_for_whom_knows_its_token(page: LivePage) -> None:
    status, headers, body = asked(page, f"/{page.token}/")
    assert (status, body) == (200, html({"n": 0}))
    assert page.url == f"http://127.0.0.1:{port_of(page)}/{page.token}/"
    assert headers["cache-control"] == "no-store"
    assert headers["content-security-policy"] == "frame-ancestors 'none'"
    assert headers["referrer-policy"] == "no-referrer"
    assert not any(name.startswith("access-control-") for name in headers)


@pytest.mark.parametrize(
    "path",
    ["/", "/events", "/x/", "//", "/{token}", "/{token}x/", "/{token}/other", "/{token}/../events", "/é/"],
)
def test_any_other_path_is_not_found(page: LivePage, path: str) -> None:
    with socket.create_connection(("127.0.0.1", port_of(page)), timeout=10) as connection:
        named = path.replace("{token}", page.token)
        connection.sendall(f"GET {named} HTTP/1.0\r\nHost: {page.hosts[0]}\r\n\r\n".encode())
        answer = b"".join(iter(lambda: connection.recv(65536), b"")).decode()
    assert answer.startswith("HTTP/1.0 404 ")
    assert page.token not in answer


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "localhost:{port}"}, 200),
        ({"Host": "attacker.example:{port}"}, 404),
        ({"Host": "127.0.0.1"}, 404),
        ({"Origin": "http://127.0.0.1:{port}"}, 200),
        ({"Origin": "http://127.0.0.1:1"}, 404),
        ({"Origin": "null"}, 404),
        ({"Sec_Fetch_Site": "same-origin"}, 200),
        ({"Sec_Fetch_Site": "none", "Sec_Fetch_Mode": "navigate"}, 200),
        ({"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "no-cors"}, 404),
        ({"Sec_Fetch_Site": "same-site", "Sec_Fetch_Mode": "cors"}, 404),
        ({"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "navigate"}, 404),
    ],
)
def test_pages_of_other_origins_get_no_events(page: LivePage, headers: dict[str, str], status: int) -> None:
    named = {name: value.replace("{port}", str(port_of(page))) for name, value in headers.items()}
    assert asked(page, f"/{page.token}/events", **named)[0] == status


def test_a_link_on_another_page_may_open_the_page(page: LivePage) -> None:
    navigates = {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "navigate"}
    assert asked(page, f"/{page.token}/", **navigates)[0] == 200


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "HEAD", "TRACE"])
def test_only_get_is_answered(page: LivePage, method: str) -> None:
    status, headers, _body = asked(page, f"/{page.token}/", method, Origin="http://attacker.example")
    assert status == 501
    assert not any(name.startswith("access-control-") for name in headers)


def test_each_tab_gets_the_latest_message_and_those_that_follow(page: LivePage) -> None:
    page.publish({"n": 1})
    page.publish({"n": 2})
    assert asked(page, f"/{page.token}/")[2] == html({"n": 2})
    connection = http.client.HTTPConnection("127.0.0.1", port_of(page), timeout=10)
    connection.request("GET", f"/{page.token}/events")
    answer = connection.getresponse()
    assert answer.getheader("Content-Type") == "text/event-stream"
    assert answer.readline() == b'data: {"n":2}\n'
    page.publish({"n": 3})
    assert [answer.readline() for _line in range(2)] == [b"\n", b'data: {"n":3}\n']
    page.end()
    assert answer.read() == b"\ndata: \n\n"


def test_a_silent_stream_is_kept_alive(page: LivePage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web, "_ALIVE_EVERY_S", 0.05)
    connection = http.client.HTTPConnection("127.0.0.1", port_of(page), timeout=10)
    connection.request("GET", f"/{page.token}/events")
    assert connection.getresponse().readline() == b": alive\n"
    connection.close()


def test_too_many_connections_are_closed_and_later_ones_answered(
    page: LivePage,
) -> None:
    held = [socket.create_connection(("127.0.0.1", port_of(page)), timeout=10) for _ in range(33)]
    assert held[-1].recv(1) == b""
    for one in held:
        one.close()
    for _attempt in range(50):
        try:
            assert asked(page, f"/{page.token}/")[0] == 200
            break
        except (ConnectionError, http.client.HTTPException):
            threading.Event().wait(0.05)
    else:
        pytest.fail("the server does not answer any longer")


def test_a_port_that_is_in_use_is_an_error(page: LivePage) -> None:
    port = port_of(page)
    with (
        pytest.raises(UserError, match=f"^Port {port} cannot be used: address already in use"),
        serving(port, {"n": 0}, html),
    ):
        pass


def test_the_server_listens_on_loopback_only(page: LivePage) -> None:
    host = socket.gethostname()
    addresses = {one[4][0] for one in socket.getaddrinfo(host, None, socket.AF_INET)} - {"127.0.0.1"}
    for address in addresses:
        if not str(address).startswith("127."):
            with pytest.raises(OSError):
                socket.create_connection((str(address), port_of(page)), timeout=5)
