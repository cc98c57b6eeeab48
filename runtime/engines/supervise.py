"""The caller's side of a running container: start the helper, pass its output on, keep the time, make sure it
ends.

The helper program gets its task on a pipe and reports on a socket, by lines: `exit 3`, `signal 9`,
`not_started 127 TEXT`, or `failed STEP TEXT` if the container could not be set up. It understands two
signals: SIGTERM asks the container's processes to end, SIGUSR1 kills them all. It holds both pipe and socket,
so that their end means that it has gone, and the whole container with it.

It is a program of its own, because setting up namespaces takes a fork without an exec, which is not safe in a
Python process with threads.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import marshal
import os
import selectors
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from importlib.machinery import SourceFileLoader
from types import CodeType
from typing import Any

from runtime.engines.engine import ContainerProcess, ContainerResult
from runtime.engines.network import ContainerNetwork
from runtime.errors import RunnerError

GRACE_S = 2.0
"""Time between SIGTERM and SIGKILL when the deadline has passed."""

_READ_SIZE = 64 * 1024
_END_S = 10.0  # a helper that does not end by then is killed itself
_LAST_OUTPUT_S = 2.0  # what is in the pipes when the helper has gone is read in less
_MAXIMUM_REPORT = 64 * 1024


_PACKAGE = "runtime.engines.helper"
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
class Report:
    """How the helper and the container ended.

    Exactly one of `exit_code`, `signal` and `failed` (the container could not be set up, at `step`) is set.
    `not_started` says why the program itself did not run; `exit_code` is 126 or 127 then.
    """

    exit_code: int | None = None
    signal: int | None = None
    failed: str | None = None
    step: str = ""
    not_started: str | None = None
    timed_out: bool = False
    duration_s: float = 0.0
    network: str = ""
    """What became of the network of its own that was asked for, in words."""


@dataclass(frozen=True)
class Preparation:
    """What a helper can do before it has a task; see `container_init.prepare`."""

    user_namespace: bool
    host_ports: tuple[tuple[str, int], ...] | None = None
    """For a network of its own: what is reachable in it."""
    outgoing: str | None = None
    """The program that connects such a network to the outside."""


def run_container(
    helper: str, task: Mapping[str, Any], process: ContainerProcess, preparation: Preparation | None = None
) -> ContainerResult:
    """Let the helper do its task for `process`, and say how the container ended.

    :raises RunnerError: the container could not be set up.
    """
    report = supervise(
        helper,
        task,
        deadline=process.deadline,
        on_output=process.on_output,
        on_error_output=process.on_error_output,
        preparation=preparation,
    )
    if report.failed is not None:
        raise RunnerError(
            f"the container cannot be set up: {report.failed}",
            advice="Try another engine with SCAR_ENGINE",
            kind="EngineFailed",
        )
    if report.not_started:
        (process.on_error_output or process.on_output)(f"{report.not_started}\n".encode())
    return ContainerResult(
        report.exit_code, report.signal, report.timed_out, report.duration_s, report.network
    )


def supervise(
    helper: str,
    task: Mapping[str, object],
    *,
    deadline: float | None,
    on_output: Callable[[bytes], None],
    on_error_output: Callable[[bytes], None] | None = None,
    preparation: Preparation | None = None,
) -> Report:
    """Run `helper` (a module of the package) with `task` until it and all that it started have ended.

    Standard error goes to `on_output`, too, unless it has a listener of its own.
    """
    started = time.monotonic()
    helper_process = _take_spare(helper, preparation) or _Helper(helper, preparation)
    listeners = {helper_process.output: on_output, helper_process.errors: on_error_output or on_output}
    watch = _Watch(helper_process.process, helper_process.report.fileno(), listeners, deadline)
    try:
        helper_process.send(
            {
                **task,
                "parent": os.getpid(),
                "errors_apart": on_error_output is not None,
                "network": helper_process.network is not None,
            }
        )
        if helper_process.network is not None:
            watch.begin(helper_process.network.early_report())
        watch.until_end()
    finally:
        watch.make_sure_of_end()
        helper_process.close()
        _keep_spare(helper, preparation)
    return replace(
        watch.report(),
        timed_out=watch.timed_out,
        duration_s=time.monotonic() - started,
        network=helper_process.network.text if helper_process.network is not None else "",
    )


_helpers: set[int] = set()  # process ids of those that have not been reaped
_starting = threading.Lock()


def is_helper(pid: int) -> bool:
    """Whether this child of ours is a helper, at work or waiting."""
    return pid in _helpers


def no_new_helpers() -> contextlib.AbstractContextManager[object]:
    """A block in which no thread starts one."""
    return _starting


class _Helper:
    """A helper's process, which waits for its task, and our ends of the pipes to it."""

    def __init__(self, helper: str, preparation: Preparation | None) -> None:
        self.helper = helper
        self.preparation = preparation
        self.parent = os.getpid()
        ours: list[int] = []
        theirs: list[int] = []
        try:
            for reads in (True, False, False):  # the task; standard output, standard error
                read, write = os.pipe()
                theirs.append(read if reads else write)
                ours.append(write if reads else read)
            for end, number in zip((ours, theirs), map(socket.socket.detach, socket.socketpair()), strict=True):
                end.append(number)
            task, output, errors, report = theirs
            with _starting:
                self.process = subprocess.Popen(
                    [sys.executable, "-I", "-S", "-c", _BOOT, str(task), str(report)],
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=errors,
                    # A process next to the container's must hold nothing of ours in /proc/PID/environ. On
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
        self.output, self.errors = ours[1:3]
        self.report = socket.socket(fileno=ours[3])
        with contextlib.suppress(BrokenPipeError):
            marshal.dump(_code(helper), self._task)
            marshal.dump(None if preparation is None else asdict(preparation), self._task)
            self._task.flush()
        self.network: ContainerNetwork | None = None
        if preparation is not None and preparation.host_ports is not None:
            self.network = ContainerNetwork(
                self.report, self.process.pid, preparation.host_ports, preparation.outgoing
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
        for descriptor in (self.output, self.errors):
            os.close(descriptor)


# Most of the time between an invocation and its program is Python's own start. So a helper for the next run
# is started when one has ended: it waits for a task, and ends with us, as the pipe does. Only the main thread
# keeps one: the kernel kills a helper when the thread that started it ends.
_spare: list[_Helper] = []


def _take_spare(helper: str, preparation: Preparation | None) -> _Helper | None:
    """The helper that waits, if it is the right one and alive."""
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


def _keep_spare(helper: str, preparation: Preparation | None = None) -> None:
    """Start the helper of the next run."""
    if threading.current_thread() is threading.main_thread() and not _spare:
        with contextlib.suppress(OSError):  # then the next run starts its own, and says what is the matter
            _spare.append(_Helper(helper, preparation))


@functools.cache
def _code(helper: str) -> list[tuple[str, CodeType]]:
    """The helper's modules, compiled; read once in the life of this process."""
    modules: list[tuple[str, CodeType]] = []
    for name in (f"{_PACKAGE}.{module}" for module in _MODULES[helper]):
        spec = importlib.util.find_spec(name)
        assert spec is not None and isinstance(spec.loader, SourceFileLoader)  # noqa: S101 - our own package
        code = spec.loader.get_code(name)
        assert code is not None  # noqa: S101
        modules.append((name, code))
    return modules


class _Watch:
    """One helper being watched."""

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        report: int,
        listeners: Mapping[int, Callable[[bytes], None]],
        deadline: float | None,
    ) -> None:
        self._process = process
        self._report_descriptor = report
        self._listeners = listeners
        self._next_step_at = deadline
        self._output_until: float | None = None
        self._report = b""
        self.timed_out = False
        self._killed = False

    def begin(self, report: bytes) -> None:
        """Take the beginning of the report, which somebody else has read."""
        self._report = report

    def until_end(self) -> None:
        """Pass output on until the helper has gone; end the container when its time is up."""
        with selectors.DefaultSelector() as selector:
            for descriptor in (self._report_descriptor, *self._listeners):
                selector.register(descriptor, selectors.EVENT_READ)
            while selector.get_map():
                ready = selector.select(self._timeout())
                for key, _ in ready:
                    if not self._read(key.fd):
                        selector.unregister(key.fd)
                        if key.fd == self._report_descriptor:
                            self._output_until = time.monotonic() + _LAST_OUTPUT_S
                if self._output_until is not None and time.monotonic() >= self._output_until:
                    return  # the helper was killed, and something that it should have ended holds the pipe
                if self._next_step_at is not None and time.monotonic() >= self._next_step_at:
                    self._next_step()

    def _timeout(self) -> float | None:
        moments = [moment for moment in (self._next_step_at, self._output_until) if moment is not None]
        return max(0.0, min(moments) - time.monotonic()) if moments else None

    def _read(self, descriptor: int) -> bool:
        chunk = os.read(descriptor, _READ_SIZE)
        if descriptor in self._listeners:
            if chunk:
                self._listeners[descriptor](chunk)
        elif len(self._report) < _MAXIMUM_REPORT:
            self._report += chunk
        return bool(chunk)

    def _next_step(self) -> None:
        """SIGTERM at the deadline, SIGKILL after the grace, and the helper itself if even that has no
        effect."""
        now = time.monotonic()
        if not self.timed_out:
            self.timed_out = True
            self._signal(signal.SIGTERM)
            self._next_step_at = now + GRACE_S
        elif not self._killed:
            self._killed = True
            self._signal(signal.SIGUSR1)
            self._next_step_at = now + _END_S
        else:
            self._signal(signal.SIGKILL)
            self._next_step_at = None

    def make_sure_of_end(self) -> None:
        """Whatever happened: the helper has gone when this returns."""
        if self._process.poll() is None:
            # Normally it is about to exit, as its pipes are closed. Otherwise we were interrupted, or
            # on_output failed.
            try:
                self._process.wait(0.05)
            except subprocess.TimeoutExpired:
                self._signal(signal.SIGUSR1)
                try:
                    self._process.wait(_END_S)
                except subprocess.TimeoutExpired:
                    self._signal(signal.SIGKILL)
                    self._process.wait()

    def report(self) -> Report:
        """The helper's word; a helper that was killed leaves none."""
        kind, _, rest = self._report.decode("utf-8", "replace").partition("\n")[0].partition(" ")
        first, _, text = rest.partition(" ")
        if kind == "exit":
            return Report(exit_code=int(first))
        if kind == "signal":
            return Report(signal=int(first))
        if kind == "not_started":
            return Report(exit_code=int(first), not_started=text)
        if kind == "failed":
            return Report(failed=text, step=first)
        code = self._process.returncode
        return (
            Report(signal=-code)
            if code < 0
            else Report(failed=f"the helper ended with {code}", step="helper")
        )

    def _signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(number)
            self._process.send_signal(signal.SIGCONT)  # without a PID namespace, the program may have stopped it
