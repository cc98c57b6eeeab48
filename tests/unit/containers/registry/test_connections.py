"""Connections are used again, end cleanly, and go through proxies; layers are fetched ahead, in bounds."""

from __future__ import annotations

import gzip
import io
import threading
import time

import pytest

from containers.errors import ErrorKind, ExplainedError
from containers.image.origin import Layer
from containers.layers.reader import LAYERS_AHEAD, LayerReader, read_ahead
from containers.patience import ServerPatience
from containers.registry.client import RegistryRepository
from containers.registry.transport import HttpStatusError, Transport
from tests.registry_server import Answer, Request, ScriptedServer

QUICK = ServerPatience(timeout_s=5, attempts=2, first_pause_s=0.01)


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


def read(transport: Transport, url: str) -> bytes:
    with transport.open(url, {}, None) as response:
        return response.read(1 << 20)


def test_many_requests_need_one_connection() -> None:
    with ScriptedServer(lambda request: Answer(200, request.path.encode()), keep_alive=True) as server:
        transport = Transport("server", QUICK)
        assert [read(transport, f"{server.address}/{n}") for n in range(5)] == [b"/%d" % n for n in range(5)]
        transport.close()
        assert server.connections == 1


def test_errors_and_redirects_keep_the_connection() -> None:
    def answer(request: Request) -> Answer:
        if request.path == "/old":
            return Answer(307, b"moved", {"Location": "/new here"})
        return Answer(404, b"no") if request.path == "/missing" else Answer(200, request.path.encode())

    with ScriptedServer(answer, keep_alive=True) as server:
        transport = Transport("server", QUICK)
        with pytest.raises(HttpStatusError):
            read(transport, f"{server.address}/missing")
        assert read(transport, f"{server.address}/old") == b"/new%20here"
        transport.close()
        assert server.connections == 1


def test_an_answer_that_is_not_read_to_its_end_spoils_nothing() -> None:
    bodies = {"/long": b"x" * 3_000_000, "/short": b"right"}
    with ScriptedServer(lambda request: Answer(200, bodies[request.path]), keep_alive=True) as server:
        transport = Transport("server", QUICK)
        with transport.open(f"{server.address}/long", {}, None) as response:
            assert response.read1(10)
        assert read(transport, f"{server.address}/short") == b"right"
        transport.close()


def test_a_connection_that_the_server_has_closed_is_replaced_without_a_pause() -> None:
    # An answer that is "cut" at its very end: complete, and the connection closed without notice.
    with ScriptedServer(lambda _: Answer(200, b"whole", cut_at=5), keep_alive=True) as server:
        transport = Transport("server", ServerPatience(timeout_s=5, attempts=1))
        assert [read(transport, server.address) for _ in range(3)] == [b"whole"] * 3
        transport.close()
        assert server.connections == 3


def test_a_proxy_of_the_environment_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    with ScriptedServer(lambda _: Answer(200, b"by proxy"), keep_alive=True) as proxy:
        monkeypatch.setenv("http_proxy", f"http://me:p%40ss@127.0.0.1:{proxy.port}")
        transport = Transport("server", QUICK)
        assert read(transport, "http://registry.invalid/v2/") == b"by proxy"
        assert proxy.requests[0].path == "http://registry.invalid/v2/"
        assert proxy.requests[0].headers["Proxy-Authorization"] == "Basic bWU6cEBzcw=="
        transport.close()
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        with ScriptedServer(lambda _: Answer(200, b"straight")) as server:
            assert read(Transport("server", QUICK), server.address) == b"straight"


def test_https_goes_through_a_tunnel_and_a_refusal_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    with ScriptedServer(lambda _: Answer(407)) as proxy:
        monkeypatch.setenv("https_proxy", f"127.0.0.1:{proxy.port}")
        with pytest.raises(ExplainedError) as caught:
            read(Transport("registry registry.invalid", QUICK), "https://registry.invalid/v2/")
        assert caught.value.kind == "RegistryUnavailable"
        assert "407" in caught.value.cause
        assert proxy.requests[0].path == "registry.invalid:443"


