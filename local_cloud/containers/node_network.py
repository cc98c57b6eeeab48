"""The network of a multi-node job: its containers reach each other at addresses of their own.

Each container has a network namespace (`containers/engines/network`). The process that runs the main node
makes one more, with a bridge, and gives each node an interface `eth0` that is connected to it. Without
privileges, all of this happens in a user namespace of the main node's process, which the processes of the
other nodes join. Nothing leads from this network to another one.

The messages to the kernel are those of rtnetlink(7).
"""

from __future__ import annotations

import os
import signal
import socket
import struct
import threading
from collections.abc import Callable, Mapping

from containers.engines.helper.kernel import (
    CLONE_NEWNET,
    CLONE_NEWUSER,
    StepFailed,
    libc,
    map_one_user,
    unshare,
)

_BRIDGE, _INTERFACE = b"bridge", b"eth0"
_PREFIX_LENGTH = 16
_RTM_NEWLINK, _RTM_NEWADDR = 16, 20
_NLM_F_REQUEST, _NLM_F_ACK, _NLM_F_EXCL, _NLM_F_CREATE = 1, 4, 0x200, 0x400
_IFF_UP = 1
_IFLA_IFNAME, _IFLA_MASTER, _IFLA_LINKINFO, _IFLA_NET_NS_PID = 3, 10, 18, 19
_IFLA_INFO_KIND, _IFLA_INFO_DATA, _VETH_INFO_PEER = 1, 2, 1
_IFA_ADDRESS, _IFA_LOCAL, _IFA_BROADCAST = 1, 2, 4
_OK = b"ok"


class NodeNetworkError(Exception):
    """The network cannot be made; the text is the reason."""


def address_of(node: int) -> str:
    """The IPv4 address of a node in the network of its job."""
    return f"10.111.{node // 250}.{node % 250 + 1}"


