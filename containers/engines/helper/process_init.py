"""Supervises a container's processes without a PID namespace (fakechroot, proot).

The helper adopts orphans (PR_SET_CHILD_SUBREAPER), so that everything that the program starts stays below it
in the process tree, daemonized or not. When the program ends, times out or the caller dies, all descendants
are killed until none is left. (A program may kill this process, too, as it runs as the same user: see
`orphans.py`.)
"""

from __future__ import annotations

import os

from containers.engines.helper import kernel
from containers.engines.helper.kernel import StepFailed
from containers.engines.helper.processes import descendants, end_descendants, parent_and_session, signal_each
from containers.engines.helper.program import become, failed, report_status, report_usage, wait_for

TYPE_CHECKING = False  # as typing's, which takes 5 ms to load
if TYPE_CHECKING:
    import signal
    from typing import Any
else:
    import _signal as signal  # the C part only: the Python part loads `enum`, which takes 5 ms

_LOOK_S = 0.02


def main(task: dict[str, Any], report_fd: int) -> int:
    """The helper."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP})
    kernel.die_with_parent(signal.SIGHUP)
    if os.getppid() != task["parent"]:
        return 0  # the caller died before the death signal was set
    try:
        kernel.adopt_orphans()
        program = os.fork()
    except (StepFailed, OSError) as error:
        return failed(report_fd, error, "setup")
    if program == 0:
        os._exit(become(task, report_fd, give_up_privileges))
    signal.signal(signal.SIGTERM, lambda *_: signal_all(signal.SIGTERM))
    signal.signal(signal.SIGUSR1, lambda *_: signal_all(signal.SIGKILL))
    signal.signal(signal.SIGHUP, lambda *_: signal_all(signal.SIGKILL))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP})
    if task["tracer"]:
        end_with_first_child(program)
    status = wait_for(program)
    signal.setitimer(signal.ITIMER_REAL, 0)
    end_descendants()
    report_status(report_fd, status)
    report_usage(report_fd)
    return 0


def end_with_first_child(tracer: int) -> None:
    """Kill the processes that a proot without `--kill-on-exit` still traces after its first process, the
    program, has ended. proot then ends with the program's exit code, unless another process ended by itself
    in between.
    """
    first: list[int] = []

    def look(*_: object) -> None:
        if first and is_child(first[0], tracer):
            return
        others = [pid for pid in descendants()[1] if pid != tracer]
        # The program is proot's child. Its orphans become our children.
        first[:] = [pid for pid in others if is_child(pid, tracer)]
        if not first:
            signal_each(others, signal.SIGKILL)

    signal.signal(signal.SIGALRM, look)
    signal.setitimer(signal.ITIMER_REAL, _LOOK_S, _LOOK_S)


def is_child(pid: int, parent: int) -> bool:
    """Whether it is one, if it still exists."""
    try:
        return parent_and_session(pid)[0] == parent
    except OSError:
        return False


def signal_all(number: int) -> None:
    """Send a signal to every descendant."""
    signal_each(descendants()[1], number)


def give_up_privileges() -> None:
    """Without them even root keeps to the image's read-only modes."""
    kernel.die_with_parent(signal.SIGKILL)
    kernel.forbid_privileges()
    if os.geteuid() == 0:
        kernel.limit_capabilities(frozenset())
    kernel.drop_capabilities(frozenset())
