"""Which requests of web pages come in, and how much of a request is kept in memory."""

from __future__ import annotations

import asyncio
import json
from collections.abc import MutableMapping
from typing import Any

import pytest

from local_cloud.access import gatekeeper, job_credentials
from local_cloud.access.gatekeeper import Gatekeeper
from local_cloud.access.signatures import SignatureError

FROM_PAGE = "Web pages may not call the embedded cloud"


def answer(**headers: str) -> str:
    """The message of the answer to an unsigned request with these headers."""
    status, body = ask("/bucket/key", **headers)
    assert status == 403
    return str(json.loads(body)["message"]) if body.startswith(b"{") else body.decode()


def ask(path: str, **headers: str) -> tuple[int, bytes]:
    """Status and body of the answer to an unsigned request."""
    sent: list[MutableMapping[str, Any]] = []

    async def serve(*_request: Any) -> None:
        raise AssertionError("an unsigned request was served")

    async def receive() -> MutableMapping[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    given = {"host": "127.0.0.1:4566", **{name.replace("_", "-"): value for name, value in headers.items()}}
    scope = {
        "type": "http",
        "method": "GET",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": [(name.encode(), value.encode()) for name, value in given.items()],
    }
    asyncio.run(Gatekeeper(serve, 4566)(scope, receive, send))
    return sent[0]["status"], sent[1]["body"]


def test_a_job_gets_its_credentials_and_a_web_page_does_not() -> None:
    path = job_credentials.offer(lambda: {"Token": "t"})
    try:
        assert ask(path) == (200, b'{"Token": "t"}')
        for from_page in ({"origin": "http://evil.example"}, {"sec_fetch_site": "cross-site"}):
            assert ask(path, **from_page)[0] == 403
    finally:
        job_credentials.withdraw(path)
    assert ask(path)[0] == 403


@pytest.mark.parametrize(
    ("headers", "from_page"),
    [
        ({"sec_fetch_site": "cross-site"}, True),
        ({"sec_fetch_site": "same-site"}, True),
        ({"sec_fetch_site": "same-origin"}, False),
        ({"sec_fetch_site": "none"}, False),
        ({"origin": "http://evil.example"}, True),
        ({"origin": "http://127.0.0.1:9999"}, True),
        ({"origin": "https://127.0.0.1:4566"}, True),
        ({"origin": "null"}, True),
        ({"origin": "http://127.0.0.1:4566"}, False),
        ({}, False),
    ],
)
def test_pages_of_other_origins_are_turned_away(headers: dict[str, str], from_page: bool) -> None:
    assert (answer(**headers) == FROM_PAGE) == from_page


@pytest.mark.parametrize(
    "host", ["evil.example:4566", "127.0.0.1:4567", "127.0.0.1", "127.0.0.1.evil.example:4566"]
)
def test_a_request_by_another_name_is_turned_away(host: str) -> None:
    assert answer(host=host).startswith("The embedded cloud is at 127.0.0.1:4566")


def test_a_body_is_kept_in_memory_up_to_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gatekeeper, "_MOST_BYTES", 10)

    def whole(*parts: bytes) -> bytes:
        left = list(parts)

        async def receive() -> MutableMapping[str, Any]:
            part = left.pop(0)
            return {"type": "http.request", "body": part, "more_body": bool(left)}

        return asyncio.run(gatekeeper._whole(receive))

    assert whole(b"12345", b"67890") == b"1234567890"
    with pytest.raises(SignatureError, match="at most 10 bytes"):
        whole(b"12345", b"67890", b"1")


def test_answers_bear_no_cors_headers_of_the_emulator() -> None:
    sent: list[MutableMapping[str, Any]] = []
    given = [(b"Access-Control-Allow-Origin", b"*"), (b"access-control-expose-headers", b"*"), (b"x", b"y")]

    async def serve(_scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": given})
        await send({"type": "http.response.body", "body": b"of the registry"})

    async def receive() -> MutableMapping[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": "GET",
        "path": "/v2/",
        "raw_path": b"/v2/",
        "query_string": b"",
        "headers": [(b"host", b"127.0.0.1:4566")],
    }
    asyncio.run(Gatekeeper(serve, 4566)(scope, receive, send))
    assert sent[0]["headers"] == [(b"x", b"y")]
    assert sent[1]["body"] == b"of the registry"
