from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from containers.engines.network import forwarding
from containers.engines.network.forwarding import BUFFER_SIZE, Forwarder

Serve = Callable[[socket.socket], None]


@contextlib.contextmanager
def forwarded(serve: Serve) -> Iterator[tuple[Forwarder, tuple[str, int]]]:
    """A forwarder to a server that runs `serve` for each connection, and where the forwarder listens."""
    with socket.create_server(("127.0.0.1", 0)) as far, socket.create_server(("127.0.0.1", 0)) as near:

        def answer(connection: socket.socket) -> None:
            with connection, contextlib.suppress(OSError):
                serve(connection)

        def accept() -> None:
            with contextlib.suppress(OSError):
                while True:
                    threading.Thread(target=answer, args=(far.accept()[0],), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        address = near.getsockname()
        forwarder = Forwarder([(near, far.getsockname())])
        try:
            yield forwarder, address
        finally:
            forwarder.close()
            far.shutdown(socket.SHUT_RDWR)


def read_all(connection: socket.socket) -> bytes:
    parts = []
    while part := connection.recv(1 << 20):
        parts.append(part)
    return b"".join(parts)


def echo_after_end(connection: socket.socket) -> None:
    """Answer only when the other side has said that nothing more comes."""
    connection.sendall(read_all(connection))


def test_large_transfers_in_both_directions_arrive_unchanged_over_half_closed_connections() -> None:
    content = os.urandom(1 << 20) * 50
    with forwarded(echo_after_end) as (_, address), socket.create_connection(address) as client:
        client.sendall(content)
        client.shutdown(socket.SHUT_WR)
        assert read_all(client) == content


def test_many_connections_at_once_are_all_served_a_bounded_number_at_a_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(forwarding, "LARGEST_NUMBER", 8)
    most = 0

    def serve(connection: socket.socket) -> None:
        nonlocal most
        most = max(most, len(forwarder._connections))
        echo_after_end(connection)

    def ask(number: int) -> bool:
        content = f"{number}".encode() * 10_000
        with socket.create_connection(address) as client:
            client.sendall(content)
            client.shutdown(socket.SHUT_WR)
            return read_all(client) == content

    with forwarded(serve) as (forwarder, address), ThreadPoolExecutor(40) as pool:
        assert all(pool.map(ask, range(200)))
    assert 1 < most <= 8


def test_what_the_far_side_does_not_read_is_not_gathered() -> None:
    read = threading.Event()

    def serve(connection: socket.socket) -> None:
        read.wait()
        connection.sendall(str(len(read_all(connection))).encode())

    with forwarded(serve) as (forwarder, address), socket.create_connection(address) as client:
        client.settimeout(0.5)
        sent = 0
        with contextlib.suppress(TimeoutError):
            while sent < 1 << 30:
                sent += client.send(bytes(1 << 20))
        (connection,) = forwarder._connections
        assert sum(len(flow.pending) for flow in connection._flows) <= 2 * BUFFER_SIZE
        assert sent < 1 << 28  # what the kernel's own buffers hold
        read.set()
        client.settimeout(None)
        client.shutdown(socket.SHUT_WR)
        assert int(read_all(client)) == sent


def test_a_port_at_which_nobody_listens_closes_the_connection() -> None:
    with socket.socket() as free, socket.create_server(("127.0.0.1", 0)) as near:
        free.bind(("127.0.0.1", 0))
        address = near.getsockname()
        forwarder = Forwarder([(near, free.getsockname())])
        try:
            with socket.create_connection(address) as client, contextlib.suppress(ConnectionError):
                assert client.recv(1) == b""
        finally:
            forwarder.close()


def test_a_broken_connection_breaks_the_other_half_and_no_other_connection() -> None:
    gone = threading.Event()

    def serve(connection: socket.socket) -> None:
        if connection.recv(1) == b"x":
            with contextlib.suppress(ConnectionError):
                connection.recv(1)
            gone.set()
        else:
            connection.sendall(b"well")

    with forwarded(serve) as (_, address), socket.create_connection(address) as other:
        client = socket.create_connection(address)
        client.sendall(b"x")
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # close by RST
        client.close()
        assert gone.wait(10)
        other.sendall(b"y")
        assert read_all(other) == b"well"


def test_at_the_end_nothing_is_open_or_running() -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    threads = {thread.name for thread in threading.enumerate()}
    with socket.create_server(("127.0.0.1", 0)) as far, socket.create_server(("127.0.0.1", 0)) as near:
        address = near.getsockname()
        forwarder = Forwarder([(near, far.getsockname())])
        clients = [socket.create_connection(address) for _ in range(3)]
        served = [far.accept()[0] for _ in clients]
        forwarder.close()
        for connection in (*clients, *served):
            with contextlib.suppress(ConnectionError):
                assert connection.recv(1) == b""
            connection.close()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(address)
    assert len(list(Path("/proc/self/fd").iterdir())) == before
    assert {thread.name for thread in threading.enumerate()} <= threads


def test_when_descriptors_run_out_connections_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forwarding, "_RETRY_S", 0.01)
    refusals = 3
    real = socket.socket

    def scarce(*arguments: object, **more: object) -> socket.socket:
        nonlocal refusals
        if threading.current_thread().name == "forwarder" and refusals:
            refusals -= 1
            raise OSError(24, "Too many open files")
        return real(*arguments, **more)  # type: ignore[arg-type]

    with forwarded(echo_after_end) as (_, address):
        monkeypatch.setattr("containers.engines.network.forwarding.socket.socket", scarce)
        with socket.create_connection(address) as client:
            client.sendall(b"patient")
            client.shutdown(socket.SHUT_WR)
            assert read_all(client) == b"patient"
    assert refusals == 0
