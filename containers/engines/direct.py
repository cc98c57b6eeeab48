"""The direct engine: a program runs in the runner's own root file system.

AWS Lambda or AWS Batch has started the assembled image, and the runner is part of it, so there is nothing to
set up. The engine only makes sure that a run ends: in time, and with every process that the program started.
The runner adopts orphans (PR_SET_CHILD_SUBREAPER), so that daemons stay below it in the process tree. It
reaps them, and kills the remaining ones when the program has ended.

The program runs as the runner's user. The security boundary is the one that AWS, or the embedded cloud, draws
around the execution environment.
"""

from __future__ import annotations

import errno
import os
import resource
import signal
import subprocess
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from containers.engines.contract import ContainerProcess, ContainerResult, check_process
from containers.engines.helper.kernel import adopt_orphans
from containers.engines.helper.process_init import signal_all
from containers.engines.helper.processes import end_descendants
from containers.engines.helper.program import cannot_start, own_peak_kib, stop_ignoring_signals
from containers.engines.supervise import Watch
from containers.engines.usage import MemoryPeak, Usage
from containers.engines.user import complete_environment, look_up_user

_NOT_FOUND, _NOT_EXECUTABLE = 127, 126  # as Docker and shells have them


class DirectEngine:
    """Runs programs in the root file system of the runner."""

    name = "direct"

    def run(self, process: ContainerProcess) -> ContainerResult:
        """Run to the end; see Engine. `root`, `user` and `binds` need no preparation here."""
        check_process(process)
        started = time.monotonic()
        cpu_before_s = _cpu_s()
        adopt_orphans()
        stop_ignoring_signals()
        user = look_up_user(Path("/"), str(os.geteuid()))
        ended, end = os.pipe()
        output, program_output = os.pipe()
        errors, program_errors = os.pipe() if process.on_error_output is not None else (-1, program_output)
        listeners = {output: process.on_output}
        if process.on_error_output is not None:
            listeners[errors] = process.on_error_output
        try:
            try:
                program = _Program(
                    process,
                    complete_environment(process, user, _is_writable),
                    output=program_output,
                    errors=program_errors,
                    end=end,
                )
            except OSError as error:
                os.close(end)
                return _not_started(process, error, started)
            finally:
                for descriptor in {program_output, program_errors}:
                    os.close(descriptor)
            memory = MemoryPeak(os.getpid()) if process.measured else None
            watch = Watch(program, ended, listeners, process.deadline, memory)
            try:
                watch.until_end()
            finally:
                watch.make_sure_of_end()
        finally:
            for descriptor in (ended, *listeners):
                os.close(descriptor)
        code = program.wait()
        cpu_s = memory_bytes = None
        if memory is not None:
            cpu_s = _cpu_s() - cpu_before_s
            memory_bytes = memory.bytes(Usage(cpu_s, program.largest_bytes, own_peak_kib() * 1024))
        return ContainerResult(
            exit_code=code if code >= 0 else None,
            signal=-code if code < 0 else None,
            timed_out=watch.timed_out,
            duration_s=time.monotonic() - started,
            cpu_s=cpu_s,
            memory_bytes=memory_bytes,
        )


class _Program:
    """The program with all its descendants.

    A thread waits for it, reaps its orphans, and closes `end` when no process is left.
    """

    def __init__(
        self, process: ContainerProcess, env: Mapping[str, str], *, output: int, errors: int, end: int
    ) -> None:
        working_dir = process.working_dir or "/"
        with suppress(OSError):  # Docker creates WORKDIR; if this fails, so does the start, with a reason
            Path(working_dir).mkdir(parents=True, exist_ok=True)
        self._process = subprocess.Popen(
            list(process.argv),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=errors,
            env=env,
            cwd=working_dir,
            umask=0o022,
            start_new_session=True,
        )
        with suppress(OSError):  # a program that nobody may read is not among ours
            # If memory runs out, the kernel kills the program and not the runner, which reports it.
            Path(f"/proc/{self._process.pid}/oom_score_adj").write_text("1000", encoding="ascii")
        self.returncode: int | None = None
        self.largest_bytes = 0
        """Peak memory of its largest process that has ended, but at least the runner's."""
        self._end = end
        self._reaper = threading.Thread(target=self._reap, daemon=True, name="await-program")
        self._reaper.start()

    def poll(self) -> int | None:
        """None while any of its processes runs."""
        return None if self._reaper.is_alive() else self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait until everything has ended. Raises `subprocess.TimeoutExpired`."""
        self._reaper.join(timeout)
        if self.returncode is None or self._reaper.is_alive():
            raise subprocess.TimeoutExpired(self._process.args, timeout or 0)
        return self.returncode

    def send_signal(self, sig: int) -> None:
        """SIGTERM asks all of its processes to end, any other signal kills them."""
        signal_all(signal.SIGTERM if sig == signal.SIGTERM else signal.SIGKILL)

    def _reap(self) -> None:
        while True:
            # Of orphans, too: they would stay zombies for as long as the program runs.
            pid, status, usage = os.wait4(-1, 0)
            self.largest_bytes = max(self.largest_bytes, usage.ru_maxrss * 1024)
            if pid == self._process.pid:
                break
        code = os.waitstatus_to_exitcode(status)
        self._process.returncode = code  # otherwise, its destructor would wait for a child that has ended
        end_descendants()
        self.returncode = code
        os.close(self._end)


def _cpu_s() -> float:
    """CPU time of all processes that the runner has reaped, and of those that they have."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _is_writable(folder: Path) -> bool:
    """On AWS Lambda, the root file system is read-only, regardless of modes."""
    return os.access(folder, os.W_OK | os.X_OK)


def _not_started(process: ContainerProcess, error: OSError, started: float) -> ContainerResult:
    path = os.fsdecode(error.filename or process.argv[0])
    (process.on_error_output or process.on_output)(f"{cannot_start(path, error)}\n".encode())
    found = error.errno != errno.ENOENT or path == (process.working_dir or "/")
    return ContainerResult(_NOT_EXECUTABLE if found else _NOT_FOUND, None, False, time.monotonic() - started)