class NodeNetwork:
    """The network of a job, as the process of one of its nodes holds it."""

    def __init__(self, bridge: int) -> None:
        self._bridge = bridge
        """A descriptor of the network namespace with the bridge."""

    @staticmethod
    def make() -> NodeNetwork:
        """Make it. This process must have a single thread. Raises NodeNetworkError."""
        try:
            if os.geteuid() != 0:
                user = os.geteuid(), os.getegid()
                unshare(CLONE_NEWUSER, "a user namespace is")
                map_one_user(*user, outside=user)
            return NodeNetwork(_namespace_with_bridge())
        except (OSError, StepFailed) as error:
            raise NodeNetworkError(f"the network of the nodes cannot be created: {error}") from error

    @staticmethod
    def join(paths: Mapping[str, str]) -> NodeNetwork:
        """Join the network of the main node, see `paths`. This process must have a single thread.

        Raises:
            NodeNetworkError: the main node has ended, or the kernel refuses.
        """
        try:
            bridge = os.open(paths["network"], os.O_RDONLY)
            if os.geteuid() != 0:
                _enter(os.open(paths["user"], os.O_RDONLY), CLONE_NEWUSER)
            return NodeNetwork(bridge)
        except OSError as error:
            raise NodeNetworkError(f"the network of the nodes cannot be joined: {error}") from error

    def paths(self) -> Mapping[str, str]:
        """Where the processes of other nodes find it."""
        process = os.getpid()
        return {"network": f"/proc/{process}/fd/{self._bridge}", "user": f"/proc/{process}/ns/user"}

    def connect(self, process: int, address: str) -> None:
        """Give the network namespace of a process the interface `eth0` with an address.

        Raises:
            NodeNetworkError: the kernel refuses.
        """
        in_bridge = f"n{process}".encode()

        def connect_bridge() -> None:
            _enter(self._bridge, CLONE_NEWNET)
            peer = _link(0) + _attribute(_IFLA_IFNAME, _INTERFACE + b"\0")
            peer += _attribute(_IFLA_NET_NS_PID, struct.pack("=I", process))
            _create_link(in_bridge, b"veth", _attribute(_VETH_INFO_PEER, peer))
            master = struct.pack("=I", socket.if_nametoindex(_BRIDGE.decode()))
            _request(
                _RTM_NEWLINK,
                _link(socket.if_nametoindex(in_bridge.decode()), up=True) + _attribute(_IFLA_MASTER, master),
            )

        def configure() -> None:
            _enter(os.open(f"/proc/{process}/ns/net", os.O_RDONLY), CLONE_NEWNET)
            index = socket.if_nametoindex(_INTERFACE.decode())
            _request(_RTM_NEWLINK, _link(index, up=True))
            packed = socket.inet_aton(address)
            broadcast = packed[: _PREFIX_LENGTH // 8] + b"\xff\xff"
            _request(
                _RTM_NEWADDR,
                struct.pack("=BBBBI", socket.AF_INET, _PREFIX_LENGTH, 0, 0, index)
                + _attribute(_IFA_LOCAL, packed)
                + _attribute(_IFA_ADDRESS, packed)
                + _attribute(_IFA_BROADCAST, broadcast),
                _NLM_F_CREATE | _NLM_F_EXCL,
            )

        _elsewhere(connect_bridge)
        _elsewhere(configure)


def _namespace_with_bridge() -> int:
    """A descriptor of a new network namespace. A child makes it, since this process must stay in its own."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            unshare(CLONE_NEWNET, "a network namespace is")
            _create_link(_BRIDGE, b"bridge")
            _request(_RTM_NEWLINK, _link(socket.if_nametoindex(_BRIDGE.decode()), up=True))
            os.write(writer, _OK)
        except BaseException as error:
            os.write(writer, str(error).encode())
        signal.pause()
    os.close(writer)
    try:
        answer = os.read(reader, 4096)
        if answer != _OK:
            raise OSError(answer.decode("utf-8", "replace") or "the process that creates it was killed")
        return os.open(f"/proc/{child}/ns/net", os.O_RDONLY)
    finally:
        os.close(reader)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def _elsewhere(do: Callable[[], None]) -> None:
    """Call `do`, which enters a network namespace, in a thread of its own."""
    errors: list[Exception] = []

    def run() -> None:
        try:
            do()
        except Exception as error:
            errors.append(error)

    thread = threading.Thread(target=run, name="node-network")
    thread.start()
    thread.join()
    if errors:
        raise NodeNetworkError(f"the container cannot be connected to the other nodes: {errors[0]}")


def _enter(namespace: int, kind: int) -> None:
    import ctypes

    if libc.setns(namespace, kind) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _create_link(name: bytes, kind: bytes, data: bytes = b"") -> None:
    info = _attribute(_IFLA_INFO_KIND, kind)
    if data:
        info += _attribute(_IFLA_INFO_DATA, data)
    _request(
        _RTM_NEWLINK,
        _link(0) + _attribute(_IFLA_IFNAME, name + b"\0") + _attribute(_IFLA_LINKINFO, info),
        _NLM_F_CREATE | _NLM_F_EXCL,
    )


def _link(index: int, *, up: bool = False) -> bytes:
    """struct ifinfomsg"""
    flags = _IFF_UP if up else 0
    return struct.pack("=BxHiII", socket.AF_UNSPEC, 0, index, flags, flags)


def _attribute(kind: int, data: bytes) -> bytes:
    """struct rtattr, with its padding"""
    return struct.pack("=HH", 4 + len(data), kind) + data + bytes(-len(data) % 4)


def _request(kind: int, body: bytes, flags: int = 0) -> None:
    """Send a message to the kernel, in this thread's network namespace. Raises OSError: it refuses."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as channel:
        header = struct.pack("=IHHII", 16 + len(body), kind, _NLM_F_REQUEST | _NLM_F_ACK | flags, 1, 0)
        channel.send(header + body)
        (error,) = struct.unpack_from("=i", channel.recv(65536), 16)
    if error:
        raise OSError(-error, os.strerror(-error))
