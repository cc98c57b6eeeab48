"""Forwards TCP connections from a listening socket to an address of this machine.

A listener may belong to another network namespace. Connections accepted from it do, too, so a program in that
namespace reaches only the intended address. Bytes are not inspected. Memory is bounded: a connection has one
buffer of `BUFFER_SIZE` in each direction, and no more than `LARGEST_NUMBER` are open at once; further ones
wait in the listener's queue.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import socket
import threading
from collections.abc import Iterable

BUFFER_SIZE = 64 * 1024
LARGEST_NUMBER = 256
"""Connections at once: a container must not use up the memory and file descriptors of its runner."""

_RETRY_S = 0.1
READ, WRITE = selectors.EVENT_READ, selectors.EVENT_WRITE
Address = tuple[str, int]


class Forwarder:
    """Serves listeners, in a thread of its own, until it is closed."""

    def __init__(self, listeners: Iterable[tuple[socket.socket, Address]]) -> None:
        self._targets = dict(listeners)
        self._selector = selectors.DefaultSelector()
        self._connections: set[_Connection] = set()
        self._accepting = False
        self._stop, self._stopped = os.pipe()
        self._selector.register(self._stop, READ)
        for listener in self._targets:
            listener.setblocking(False)
        self._accept(True)
        self._thread = threading.Thread(target=self._run, name="forwarder", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Cut all connections. When this returns, nothing is open or running any more."""
        os.close(self._stopped)
        self._thread.join()
        for connection in self._connections:
            connection.close()
        for listener in self._targets:
            listener.close()
        self._selector.close()
        os.close(self._stop)

    def _run(self) -> None:
        while True:
            full = len(self._connections) >= LARGEST_NUMBER
            for key, _ in self._selector.select(None if self._accepting or full else _RETRY_S):
                if key.fd == self._stop:
                    return
                if isinstance(key.data, _Connection):
                    if key.data in self._connections and not key.data.advance():
                        key.data.close()
                        self._connections.discard(key.data)
                elif self._accepting:
                    self._open(key.data)
            self._accept(len(self._connections) < LARGEST_NUMBER)

    def _accept(self, wanted: bool) -> None:
        if wanted != self._accepting:
            for listener in self._targets:
                if wanted:
                    self._selector.register(listener, READ, listener)
                else:
                    self._selector.unregister(listener)
            self._accepting = wanted

    def _open(self, listener: socket.socket) -> None:
        """Accept one connection. If there are no descriptors left, wait a little: the queue keeps it."""
        address = self._targets[listener]
        try:
            outer = socket.socket(socket.AF_INET6 if ":" in address[0] else socket.AF_INET)
        except OSError:
            self._accept(False)
            return
        try:
            inner, _ = listener.accept()
        except BlockingIOError:
            outer.close()  # it has already disconnected
        except OSError:
            outer.close()
            self._accept(False)
        else:
            self._connections.add(_Connection(self._selector, inner, outer, address))
            if len(self._connections) >= LARGEST_NUMBER:
                self._accept(False)


class _Connection:
    """Two sockets, and the data in transit between them in both directions."""

    def __init__(
        self, selector: selectors.BaseSelector, inner: socket.socket, outer: socket.socket, address: Address
    ) -> None:
        self._selector = selector
        self._sockets = (inner, outer)
        self._flows = (_Flow(inner, outer), _Flow(outer, inner))
        self._connected = False
        for end in self._sockets:
            end.setblocking(False)
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with contextlib.suppress(OSError):  # BlockingIOError, or a refusal, which `advance` finds again
            outer.connect(address)
        selector.register(outer, WRITE, self)

    def advance(self) -> bool:
        """Move as much as moves without waiting. False if the connection has ended, or is broken."""
        if not self._connected:
            if self._sockets[1].getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                return False
            self._connected = True
        try:
            for flow in self._flows:
                flow.advance()
        except OSError:
            return False
        there, back = self._flows
        if there.finished and back.finished:
            return False
        for source, sink, end in ((there, back, self._sockets[0]), (back, there, self._sockets[1])):
            self._watch(end, (READ if source.wants_input else 0) | (WRITE if sink.pending else 0))
        return True

    def close(self) -> None:
        """Close both sockets."""
        for end in self._sockets:
            self._watch(end, 0)
            end.close()

    def _watch(self, end: socket.socket, events: int) -> None:
        """Not watched without interest in events: a hang-up would be reported repeatedly."""
        watched = end.fileno() in self._selector.get_map()
        if events and watched:
            if self._selector.get_key(end).events != events:
                self._selector.modify(end, events, self)
        elif events:
            self._selector.register(end, events, self)
        elif watched:
            self._selector.unregister(end)


class _Flow:
    """One direction: data that was read from `source` and not yet written to `sink`."""

    def __init__(self, source: socket.socket, sink: socket.socket) -> None:
        self._source = source
        self._sink = sink
        self.pending = memoryview(b"")
        self._ended = False
        self.finished = False
        """All data has been forwarded, and the end of the stream, too."""

    @property
    def wants_input(self) -> bool:
        """Nothing is read before earlier data is written: that bounds the memory."""
        return not self.pending and not self._ended

    def advance(self) -> None:
        """Read, write, pass a half-closed connection on as such. Raises OSError if the connection broke."""
        with contextlib.suppress(BlockingIOError):
            if self.wants_input:
                self.pending = memoryview(self._source.recv(BUFFER_SIZE))
                self._ended = not self.pending
            if self.pending:
                self.pending = self.pending[self._sink.send(self.pending) :]
        if self._ended and not self.finished:
            self._sink.shutdown(socket.SHUT_WR)
            self.finished = True
