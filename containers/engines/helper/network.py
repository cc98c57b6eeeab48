"""A network namespace with only a loopback interface, and listeners that are served from outside it.

These are the steps of a process on its way into a container. The other side of the report socket is in
`containers.engines.network.namespace`. Before all reports, they send each other:

    enter_network   sends `network` with the listening sockets, or `no_network REASON`
    await_network   reads one byte, which is sent when the namespace has all its connections
"""

from __future__ import annotations

import ctypes
import os

from containers.engines.helper.kernel import CLONE_NEWNET, StepFailed, call, libc, unshare

SIOCSIFFLAGS = 0x8914
IFF_UP = 1
BACKLOG = 512


class InterfaceRequest(ctypes.Structure):
    """struct ifreq"""

    _fields_ = (("name", ctypes.c_char * 16), ("flags", ctypes.c_short), ("rest", ctypes.c_char * 22))


def enter_network(host_ports: list[tuple[str, int]], report_fd: int) -> None:
    """Enter a new network namespace, and send its listeners; stay in the old one if that is denied."""
    import _socket as socket  # the C part only: the Python part loads `enum`, which takes 5 ms

    channel = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM, 0, report_fd)
    try:
        unshare(CLONE_NEWNET, "a network namespace is")
    except StepFailed as error:
        channel.send(f"no_network {error}\n".encode())
        channel.detach()
        return
    request = InterfaceRequest(b"lo", IFF_UP)
    loopback = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    call("a loopback interface", libc.ioctl(loopback.fileno(), SIOCSIFFLAGS, ctypes.byref(request)))
    listeners = []
    for address, port in host_ports:
        listener = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM)
        listener.bind((address, port))
        listener.listen(BACKLOG)
        listeners.append(listener)
    numbers = (ctypes.c_int * len(listeners))(*(listener.fileno() for listener in listeners))
    channel.sendmsg([b"network\n"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, bytes(numbers))])
    for used in (loopback, *listeners):
        used.close()
    channel.detach()


def await_network(report_fd: int) -> None:
    """Wait for the other side."""
    os.read(report_fd, 1)
