# ruff: noqa: PTH123, PTH208, SIM105
# pathlib and contextlib take longer to load than this program takes to run; /tmp is the container's.

"""Watches over a container's processes where there is no PID namespace to do it (fakechroot, proot).

The helper becomes the one that orphans are given to (PR_SET_CHILD_SUBREAPER), so that everything that the
program starts stays below it in the tree of processes, daemonized or not. When the program ends, time is up
or the caller dies, all that is below is killed, again and again until nothing is left.
"""

from __future__ import annotations

import os

from runtime.engines.helper.kernel import (
    StepFailed,
    adopt_orphans,
    die_with_parent,
    drop_capabilities,
    forbid_privileges,
    limit_capabilities,
)
from runtime.engines.helper.program import execute, not_started, report, report_status, reset_signals

TYPE_CHECKING = False  # as typing's, which takes 5 ms to load
if TYPE_CHECKING:
    import signal
    from typing import Any
else:
    import _signal as signal  # the C part only: the Python part loads `enum`, which takes 5 ms


def main(task: dict[str, Any], report_fd: int) -> int:
    """The helper."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP})
    die_with_parent(signal.SIGHUP)
    if os.getppid() != task["parent"]:
        return 0  # the caller died before we asked to be told
    try:
        adopt_orphans()
        program = os.fork()
    except (StepFailed, OSError) as error:
        report(report_fd, f"failed setup {error}")
        return 125
    if program == 0:
        os._exit(run_program(task, report_fd))
    signal.signal(signal.SIGTERM, lambda *_: signal_all(signal.SIGTERM))
    signal.signal(signal.SIGUSR1, lambda *_: signal_all(signal.SIGKILL))
    signal.signal(signal.SIGHUP, lambda *_: signal_all(signal.SIGKILL))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP})
    while True:
        pid, status = os.wait()
        if pid == program:
            break
    end_all()
    report_status(report_fd, status)
    return 0


def run_program(task: dict[str, Any], report_fd: int) -> int:
    """Become the program; returns only if that fails."""
    try:
        os.setsid()
        reset_signals()
        die_with_parent(signal.SIGKILL)
        os.umask(0o022)
        forbid_privileges()
        if os.geteuid() == 0:  # without them even root keeps to the image's read-only modes
            limit_capabilities(frozenset())
        drop_capabilities(frozenset())
        try:
            os.chdir(task["cwd"])
        except OSError as error:
            return not_started(report_fd, task["cwd"], error, 126)
    except (StepFailed, OSError) as error:
        report(report_fd, f"failed setup {error}")
        return 125
    return execute(task["argv"], task["env"], report_fd)


def end_all() -> None:
    """Kill and reap until no child is left; what a killed one leaves behind becomes a child in its turn."""
    while True:
        signal_all(signal.SIGKILL)
        try:
            os.wait()
        except ChildProcessError:
            return


def signal_all(number: int) -> None:
    """Send a signal to every descendant. A process that forks meanwhile is caught in the next round."""
    for pid in descendants():
        try:
            os.kill(pid, number)
        except (ProcessLookupError, PermissionError):
            pass


def descendants() -> list[int]:
    """The ids of all processes below this one, parents first."""
    children: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            with open(f"/proc/{name}/stat", "rb") as file:
                parent = int(file.read().rpartition(b")")[2].split()[1])
        except (OSError, IndexError, ValueError):
            continue  # it has ended meanwhile
        children.setdefault(parent, []).append(int(name))
    found = list(children.get(os.getpid(), []))
    for pid in found:
        found.extend(children.get(pid, []))
    return found
