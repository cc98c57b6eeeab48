"""The caller's side of a running container: start the helper, pass on its output, enforce the deadline, and
make sure that it ends.

The helper program receives its task on a pipe and reports on a socket, in lines: `exit 3`, `signal 9`,
`not_started 127 TEXT`, or `failed STEP TEXT` if the container could not be set up. The last line is
`usage SECONDS KIB KIB`: the CPU time of all processes, and the peak memory of the largest and of the helper.
The helper understands two signals: SIGTERM asks the container's processes to end, SIGUSR1 kills them all. It
keeps both pipe and socket open, so that their end means that it has ended, together with the whole container.

It is a program of its own, because setting up namespaces takes a fork without an exec, which is not safe in a
Python process with threads.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

from containers.engines.contract import ContainerProcess, ContainerResult
from containers.engines.helper_process import HelperProcess, Preparation, keep_spare, take_spare
from containers.engines.usage import MemoryPeak, Usage
from containers.errors import ErrorKind, ExplainedError

GRACE_S = 2.0
"""Time between SIGTERM and SIGKILL when the deadline has passed."""

_READ_SIZE = 64 * 1024
_END_S = 10.0  # a helper that does not end by then is killed itself
_LAST_OUTPUT_S = 2.0  # reading the rest of the pipes after the helper has ended takes less
_MAXIMUM_REPORT = 64 * 1024
_OWN_PROCESSES = {"container_init": 1, "process_init": 0}
"""Generations below each helper that are not the container's: PID 1 is a fork of the helper."""


@dataclass(frozen=True)
class Report:
    """How the helper and the container ended.

    Exactly one of `exit_code`, `signal` and `failed` (the container could not be set up, at `step`) is set.
    `not_started` is the reason why the program itself did not run; `exit_code` is 126 or 127 then.
    """

    exit_code: int | None = None
    signal: int | None = None
    failed: str | None = None
    step: str = ""
    not_started: str | None = None
    timed_out: bool = False
    duration_s: float = 0.0
    network: str = ""
    """A description of the requested network."""
    usage: Usage | None = None
    """None: the helper was killed."""
    memory_bytes: int | None = None
    """Peak memory of all processes, if it was requested."""


def run_container(
    helper: str, task: Mapping[str, Any], process: ContainerProcess, preparation: Preparation | None = None
) -> ContainerResult:
    """Let the helper run `process`; return how the container ended.

    :raises ExplainedError: the container could not be set up.
    """
    report = supervise(
        helper,
        task,
        deadline=process.deadline,
        on_output=process.on_output,
        on_error_output=process.on_error_output,
        output=process.output,
        preparation=preparation,
        measured=process.measured,
    )
    if report.failed is not None:
        raise ExplainedError(
            f"the container cannot be set up: {report.failed}",
            advice="Try another engine with SCAR_ENGINE",
            kind=ErrorKind.ENGINE_FAILED,
        )
    if report.not_started:
        (process.on_error_output or process.on_output)(f"{report.not_started}\n".encode())
    return ContainerResult(
        report.exit_code,
        report.signal,
        report.timed_out,
        report.duration_s,
        report.network,
        cpu_s=report.usage.cpu_s if report.usage is not None and process.measured else None,
        memory_bytes=report.memory_bytes,
    )


