# ruff: noqa: PTH110, PTH123, PTH208, SIM105
# pathlib and contextlib take longer to load than this program takes to run.

"""Ends every process below this one, without a PID namespace.

The caller adopts orphans (`kernel.adopt_orphans`), so that all its descendants stay below it, in any session.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False  # as typing's, which takes 5 ms to load
if TYPE_CHECKING:
    import signal
    from collections.abc import Callable
else:
    import _signal as signal  # the C part only: the Python part loads `enum`, which takes 5 ms

ROUNDS = 200


def end_descendants(is_spared: Callable[[int, int], bool] | None = None) -> None:
    """Kill and reap all descendants but the children for which `is_spared(pid, session)`, and theirs.

    All are stopped before any is killed: a stopped process does not fork. Otherwise a program that forks
    faster than it is killed would never end.
    """
    while True:
        stopped: set[int] = set()
        for _ in range(ROUNDS):
            children, below = descendants(is_spared)
            new = [pid for pid in below if pid not in stopped]
            if not new:
                break
            signal_each(new, signal.SIGSTOP)
            stopped.update(new)
        if not children:
            return
        signal_each(below, signal.SIGKILL)
        for pid in children:
            try:
                os.waitpid(pid, 0)
            except ChildProcessError:
                pass


def descendants(is_spared: Callable[[int, int], bool] | None = None) -> tuple[list[int], list[int]]:
    """The ids of all children of this process that are not spared; and of them and all below them, parents
    first."""
    children_of = kernels_list if os.path.exists("/proc/thread-self/children") else all_of_proc()
    children = []
    for pid in children_of(os.getpid()):
        try:
            if is_spared is None or not is_spared(pid, parent_and_session(pid)[1]):
                children.append(pid)
        except OSError:
            pass  # it has ended, and another thread has reaped it
    below = list(children)
    for pid in below:  # grows on the way
        below.extend(children_of(pid))
    return children, below


def kernels_list(parent: int) -> list[int]:
    """The children of all threads of a process, as the kernel lists them."""
    found: list[int] = []
    try:
        for thread in os.listdir(f"/proc/{parent}/task"):
            with open(f"/proc/{parent}/task/{thread}/children", "rb") as file:
                found.extend(map(int, file.read().split()))
    except OSError:
        pass  # it has ended meanwhile
    return found


def all_of_proc() -> Callable[[int], list[int]]:
    """The same for kernels that do not list them (CONFIG_PROC_CHILDREN): milliseconds, as all are read."""
    found: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                found.setdefault(parent_and_session(int(name))[0], []).append(int(name))
            except OSError:
                continue  # it has ended meanwhile
    return lambda parent: found.get(parent, [])


def parent_and_session(pid: int) -> tuple[int, int]:
    """From /proc. OSError if the process does not exist."""
    with open(f"/proc/{pid}/stat", "rb") as file:
        fields = file.read().rpartition(b")")[2].split()
    return int(fields[1]), int(fields[3])


def signal_each(pids: list[int], number: int) -> None:
    """Send a signal to those of the processes that still exist."""
    for pid in pids:
        try:
            os.kill(pid, number)
        except (ProcessLookupError, PermissionError):
            pass
