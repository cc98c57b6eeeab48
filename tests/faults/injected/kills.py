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

    FUNCTION = "process of a Lambda function's container"
    """The container's host, its engine, or a process in it."""
    FUNCTION_KEEPER = "keeper of a Lambda function's container"
    JOB = "process of a job's container"
    JOB_KEEPER = "keeper of a job's container"
    """Its host is lost, as Batch sees it."""


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


_MARKS = {
    Victim.FUNCTION: b"AWS_LAMBDA_FUNCTION_NAME",
    Victim.FUNCTION_KEEPER: b"AWS_LAMBDA_FUNCTION_NAME",
    Victim.JOB: b"AWS_BATCH_JOB_ID",
    Victim.JOB_KEEPER: b"AWS_BATCH_JOB_ID",
}
"""Variables in the container."""


def _find(victim: Victim, emulator: int) -> Iterable[int]:
    children = _children()
    containers = {
        keeper: _below([keeper], children)
        for keeper in children.get(emulator, [])
        if b"contain" in _read(keeper, "cmdline")
    }
    wanted = {
        keeper: processes
        for keeper, processes in containers.items()
        if any(
            variable.startswith(_MARKS[victim])
            for process in processes
            for variable in _read(process, "environ")
        )
    }
    if victim in (Victim.FUNCTION_KEEPER, Victim.JOB_KEEPER):
        return wanted
    return [process for processes in wanted.values() for process in processes]


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


def _read(process: int, what: str) -> list[bytes]:
    """The command line, or the environment, of a process."""
    try:
        return Path(f"/proc/{process}/{what}").read_bytes().split(b"\0")
    except OSError:
        return []