def supervise(
    helper: str,
    task: Mapping[str, object],
    *,
    deadline: float | None,
    on_output: Callable[[bytes], None],
    on_error_output: Callable[[bytes], None] | None = None,
    output: int | None = None,
    preparation: Preparation | None = None,
    measured: bool = False,
) -> Report:
    """Run `helper` (a module of the package) with `task` until it and all its descendants have ended.

    Standard error goes to `on_output`, too, unless it has a listener of its own; or both to `output`.
    """
    started = time.monotonic()
    helper_process = (output is None and take_spare(helper, preparation)) or HelperProcess(
        helper, preparation, output
    )
    listeners = dict(zip(helper_process.outputs, (on_output, on_error_output or on_output), strict=False))
    memory = MemoryPeak(helper_process.process.pid, _OWN_PROCESSES[helper]) if measured else None
    watch = Watch(helper_process.process, helper_process.report.fileno(), listeners, deadline, memory)
    try:
        helper_process.send(
            {
                **task,
                "parent": os.getpid(),
                "errors_apart": on_error_output is not None,
                "gives_outputs": output is None,
                "network": helper_process.network is not None,
            }
        )
        if helper_process.network is not None:
            watch.begin(helper_process.network.early_report())
        watch.until_end()
    finally:
        watch.make_sure_of_end()
        helper_process.close()
        keep_spare(helper, preparation)
    report = watch.report()
    return replace(
        report,
        timed_out=watch.timed_out,
        duration_s=time.monotonic() - started,
        network=helper_process.network.text if helper_process.network is not None else "",
        memory_bytes=memory.bytes(report.usage) if memory is not None else None,
    )


class Supervised(Protocol):
    """The supervised process: a helper, or a program that needs none. It supports two signals: SIGTERM asks
    the container's processes to end, any other kills them."""

    @property
    def returncode(self) -> int | None:
        """As `subprocess.Popen` has it."""

    def poll(self) -> int | None:
        """None while it runs."""

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end. Raises `subprocess.TimeoutExpired`."""

    def send_signal(self, sig: int) -> None:
        """Send it a signal."""


class Watch:
    """One container being watched by the runner: its output, its time and its end."""

    def __init__(
        self,
        process: Supervised,
        report: int,
        listeners: Mapping[int, Callable[[bytes], None]],
        deadline: float | None,
        memory: MemoryPeak | None = None,
    ) -> None:
        self._process = process
        self._memory = memory
        self._report_descriptor = report
        self._listeners = listeners
        self._next_step_at = deadline
        self._output_until: float | None = None
        self._report = b""
        self.timed_out = False
        self._killed = False

    def begin(self, report: bytes) -> None:
        """Add the beginning of the report, which was read elsewhere."""
        self._report = report

    def until_end(self) -> None:
        """Pass on output until the helper has ended; end the container at its deadline."""
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
                    # the helper was killed, and a process that it should have ended keeps the pipe open
                    return
                if self._next_step_at is not None and time.monotonic() >= self._next_step_at:
                    self._next_step()
                if self._memory is not None and time.monotonic() >= self._memory.next_at:
                    self._memory.measure()

    def _timeout(self) -> float | None:
        moments = [moment for moment in (self._next_step_at, self._output_until) if moment is not None]
        if self._memory is not None:
            moments.append(self._memory.next_at)
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
        """In any case, the helper has ended when this returns."""
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
        lines = self._report.decode("utf-8", "replace").splitlines() or [""]
        kind, _, rest = lines[0].partition(" ")
        first, _, text = rest.partition(" ")
        usage = _usage(lines[-1])
        if kind == "exit":
            return Report(exit_code=int(first), usage=usage)
        if kind == "signal":
            return Report(signal=int(first), usage=usage)
        if kind == "not_started":
            return Report(exit_code=int(first), not_started=text, usage=usage)
        if kind == "failed":
            return Report(failed=text, step=first)
        code = self._process.returncode or 0
        return (
            Report(signal=-code)
            if code < 0
            else Report(failed=f"the helper ended with {code}", step="helper")
        )

    def _signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(number)
            # Without a PID namespace, the program may have stopped it.
            self._process.send_signal(signal.SIGCONT)


def _usage(line: str) -> Usage | None:
    kind, *numbers = line.split(" ")
    if kind != "usage":
        return None
    cpu_s, largest_kib, helper_kib = numbers
    return Usage(float(cpu_s), int(largest_kib) * 1024, int(helper_kib) * 1024)
