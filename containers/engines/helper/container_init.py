# ruff: noqa: PTH208, SIM105
# pathlib and contextlib take longer to load than this program takes to run; /tmp is the container's.

"""The helper of the namespaces engine: creates a container with system calls only, and supervises it.

Run as `python -I -S container_init.py TASK_FD REPORT_FD` (see supervise.py); imports only what starts fast.
Three processes:

    keeper   enters new user, PID, IPC and UTS namespaces; waits; passes on signals; dies with the caller
    init     PID 1 inside: mounts, pivots into the image, reaps. Its end is the end of every process in
             the namespace, however it was daemonized, as enforced by the kernel. Dies with the keeper
    program  the user's: without privileges outside the image
"""

from __future__ import annotations

import os

from containers.engines.helper import kernel
from containers.engines.helper.filesystem import build_root, probe_root
from containers.engines.helper.kernel import StepFailed
from containers.engines.helper.network import await_network, enter_network
from containers.engines.helper.program import (
    become,
    failed,
    report,
    report_status,
    report_usage,
    wait_for,
)
from containers.engines.helper.seccomp import confine

TYPE_CHECKING = False  # as typing's, which takes 5 ms to load
if TYPE_CHECKING:
    import signal
    from typing import Any
else:
    import _signal as signal  # the C part only: the Python part loads `enum`, which takes 5 ms


def prepare(preparation: dict[str, Any], report_fd: int) -> None:
    """Enter new namespaces before there is a task: the kernel takes milliseconds for a network.

    Without privileges, this needs a user namespace, whose users are in the task.
    """
    try:
        kernel.leave_session_keyring()
        flags = kernel.CLONE_NEWPID | kernel.CLONE_NEWIPC | kernel.CLONE_NEWUTS
        kernel.unshare(flags | (kernel.CLONE_NEWUSER if preparation["user_namespace"] else 0), "namespaces")
        if preparation["host_ports"] is not None:
            enter_network(preparation["host_ports"], report_fd)
    except (StepFailed, OSError) as error:
        os._exit(failed(report_fd, error, "namespace"))


def main(task: dict[str, Any], report_fd: int) -> int:
    """The keeper."""
    kernel.die_with_parent()
    if os.getppid() != task["parent"]:
        return 0  # the caller died before the death signal was set
    try:
        if task["user_namespace"]:
            map_user(task["user"])
        alive_read, alive_write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGUSR1})
        init = os.fork()
    except (StepFailed, OSError) as error:
        return failed(report_fd, error, "namespace")
    if init == 0:
        os.close(alive_write)
        kernel.die_with_parent()
        try:
            os.read(alive_read, 1)
            os._exit(125)  # end of file: the keeper died before the death signal was set
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
    report_usage(report_fd)
    return 0


def run_init(task: dict[str, Any], report_fd: int) -> int:
    """PID 1 of the container."""
    try:
        os.setsid()
        build_root(task)
        close_from(3, keep=report_fd)
        kernel.limit_capabilities()
        # For this process, too: the program may trace it, and could make it act on its behalf.
        kernel.forbid_privileges()
        confine()
        if task["probe"]:
            probe_root()
            if not task["user_namespace"]:
                probe_users()
            report(report_fd, "exit 0")
            return 0
        if task["network"]:
            await_network(report_fd)
        program = os.fork()
    except (StepFailed, OSError) as error:
        return failed(report_fd, error, "setup")
    if program == 0:
        os._exit(become(task, report_fd, lambda: give_up_privileges(task)))
    kernel.drop_capabilities()
    signal.signal(signal.SIGTERM, lambda *_: terminate_all())
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM, signal.SIGUSR1})
    report_status(report_fd, wait_for(program))
    return 0


def give_up_privileges(task: dict[str, Any]) -> None:
    """Be the container's user from now on."""
    user = task["user"]
    if not task["user_namespace"]:
        if task["gives_outputs"]:
            # As Docker does: else only root can open /dev/stdout and /dev/stderr. The pipes are this run's
            # alone; an output that the caller shares with others (and writes its log to) is not given away,
            # or the program could forge lines in it.
            for descriptor in (1, 2):
                os.fchown(descriptor, user["uid"], user["gid"])
        os.setgroups(user["groups"])
        os.setresgid(user["gid"], user["gid"], user["gid"])
        os.setresuid(user["uid"], user["uid"], user["uid"])
    kernel.drop_capabilities()


def map_user(user: dict[str, Any]) -> None:
    """The user namespace knows one user: us."""
    try:
        kernel.map_one_user(user["uid"], user["gid"], user["outside"])
    except OSError as error:
        raise StepFailed("namespace", f"mapping users refused: {error.strerror}") from error
    kernel.die_with_parent()  # changing credentials may have reset it


def probe_users() -> None:
    """Whether root may change to other users: not in a user namespace with only one user."""
    try:
        os.setgroups([])
    except OSError as error:
        raise StepFailed("namespace", f"changing users refused: {error.strerror}") from error


def terminate_all() -> None:
    """SIGTERM to every other process of the namespace."""
    try:
        os.kill(-1, signal.SIGTERM)
    except ProcessLookupError:
        pass


def close_from(lowest: int, keep: int) -> None:
    """Close open descriptors, so that the program inherits nothing of the host."""
    for name in os.listdir("/proc/self/fd"):
        if int(name) >= lowest and int(name) != keep:
            try:
                os.close(int(name))
            except OSError:
                pass
