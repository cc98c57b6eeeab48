"""Outgoing connections of a network namespace, by `slirp4netns` or `pasta`, if one of them is installed.

Both programs need no privileges and connect the namespace to the outside like a home router. Only outgoing
connections are possible, and this machine's loopback interface is not reachable. Names are resolved by this
machine's resolver, even if it listens only on loopback (systemd-resolved).
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
import threading
import time
from pathlib import Path
from typing import IO

INSTALL = "install slirp4netns or passt"

_START_S = 5.0
_STEP_S = 0.001
_LONGEST_ERROR = 200
# The addresses at which they answer questions for names: slirp4netns' default, and a link-local one.
_RESOLVERS = {"slirp4netns": "10.0.2.3", "pasta": "169.254.1.1"}
# Either program ends when the pipe that is standard input is closed, and so with this process, however that
# dies. The child that sees to it kills its parent, not a process that has got the same number since.
_LEASHED = """
exec 3<&0 </dev/null
(read -r _ <&3; read -r _ _ _ parent _ </proc/self/stat; [ "$parent" != $$ ] || kill -9 $$) &
exec "$@" 3<&-
"""
_RESOLV_CONF = Path("/etc/resolv.conf")


class NoWayOut(Exception):  # noqa: N818 - a finding, not an error of the program
    """The namespace has no connections to the outside; the text contains the reason."""


def find_outgoing() -> str | None:
    """The path of the better one of the two programs that are installed."""
    found = map(shutil.which, _RESOLVERS)
    return next((path for path in found if path), None)


def resolver(program: str) -> str:
    """The content of /etc/resolv.conf for a namespace that `program` connects: this machine's, but for the
    servers."""
    lines = [f"nameserver {_RESOLVERS[Path(program).name]}"]
    with contextlib.suppress(OSError):
        for line in _RESOLV_CONF.read_text(errors="replace").splitlines():
            if line.split(maxsplit=1)[:1] in (["search"], ["options"], ["domain"]):
                lines.append(line)
    return "\n".join([*lines, ""])


class Outgoing:
    """The way out of one namespace, until it is closed, by a program that `find_outgoing` found."""

    def __init__(self, program: str) -> None:
        self._program = program
        self.name = Path(program).name
        self._process: subprocess.Popen[bytes] | None = None
        self._alive, self._alive_here = os.pipe()
        self._given_up = False

    def connect(self, pid: int) -> None:
        """Give the network namespace of process `pid` its connection. Raises NoWayOut if that fails."""
        with tempfile.TemporaryFile() as errors:
            try:
                self._start(pid, errors)
                self._wait(pid)
            except OSError as error:
                raise NoWayOut(f"{self.name} did not start: {error}") from None
            except NoWayOut:
                errors.seek(0)
                said = errors.read()[-_LONGEST_ERROR:].decode("utf-8", "replace").strip().splitlines()
                raise NoWayOut(f"{self.name} failed: {said[-1] if said else 'no reason was given'}") from None

    def give_up(self) -> None:
        """Let `connect`, which another thread is in, return soon."""
        self._given_up = True

    def close(self) -> None:
        """End the program. It removes its interface, which takes tens of milliseconds in the background."""
        os.close(self._alive_here)
        os.close(self._alive)
        if self._process is not None:
            threading.Thread(target=self._process.wait, name="reaper", daemon=True).start()

    def _start(self, pid: int, errors: IO[bytes]) -> None:
        if self.name == "slirp4netns":
            options = ["--configure", "--mtu=65520", "--disable-host-loopback"]
            options += ["--enable-sandbox", "--enable-seccomp", str(pid), "tap0"]
        else:
            # Without the options that end in `none`, it forwards the ports of this machine's loopback.
            options = ["--foreground", "--config-net", "--no-map-gw", "--dns-forward", _RESOLVERS[self.name]]
            options += [word for option in ("-t", "-u", "-T", "-U") for word in (option, "none")]
            options += [*(("--runas", "0") if os.geteuid() == 0 else ()), str(pid)]
        self._process = subprocess.Popen(
            ["/bin/sh", "-c", _LEASHED, "sh", self._program, *options],
            stdin=self._alive,
            stdout=subprocess.DEVNULL,
            stderr=errors,
            env={},
            cwd="/",
            start_new_session=True,
        )

    def _wait(self, pid: int) -> None:
        """Until the namespace has a default route, which is the last thing that either program makes."""
        assert self._process is not None  # noqa: S101 - it has just been started
        until = time.monotonic() + _START_S
        while not _has_default_route(pid):
            if self._given_up or self._process.poll() is not None or time.monotonic() > until:
                raise NoWayOut
            time.sleep(_STEP_S)


def _has_default_route(pid: int) -> bool:
    routes = [line.split() for line in Path(f"/proc/{pid}/net/route").read_text().splitlines()]
    if any(route[1:2] == ["00000000"] for route in routes):
        return True
    with contextlib.suppress(FileNotFoundError):  # without IPv6
        lines = Path(f"/proc/{pid}/net/ipv6_route").read_text().splitlines()
        return any(line.startswith("0" * 32 + " 00") and not line.endswith(" lo") for line in lines)
    return False
