"""A process and all its descendants end when its owner ends, in any way.

Each Lambda worker and each Batch job runs below a *keeper*: a process that only waits. The keeper is a child
subreaper, so it adopts the orphans of its child. It has the read end of a pipe whose write end only the owner
has, so it notices when the owner ends, even by SIGKILL. Then, or on a signal, or when its child has ended, it
kills all its descendants and exits.

The code of this file is also put at the start of the Lambda workers' script, so it imports only a few modules
of the standard library.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import time
from contextlib import suppress
from types import FrameType

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36


def keep(child: int, *, owner: int | None = 0, grace_s: float = 0.0) -> int:
    """Wait for `child`, then end every descendant. Returns the child's exit status, or 128 + N if signal N
    ended it.

    `owner` is a descriptor of a pipe whose other end the owner holds open; when that is closed, or SIGTERM,
    SIGINT or SIGHUP arrives, the child gets SIGTERM and `grace_s` seconds before it is killed. The caller is
    already a subreaper.
    """
    wake_reader, wake_writer = os.pipe()
    for descriptor in (wake_reader, wake_writer):
        os.set_blocking(descriptor, False)
    signal.set_wakeup_fd(wake_writer, warn_on_full_buffer=False)
    stops: list[int] = []

    def note_stop(number: int, _frame: FrameType | None) -> None:
        stops.append(number)

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, note_stop)
    signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
    poll = select.poll()
    poll.register(wake_reader, select.POLLIN)
    if owner is not None:
        poll.register(owner, 0)  # no events requested: a hang-up is always reported
    status: int | None = None
    kill_at: float | None = None
    while True:
        ended = _reap()
        status = ended.get(child, status)
        if status is not None or (kill_at is not None and time.monotonic() >= kill_at):
            break
        wait_ms = None if kill_at is None else max(0, int((kill_at - time.monotonic()) * 1000))
        for descriptor, _event in poll.poll(wait_ms):
            if descriptor == wake_reader:
                os.read(wake_reader, 4096)
            elif owner is not None:
                poll.unregister(owner)
                owner = None
                stops.append(signal.SIGHUP)
        if stops and kill_at is None:
            kill_at = time.monotonic() + grace_s
            if grace_s > 0:
                _signal(child, signal.SIGTERM)
    end = end_descendants()
    status = end.get(child, status)
    return 128 + signal.SIGKILL if status is None else status


def become_subreaper() -> None:
    """Orphans among our descendants become our children instead of init's (Linux only)."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def die_with_parent(parent: int) -> None:
    """SIGKILL us when the thread that forked us, of process `parent`, ends or has ended (on Linux)."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(128 + signal.SIGKILL)


def fork_keeper(*, grace_s: float = 0.0) -> None:
    """Fork: this returns in the child, in a session of its own; the parent becomes its keeper."""
    become_subreaper()
    keeper = os.getpid()
    child = os.fork()
    if child:
        # The child's output must reach end of file when the child's side closes it, not when the keeper ends.
        nowhere = os.open(os.devnull, os.O_RDWR)
        os.dup2(nowhere, 1)
        os.dup2(nowhere, 2)
        os._exit(keep(child, grace_s=grace_s))
    die_with_parent(keeper)
    os.setsid()


def end_descendants(deadline_s: float = 10.0) -> dict[int, int]:
    """Kill all descendants of this process and reap them; return its children's exit statuses."""
    ended: dict[int, int] = {}
    deadline = time.monotonic() + deadline_s
    while time.monotonic() < deadline:
        ended.update(_reap())
        # A process can fork between the listing and the signal, so this goes on until none is left.
        left = descendants()
        if not left:
            break
        for process in left:
            _signal(process, signal.SIGKILL)
        time.sleep(0.002)
    return ended


def descendants() -> list[int]:
    """All descendants of this process that have not ended, nearest first."""
    by_parent = _processes_by_parent()
    found = list(by_parent.get(os.getpid(), ()))
    for process in found:
        found.extend(by_parent.get(process, ()))
    return found


def children() -> list[int]:
    """The children of this process that have not ended."""
    return _processes_by_parent().get(os.getpid(), [])


def _processes_by_parent() -> dict[int, list[int]]:
    children: dict[int, list[int]] = {}
    for entry in os.listdir("/proc") if os.path.isdir("/proc") else ():  # noqa: PTH112, PTH208 (pathlib loads slowly)
        if entry.isdigit():
            try:
                with open(f"/proc/{entry}/stat", "rb") as stat:  # noqa: PTH123
                    # After the name, which may contain spaces and brackets: state, then the parent's id.
                    state, parent = stat.read().rpartition(b")")[2].split()[:2]
            except OSError:
                continue
            if state not in (b"Z", b"X"):
                children.setdefault(int(parent), []).append(int(entry))
    return children


def _reap() -> dict[int, int]:
    ended: dict[int, int] = {}
    while True:
        try:
            process, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return ended
        if not process:
            return ended
        code = os.waitstatus_to_exitcode(status)
        ended[process] = code if code >= 0 else 128 - code


def _signal(process: int, number: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.kill(process, number)


def _prctl(option: int, argument: int) -> None:
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None, use_errno=True).prctl(option, argument, 0, 0, 0)