@pytest.mark.parametrize(
    "location",
    [
        "http://[broken",
        "http://x:port/",
        "https:///nowhere",
        "http://",
        "http://a..b/",
        f"http://{'a' * 70}.invalid/",
    ],
)
def test_a_redirect_to_nonsense_is_an_error(location: str) -> None:
    with ScriptedServer(lambda _: Answer(302, headers={"Location": location})) as server:
        repository = RegistryRepository(server.address, "a", "image a", patience=QUICK)
        with pytest.raises(ExplainedError) as caught:
            repository.read_manifest("latest")
    assert caught.value.kind in ("RegistryError", "RegistryUnavailable")


# -- layers ahead


def layer(content: bytes) -> Layer:
    packed = gzip.compress(content)
    return Layer(len(packed), lambda: io.BytesIO(packed))


def drain(reader: LayerReader) -> bytes:
    content = b"".join(iter(lambda: reader.read(1 << 20), b""))
    reader.finish()
    return content


def layer_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "layer" and thread.is_alive()]


def wait_for(condition: object) -> None:
    until = time.monotonic() + 10
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < until
        time.sleep(0.005)


def test_the_next_layers_are_fetched_while_one_is_written() -> None:
    second_opened = threading.Event()

    class First(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            assert second_opened.wait(10)
            return super().read(size)

    def second() -> io.BytesIO:
        second_opened.set()
        return io.BytesIO(b"second")

    layers = [Layer(5, lambda: First(b"first")), Layer(6, second)]
    assert [drain(reader) for reader in read_ahead(layers, "x")] == [b"first", b"second"]
    wait_for(lambda: not layer_threads())


def test_not_all_layers_are_fetched_at_once() -> None:
    opened: list[int] = []

    def numbered(number: int) -> Layer:
        def opening() -> io.BytesIO:
            opened.append(number)
            return io.BytesIO(b"%d" % number)

        return Layer(1, opening)

    for number, reader in enumerate(read_ahead([numbered(n) for n in range(12)], "x")):
        assert drain(reader) == b"%d" % number
        assert len(opened) <= number + 1 + LAYERS_AHEAD
    assert sorted(opened) == list(range(12))


def test_what_waits_between_the_threads_is_bounded() -> None:
    produced = 0

    class Endless(io.RawIOBase):
        def read(self, size: int = -1, /) -> bytes:
            nonlocal produced
            produced += size
            return bytes(size)

    reader = LayerReader(Layer(1, Endless), "x")
    assert reader.read(1)
    seen = -1
    while produced != seen:  # until it stands still
        seen = produced
        time.sleep(0.05)
    assert produced < 24 << 20
    reader.close()
    wait_for(lambda: not layer_threads())


def test_a_layer_that_fails_ends_all_threads() -> None:
    broken = Layer(3, lambda: io.BytesIO(b"\x1f\x8b\x08 this is no gzip"))
    layers = [layer(b"a" * 10_000_000), broken, layer(b"c" * 50_000_000), layer(b"d")]
    readers = read_ahead(layers, "x")
    drain(next(readers))
    with pytest.raises(ExplainedError) as caught:
        drain(next(readers))
    readers.close()
    assert caught.value.kind == "BadImage"
    wait_for(lambda: not layer_threads())


def test_giving_up_does_not_wait_for_a_server_that_hangs() -> None:
    hang = threading.Event()

    class Hanging(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            hang.wait(30)
            return b""

    readers = read_ahead([layer(b"a"), Layer(1, Hanging), Layer(1, Hanging), Layer(1, Hanging)], "x")
    drain(next(readers))
    next(readers)
    started = time.monotonic()
    readers.close()
    assert time.monotonic() - started < 5
    hang.set()
    wait_for(lambda: not layer_threads())


def test_a_layer_that_cannot_be_opened_is_the_error_of_its_turn() -> None:
    def refuse() -> io.BytesIO:
        raise ExplainedError("gone", advice="", kind=ErrorKind.IMAGE_NOT_FOUND)

    readers = read_ahead([layer(b"a"), Layer(1, refuse)], "x")
    assert drain(next(readers)) == b"a"
    with pytest.raises(ExplainedError, match="gone"):
        drain(next(readers))
    readers.close()
