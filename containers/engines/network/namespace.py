"""The outer side of the network of one container.

The helper creates a network namespace with only a loopback interface, and listens in it at the addresses that
should be reachable (`helper/network.py`). It sends the listening sockets to this side, which forwards
connections to the same addresses of this machine. A container therefore reaches those, but neither other
services on this machine's loopback interface nor its abstract Unix sockets. Connections to the outside are
added if a program for them is installed.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Sequence

from containers.engines.contract import CUT_OFF, SHARED
from containers.engines.network.forwarding import Address, Forwarder
from containers.engines.network.outgoing import INSTALL, NoWayOut, Outgoing

_LONGEST_ANSWER = 4096


class ContainerNetwork:
    """The outer side, in a thread, for the process `helper` at the other end of `channel`.

    `host_ports` of this machine become reachable; `outgoing` is the program for connections to the outside,
    if there is one. `on_network` receives the helper's process id when the namespace exists.
    """

    def __init__(
        self,
        channel: socket.socket,
        helper: int,
        host_ports: Sequence[Address],
        outgoing: str | None,
        on_network: Callable[[int], None] | None = None,
    ) -> None:
        self._channel = channel
        self._helper = helper
        self._host_ports = host_ports
        self._outgoing = Outgoing(outgoing) if outgoing else None
        self._on_network = on_network
        self._forwarder: Forwarder | None = None
        self._report = b""
        self._answered = threading.Event()
        self.text = f"{CUT_OFF} (to allow them, {INSTALL})"
        """A description of the network; final when the program runs."""
        self._thread = threading.Thread(target=self._serve, name="network", daemon=True)
        self._thread.start()

    def early_report(self) -> bytes:
        """Wait for the helper's message about its network. Any other message is the beginning of its report:
        it failed before it set up the network. The caller may read the channel after this."""
        self._answered.wait()
        return self._report

    def close(self) -> None:
        """Cut everything that leads out of the container. The helper has ended."""
        if self._outgoing is not None:
            self._outgoing.give_up()
        self._thread.join()
        if self._outgoing is not None:
            self._outgoing.close()
        if self._forwarder is not None:
            self._forwarder.close()

    def _serve(self) -> None:
        try:
            try:
                mine = self._make()
            finally:
                self._answered.set()
            if mine and self._on_network is not None:
                self._on_network(self._helper)
            if mine and self._outgoing is not None:
                self._outgoing.connect(self._helper)
                self.text = f"own, with connections to the outside by {self._outgoing.name}"
        except NoWayOut as reason:
            self.text = f"{CUT_OFF} ({reason})"
        finally:
            with contextlib.suppress(OSError):  # the helper has ended
                self._channel.send(b"x")

    def _make(self) -> bool:
        """Whether there is a network namespace."""
        try:
            answer, descriptors, _, _ = socket.recv_fds(self._channel, _LONGEST_ANSWER, len(self._host_ports))
        except OSError:
            return False  # the helper has ended; its exit status shows how
        line, _, self._report = answer.partition(b"\n")
        if line == b"network":
            listeners = [socket.socket(fileno=descriptor) for descriptor in descriptors]
            self._forwarder = Forwarder(zip(listeners, self._host_ports, strict=True))
            return True
        if line.startswith(b"no_network "):
            self.text = f"{SHARED}: {line.decode('utf-8', 'replace').partition(' ')[2]}"
        else:
            self._report = answer
        return False
