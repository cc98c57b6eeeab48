"""Processes below a cloud's emulator that a fault may kill."""

from __future__ import annotations

import enum
import os
import random
import signal
from collections.abc import Iterable
from pathlib import Path


class Victim(enum.Enum):
    """What is killed."""

    WORKER = "Lambda worker"
    """The process that runs the handler."""
    WORKER_KEEPER = "keeper of a Lambda worker"
    CONTAINER = "process in a function's container"
    JOB_KEEPER = "keeper of a job"
    """Its host is lost, as Batch sees it."""
    JOB = "process of a job"
    """The container's host, its engine, or a process in the container."""


def kill(victim: Victim, emulator: int, chance: random.Random) -> bool:
    """SIGKILL to one such process; False if there is none at present."""
    found = sorted(_find(victim, emulator))
    while found:
        process = found.pop(chance.randrange(len(found)))
        try:
            os.kill(process, signal.SIGKILL)
        except ProcessLookupError:
            continue
        return True
    return False


def _find(victim: Victim, emulator: int) -> Iterable[int]:
    children = _children()
    keepers = children.get(emulator, [])
    of_jobs = [keeper for keeper in keepers if b"contain" in _command(keeper)]
    of_workers = [keeper for keeper in keepers if keeper not in of_jobs and children.get(keeper)]
    workers = [child for keeper in of_workers for child in children[keeper]]
    if victim is Victim.WORKER_KEEPER:
        return of_workers
    if victim is Victim.WORKER:
        return workers
    if victim is Victim.CONTAINER:
        return _below(workers, children)
    if victim is Victim.JOB_KEEPER:
        return of_jobs
    return _below(of_jobs, children)


def _below(processes: Iterable[int], children: dict[int, list[int]]) -> list[int]:
    found = [child for process in processes for child in children.get(process, ())]
    for process in found:
        found.extend(children.get(process, ()))
    return found


def _children() -> dict[int, list[int]]:
    """Processes that have not ended, by their parents."""
    found: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                state, parent = (entry / "stat").read_text().rpartition(")")[2].split()[:2]
            except OSError:
                continue
            if state not in "ZX":
                found.setdefault(int(parent), []).append(int(entry.name))
    return found


def _command(process: int) -> list[bytes]:
    try:
        return Path(f"/proc/{process}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return []
