# ruff: noqa: PTH110, PTH123, SIM105
# pathlib and contextlib take longer to load than this program takes to run.

"""Becoming the user's program, and telling the caller how things went.

Reports are lines: `exit 3`, `signal 9`, `not_started 127 TEXT`, `failed STEP TEXT`. The first one counts. The
last one is `usage SECONDS KIB KIB`.
"""

from __future__ import annotations

import errno
import os
import resource  # here: inside of the container, its file cannot be found

from containers.engines.helper.kernel import PTRACE_DETACH, RESERVED_SIGNALS, StepFailed, libc, reset_signal

TYPE_CHECKING = False  # as typing's, which takes 5 ms to load
if TYPE_CHECKING:
    import signal
    from collections.abc import Callable
    from typing import Any
else:
    import _signal as signal  # the C part only: the Python part loads `enum`, which takes 5 ms


def become(task: dict[str, Any], report_fd: int, give_up_privileges: Callable[[], None]) -> int:
    """Become the user's program; returns only if that fails."""
    try:
        os.setsid()
        reset_signals()
        os.umask(0o022)
        give_up_privileges()
        try:
            os.chdir(task["cwd"])
        except OSError as error:
            return not_started(report_fd, task["cwd"], error, 126)
    except (StepFailed, OSError) as error:
        return failed(report_fd, error, "setup")
    return execute(task["argv"], task["env"], report_fd)


def failed(report_fd: int, error: Exception, step: str) -> int:
    """Report why the container cannot be set up; `step` is the failed step, unless the error contains it."""
    report(report_fd, f"failed {getattr(error, 'step', step)} {error}")
    return 125


def execute(argv: list[str], env: dict[str, str], report_fd: int) -> int:
    """exec, with Docker's exit codes: 127 if the program does not exist, 126 if it cannot be executed."""
    name = argv[0]
    places = (
        [name] if "/" in name else [f"{folder or '.'}/{name}" for folder in env.get("PATH", "").split(":")]
    )
    problem = OSError(errno.ENOENT, "not found")
    for path in places:
        try:
            os.execve(path, argv, env)  # noqa: S606 - that there is no shell is the point
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ENOTDIR) or os.path.exists(path):
                problem = error
                name = path
                break
    return not_started(report_fd, name, problem, 127 if problem.errno == errno.ENOENT else 126)


def not_started(report_fd: int, path: str, error: OSError, code: int) -> int:
    """Say why the program does not run."""
    report(report_fd, f"not_started {code} {cannot_start(path, error)}")
    return code


def cannot_start(path: str, error: OSError) -> str:
    """Why the program does not run, as a sentence."""
    if error.errno == errno.ENOENT:
        exists = "/" in path and os.path.exists(path)
        why = "its interpreter or dynamic linker is missing" if exists else "no such file in the image"
    elif error.errno == errno.EACCES:
        why = "it is not executable for this user"
    elif error.errno == errno.E2BIG:
        why = "its arguments and environment are too large (the maximum for a single one is 128 KiB)"
    elif error.errno == errno.ENOEXEC:
        why = "its format is not supported: another architecture, or a script without a #! line"
    else:
        why = error.strerror or "unknown error"
    return f"cannot start '{path}': {why}"


def reset_signals() -> None:
    """The program starts with every signal at its default and none blocked."""
    for number in range(1, signal.NSIG):
        reset_signal(number)  # the kernel rejects SIGKILL and SIGSTOP, which always have their defaults
    signal.pthread_sigmask(signal.SIG_SETMASK, set())


def stop_ignoring_signals() -> None:
    """Set signals that the parent process ignored to their defaults, for programs that we start."""
    for number in range(1, signal.NSIG):
        # Python ignores these two for itself; `subprocess` sets them back.
        if number not in (signal.SIGPIPE, signal.SIGXFSZ) and (
            number in RESERVED_SIGNALS or signal.getsignal(number) == signal.SIG_IGN
        ):
            reset_signal(number)


def wait_for(program: int) -> int:
    """Reap children, including orphans, until `program` ends; returns its status from wait(2)."""
    while True:
        pid, status = os.wait()
        if os.WIFSTOPPED(status):
            # It requested tracing by its parent, as programs do to detect a debugger.
            libc.ptrace(PTRACE_DETACH, pid, None, os.WSTOPSIG(status))
        elif pid == program:
            return status


def report_status(report_fd: int, status: int) -> None:
    """Report how a process ended, given its status from wait(2)."""
    if os.WIFSIGNALED(status):
        report(report_fd, f"signal {os.WTERMSIG(status)}")
    else:
        report(report_fd, f"exit {os.WEXITSTATUS(status)}")


def report_usage(report_fd: int) -> None:
    """Report the CPU time of all processes that have ended below this one, and the peak memory of the largest
    of them, and of this one."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    report(report_fd, f"usage {usage.ru_utime + usage.ru_stime:.6f} {usage.ru_maxrss} {own_peak_kib()}")


def own_peak_kib() -> int:
    """Peak memory of this process; 0: unknown. getrusage's also counts the process that started it."""
    try:
        with open("/proc/self/status", "rb") as file:
            for line in file:
                if line.startswith(b"VmHWM:"):
                    return int(line.split()[1])
    except OSError:
        pass
    return 0


def report(descriptor: int, line: str) -> None:
    """One line to the caller."""
    try:
        os.write(descriptor, line.replace("\n", " ").encode("utf-8", "backslashreplace") + b"\n")
    except OSError:
        pass
