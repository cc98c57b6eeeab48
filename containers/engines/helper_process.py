"""The process between the runner and a container: started with its code, and prepared for the next run.

It receives its code and its task on a pipe, and reports on a socket (see supervise.py).
"""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import marshal
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from importlib.machinery import SourceFileLoader
from types import CodeType
from typing import Any

from containers.engines.network.namespace import ContainerNetwork

_PACKAGE = "containers.engines.helper"
_MODULES = {
    "container_init": ("kernel", "filesystem", "program", "seccomp", "network", "container_init"),
    "process_init": ("kernel", "program", "processes", "process_init"),
}
# The helper's beginning: make modules of the code that comes through the pipe, let the last one prepare what
# does not depend on the task, and call its `main` with the task when that comes. If none comes, the caller
# has ended.
_BOOT = """
import marshal, os, sys
with open(int(sys.argv[1]), "rb") as file:
    for name, code in marshal.load(file):
        module = sys.modules[name] = type(sys)(name)
        exec(code, module.__dict__)
    os.set_inheritable(int(sys.argv[2]), False)
    try:
        preparation = marshal.load(file)
        if preparation is not None:
            module.prepare(preparation, int(sys.argv[2]))
        task = marshal.load(file)
    except EOFError:
        os._exit(0)
if not task["errors_apart"]:
    os.dup2(1, 2)
os._exit(module.main(task, int(sys.argv[2])))
"""


@dataclass(frozen=True)
class Preparation:
    """What a helper can do before it has a task; see `container_init.prepare`."""

    user_namespace: bool
    host_ports: tuple[tuple[str, int], ...] | None = None
    """For a separate network: what is reachable in it."""
    outgoing: str | None = None
    """The program that connects such a network to the outside."""
    on_network: Callable[[int], None] | None = None
    """Called when such a network exists, see `ContainerProcess`."""


_helpers: set[int] = set()  # process ids of those that have not been reaped
_starting = threading.Lock()


def is_helper(pid: int) -> bool:
    """Whether this child of ours is a helper, working or waiting."""
    return pid in _helpers


def no_new_helpers() -> contextlib.AbstractContextManager[object]:
    """A block in which no thread starts one."""
    return _starting


class HelperProcess:
    """A helper's process, which waits for its task, and our ends of the pipes to it."""

    def __init__(self, helper: str, preparation: Preparation | None, output: int | None = None) -> None:
        self.helper = helper
        self.preparation = preparation
        self.parent = os.getpid()
        ours: list[int] = []
        theirs: list[int] = []
        try:
            # The task; standard output, standard error.
            for reads in (True, False, False) if output is None else (True,):
                read, write = os.pipe()
                theirs.append(read if reads else write)
                ours.append(write if reads else read)
            for end, number in zip(
                (ours, theirs), map(socket.socket.detach, socket.socketpair()), strict=True
            ):
                end.append(number)
            task, *outputs, report = theirs
            with _starting:
                self.process = subprocess.Popen(
                    [sys.executable, "-I", "-S", "-c", _BOOT, str(task), str(report)],
                    stdin=subprocess.DEVNULL,
                    stdout=outputs[0] if output is None else output,
                    stderr=outputs[1] if output is None else output,
                    # A process next to the container's must have nothing of ours in /proc/PID/environ. On
                    # Lambda, Python itself may need its library path.
                    env={name: os.environ[name] for name in ("LD_LIBRARY_PATH",) if name in os.environ},
                    cwd="/",
                    pass_fds=(task, report),
                    start_new_session=True,
                )
                _helpers.add(self.process.pid)
        except BaseException:
            for descriptor in ours:
                os.close(descriptor)
            raise
        finally:
            for descriptor in theirs:
                os.close(descriptor)
        self._task = os.fdopen(ours[0], "wb")
        self.outputs = ours[1:-1]
        self.report = socket.socket(fileno=ours[-1])
        with contextlib.suppress(BrokenPipeError):
            marshal.dump(_code(helper), self._task)
            wanted = None
            if preparation is not None:
                wanted = {name: getattr(preparation, name) for name in ("user_namespace", "host_ports")}
            marshal.dump(wanted, self._task)
            self._task.flush()
        self.network: ContainerNetwork | None = None
        if preparation is not None and preparation.host_ports is not None:
            self.network = ContainerNetwork(
                self.report,
                self.process.pid,
                preparation.host_ports,
                preparation.outgoing,
                preparation.on_network,
            )

    def send(self, task: dict[str, Any]) -> None:
        """Let it begin."""
        with contextlib.suppress(BrokenPipeError), self._task:
            marshal.dump(task, self._task)

    def close(self) -> None:
        """Close our ends; a helper that has no task yet ends."""
        if self.process.returncode is not None:
            _helpers.discard(self.process.pid)
        with contextlib.suppress(BrokenPipeError):
            self._task.close()
        if self.network is not None:
            self.network.close()
        self.report.close()
        for descriptor in self.outputs:
            os.close(descriptor)


# Most of the time between an invocation and its program is Python's own start. So a helper for the next run
# is started when one has ended: it waits for a task, and ends with us, as the pipe does. Only the main thread
# keeps one: the kernel kills a helper when the thread that started it ends.
_spare: list[HelperProcess] = []


def take_spare(helper: str, preparation: Preparation | None) -> HelperProcess | None:
    """The waiting helper, if it is the right one and still runs."""
    if threading.current_thread() is not threading.main_thread() or not _spare:
        return None
    spare = _spare.pop()
    if spare.parent != os.getpid():
        return None  # we are a fork of the process that it belongs to
    fits = (spare.helper, spare.preparation) == (helper, preparation)
    if fits and spare.process.poll() is None:
        return spare
    spare.close()
    spare.process.wait()
    _helpers.discard(spare.process.pid)
    return None


def keep_spare(helper: str, preparation: Preparation | None = None) -> None:
    """Start the helper of the next run."""
    if threading.current_thread() is threading.main_thread() and not _spare:
        with contextlib.suppress(OSError):  # then the next run starts its own, and reports the problem
            _spare.append(HelperProcess(helper, preparation))


@functools.cache
def _code(helper: str) -> list[tuple[str, CodeType]]:
    """The helper's modules, compiled; read once in the life of this process."""
    modules = [(_PACKAGE, compile("", _PACKAGE, "exec"))]
    for name in (f"{_PACKAGE}.{module}" for module in _MODULES[helper]):
        spec = importlib.util.find_spec(name)
        assert spec is not None and isinstance(spec.loader, SourceFileLoader)  # noqa: S101 - our own package
        code = spec.loader.get_code(name)
        assert code is not None  # noqa: S101
        modules.append((name, code))
    return modules
