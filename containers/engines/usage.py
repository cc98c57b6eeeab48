"""The memory and CPU time that the processes of a container have used.

The kernel adds up the CPU time of processes that have ended, and knows the peak of the largest of them
(getrusage(2)). That peak has a lower bound, because a new process begins with the memory of the one that
started it. Memory of several processes, and of small ones, is therefore also measured while they run: often
at the beginning of a run, and four times a second later.

The kernel's own peak of the control group (`memory.peak`) is not used. It includes the page cache, which may
fill all memory that a container is given, and it does not exist on AWS Lambda.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from containers.engines.helper.processes import all_of_proc, kernels_list

_UNTIL_STARTED_S = 0.002
_FIRST_PAUSE_S = 0.01
_LONGEST_PAUSE_S = 0.25
_SHARE = 0.01
"""Maximum share of a CPU that is spent on measuring: there may be thousands of processes."""
_PAGE = os.sysconf("SC_PAGE_SIZE")
_UNCERTAIN_BYTES = 4 << 20
"""A process is this much larger than its starter, or it is not known to be larger at all."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What the kernel reports about processes that have ended."""

    cpu_s: float
    largest_bytes: int
    """Peak memory of the largest process, but at least `starter_bytes`."""
    starter_bytes: int
    """Peak memory of the process that started the first one."""


class MemoryPeak:
    """The peak memory of the processes below `parent`, this process or a helper of an engine.

    The first `levels` generations are not counted: they are the engine's own. A page that several processes
    share after a fork counts for each of them; files that they map count once.
    """

    def __init__(self, parent: int, levels: int = 0) -> None:
        self._parent = parent
        self._levels = levels
        self._pause_s = _UNTIL_STARTED_S
        self._bytes = 0
        self.next_at = 0.0
        """When to measure next (`time.monotonic`)."""

    def measure(self) -> None:
        """Look at all processes that run now."""
        cpu_before_s = time.thread_time()
        children_of = _children()
        generation = [self._parent]
        for _ in range(self._levels + 1):
            generation = [child for pid in generation for child in children_of(pid)]
        own, largest_shared = 0, 0
        for pid in generation:  # grows on the way
            resident, shared = _pages(pid)
            own += resident - shared
            largest_shared = max(largest_shared, shared)
            generation.extend(children_of(pid))
        self._bytes = max(self._bytes, (own + largest_shared) * _PAGE)
        cpu_s = time.thread_time() - cpu_before_s
        self.next_at = time.monotonic() + max(self._pause_s, cpu_s / _SHARE)
        if self._bytes:
            self._pause_s = min(max(_FIRST_PAUSE_S, 2 * self._pause_s), _LONGEST_PAUSE_S)

    def bytes(self, usage: Usage | None) -> int | None:
        """The peak, also considering what the kernel reports; None: unknown."""
        peak = self._bytes
        if usage is not None and usage.largest_bytes > usage.starter_bytes + _UNCERTAIN_BYTES:
            peak = max(peak, usage.largest_bytes)
        return peak or None


def _children() -> Callable[[int], list[int]]:
    return kernels_list if Path("/proc/thread-self/children").exists() else all_of_proc()


def _pages(pid: int) -> tuple[int, int]:
    """Resident pages, and those of them that are files or shared memory."""
    try:
        fields = Path(f"/proc/{pid}/statm").read_bytes().split()
    except OSError:
        return 0, 0  # it has ended meanwhile
    return int(fields[1]), int(fields[2])
