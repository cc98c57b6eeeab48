# ruff: noqa: PTH123, PTH208, SIM105
# pathlib and contextlib take longer to load than this program takes to run.

"""Ending every process below this one, where there is no PID namespace to do it.

Whoever calls this has asked the kernel for orphans (`kernel.adopt_orphans`), so that everything started below
it stays below it, in whatever session.
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
    found: dict[int, list[tuple[int, int]]] = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                parent, session = parent_and_session(int(name))
            except OSError:
                continue  # it has ended meanwhile
            found.setdefault(parent, []).append((int(name), session))
    here = found.get(os.getpid(), [])
    children = [pid for pid, session in here if is_spared is None or not is_spared(pid, session)]
    below = list(children)
    for pid in below:  # grows on the way
        below.extend(child for child, _ in found.get(pid, []))
    return children, below


def parent_and_session(pid: int) -> tuple[int, int]:
    """From /proc. OSError if there is no such process."""
    with open(f"/proc/{pid}/stat", "rb") as file:
        fields = file.read().rpartition(b")")[2].split()
    return int(fields[1]), int(fields[3])


def signal_each(pids: list[int], number: int) -> None:
    """Send a signal to those of the processes that are still there."""
    for pid in pids:
        try:
            os.kill(pid, number)
        except (ProcessLookupError, PermissionError):
            pass
