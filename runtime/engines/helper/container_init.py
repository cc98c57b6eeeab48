# ruff: noqa: PTH208, SIM105
# pathlib and contextlib take longer to load than this program takes to run; /tmp is the container's.

"""The helper of the namespaces engine: makes a container out of nothing but system calls, and watches over
it.

Run as `python -I -S container_init.py TASK_FD REPORT_FD` (see supervise.py); imports only what starts fast.
Three processes:

    keeper   leaves for new user, PID, IPC and UTS namespaces; waits; passes signals on; dies with the caller
    init     PID 1 inside: mounts, pivots into the image, reaps. Its end is the end of every process in
             the namespace, however it was daemonized, because the kernel sees to that. Dies with the keeper
    program  the user's: without privileges that lead out, in the image's own world
"""

from __future__ import annotations

import os

from runtime.engines.helper.filesystem import build_root, probe_root
from runtime.engines.helper.kernel import (
    CLONE_NEWIPC,
    CLONE_NEWPID,
    CLONE_NEWUSER,
    CLONE_NEWUTS,
    StepFailed,
    die_with_parent,
    drop_capabilities,
    forbid_privileges,
    limit_capabilities,
    unshare,
)
from runtime.engines.helper.program import execute, not_started, report, report_status, reset_signals

TYPE_CHECKING = False  # as typing's, which takes 5 ms to load
if TYPE_CHECKING:
    import signal
    from typing import Any
else:
    import _signal as signal  # the C part only: the Python part loads `enum`, which takes 5 ms


def main(task: dict[str, Any], report_fd: int) -> int:
    """The keeper."""
    die_with_parent()
    if os.getppid() != task["parent"]:
        return 0  # the caller died before we asked to be told
    try:
        enter_namespaces(task)
        alive_read, alive_write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGUSR1})
        init = os.fork()
    except (StepFailed, OSError) as error:
        report(report_fd, f"failed {getattr(error, 'step', 'namespace')} {error}")
        return 125
    if init == 0:
        os.close(alive_write)
        die_with_parent()
        try:
            os.read(alive_read, 1)
            os._exit(125)  # end of file: the keeper was dead before we asked to be told
        except BlockingIOError:
            pass
        os._exit(run_init(task, report_fd))
    os.close(alive_read)
    signal.signal(signal.SIGTERM, lambda *_: os.kill(init, signal.SIGTERM))
    signal.signal(signal.SIGUSR1, lambda *_: os.kill(init, signal.SIGKILL))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM, signal.SIGUSR1})
    _, status = os.waitpid(init, 0)
    if os.WIFSIGNALED(status):
        report_status(report_fd, status)
    return 0


def run_init(task: dict[str, Any], report_fd: int) -> int:
    """PID 1 of the container."""
    try:
        os.setsid()
        build_root(task)
        close_from(3, keep=report_fd)
        if task["probe"]:
            probe_root()
            report(report_fd, "exit 0")
            return 0
        limit_capabilities()
        program = os.fork()
    except (StepFailed, OSError) as error:
        report(report_fd, f"failed {getattr(error, 'step', 'setup')} {error}")
        return 125
    if program == 0:
        os._exit(run_program(task, report_fd))
    drop_capabilities()
    signal.signal(signal.SIGTERM, lambda *_: terminate_all())
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM, signal.SIGUSR1})
    while True:
        pid, status = os.wait()  # orphans of the container come here to be reaped
        if pid == program:
            break
    report_status(report_fd, status)
    return 0


def run_program(task: dict[str, Any], report_fd: int) -> int:
    """Become the user's program; returns only if that fails."""
    try:
        os.setsid()
        reset_signals()
        os.umask(0o022)
        user = task["user"]
        if not task["user_namespace"]:
            os.setgroups(user["groups"])
            os.setresgid(user["gid"], user["gid"], user["gid"])
            os.setresuid(user["uid"], user["uid"], user["uid"])
        drop_capabilities()
        forbid_privileges()
        try:
            os.chdir(task["cwd"])
        except OSError as error:
            return not_started(report_fd, task["cwd"], error, 126)
    except (StepFailed, OSError) as error:
        report(report_fd, f"failed setup {error}")
        return 125
    return execute(task["argv"], task["env"], report_fd)


def enter_namespaces(task: dict[str, Any]) -> None:
    """Leave for new namespaces; without privileges by way of a user namespace that knows one user: us."""
    flags = CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWUTS
    uid, gid = os.geteuid(), os.getegid()
    if task["user_namespace"]:
        flags |= CLONE_NEWUSER
    unshare(flags, "namespaces")
    if task["user_namespace"]:
        try:
            write("/proc/self/setgroups", "deny")
            write("/proc/self/uid_map", f"{task['user']['uid']} {uid} 1")
            write("/proc/self/gid_map", f"{task['user']['gid']} {gid} 1")
        except OSError as error:
            raise StepFailed("namespace", f"mapping users refused: {error.strerror}") from error
    die_with_parent()  # changing credentials may have reset it


def terminate_all() -> None:
    """SIGTERM to every other process of the namespace."""
    try:
        os.kill(-1, signal.SIGTERM)
    except ProcessLookupError:
        pass


def close_from(lowest: int, keep: int) -> None:
    """Close what is open, so that the program inherits nothing of the host."""
    for name in os.listdir("/proc/self/fd"):
        if int(name) >= lowest and int(name) != keep:
            try:
                os.close(int(name))
            except OSError:
                pass


def write(path: str, text: str) -> None:
    """One write, as the kernel's files want it."""
    descriptor = os.open(path, os.O_WRONLY)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)
