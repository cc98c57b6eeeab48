"""Detects that the kernel killed processes of a run because memory ran out.

The runner survives that: it uses little memory, and `DirectEngine` makes the script the first choice of the
kernel. The control group of the container counts the kills. AWS Lambda shows no control groups: there, and
wherever else the counter is missing, a script that dies of SIGKILL has run out of memory, because the runner
itself kills a script only when its time is up.
"""

from __future__ import annotations

import signal
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from containers.engines import ContainerResult

_COUNTERS = (
    Path("/sys/fs/cgroup/memory.events"),  # version 2 of control groups
    Path("/sys/fs/cgroup/memory/memory.oom_control"),  # version 1
)
_KILLED = 128 + signal.SIGKILL
"""Exit code of a shell whose last command was killed."""


def kills_for_memory() -> int | None:
    """Number of processes that the kernel killed in this container so far; None: unknown."""
    for path in _COUNTERS:
        try:
            lines = path.read_text(encoding="ascii").splitlines()
        except (OSError, ValueError):
            continue
        for name, _, value in (line.partition(" ") for line in lines):
            if name == "oom_kill" and value.isdigit():
                return int(value)
    return None


def ran_out_of_memory(ended: ContainerResult, kills_before: int | None) -> bool:
    """Whether a run that failed ran out of memory. `kills_before` is the counter before its start."""
    kills = kills_for_memory()
    if kills is not None and kills_before is not None:
        return kills > kills_before
    return ended.signal == signal.SIGKILL or ended.exit_code == _KILLED
