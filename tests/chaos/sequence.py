"""The sequence of faults: which, when, and how each of them is injected.

A seed decides about the kinds, their order, and after how many requests of the workload each of them is
injected. So it is the same on a slow machine and on a fast one. Which process or request is hit depends on
the operating system's scheduler.
"""

from __future__ import annotations

import contextlib
import enum
import os
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.chaos.launches import Launches
from tests.chaos.workload import Workload
from tests.faults.injected import kills
from tests.faults.injected.clock import Clock
from tests.faults.injected.cloud import kill_emulator, kill_supervisor
from tests.faults.injected.kills import Victim
from tests.faults.injected.proxy import Fault, Proxy


class Event(enum.Enum):
    """A fault that is neither a cut nor a kill of a single worker, job or container."""

    EMULATOR = "emulator killed"
    SUPERVISOR = "supervisor killed"
    STOP = "cloud stopped"
    LAUNCHER = "scar-launch killed"
    DISK_FULL = "disk full for a second"
    CLOCK = "clock of the emulator moved by up to a minute"


Kind = Fault | Victim | Event
_PER_THOUSAND: dict[Kind, int] = {
    Event.EMULATOR: 80,
    Event.SUPERVISOR: 10,
    Event.STOP: 10,
    Event.LAUNCHER: 20,
    Event.DISK_FULL: 10,
    Event.CLOCK: 10,
    Victim.FUNCTION: 140,
    Victim.FUNCTION_KEEPER: 70,
    Victim.JOB: 110,
    Victim.JOB_KEEPER: 60,
    Fault.REFUSED: 80,
    Fault.UNANSWERED: 150,
    Fault.HALF_SENT: 70,
    Fault.HALF_ANSWERED: 70,
    Fault.ERROR: 60,
    Fault.THROTTLED: 50,
}
_REQUESTS_BETWEEN = (2, 10)
_LONGEST_PAUSE_S = 3.0
"""Without any request."""
_VICTIM_WITHIN_S = 10.0
_TOLD_EVERY = 50
_CLOCK_MOVES_S = 60
"""Lambda tells a function until what time of day it may run, and containers have the real clock."""


@dataclass(frozen=True)
class Planned:
    """A fault of the sequence."""

    kind: Kind
    after: int
    """Requests since the previous one."""
    seed: int
    """Of its own decisions."""


def plan(count: int, seed: int) -> list[Planned]:
    """The sequence: each kind in proportion, at least once if there are enough faults."""
    chance = random.Random(seed)
    kinds = [kind for kind, share in _PER_THOUSAND.items() for _ in range(max(1, share * count // 1000))]
    chance.shuffle(kinds)
    while len(kinds) < count:
        kinds.append(chance.choice((Fault.UNANSWERED, Victim.FUNCTION, Victim.JOB)))
    return [
        Planned(kind, chance.randint(*_REQUESTS_BETWEEN), chance.randrange(1 << 30)) for kind in kinds[:count]
    ]


@dataclass
class Sequence:
    """Injects the planned faults, one after another."""

    workload: Workload
    proxy: Proxy
    launches: Launches
    disk: Path | None
    """A folder on the small disk with the cloud's state, or None: the disk is never full."""
    clock: Clock | None
    done: Counter[Kind] = field(default_factory=Counter)
    """Faults that were injected; cuts are counted by the proxy."""
    instead: Counter[Kind] = field(default_factory=Counter)
    """Faults for which there was no victim: a request was cut instead."""
    lines_lost: Counter[tuple[str, str]] = field(default_factory=Counter)
    """By log stream and text."""

    def run(self, planned: list[Planned], told: Callable[[], str]) -> None:
        """Inject all faults, and print what has become of the files meanwhile (`told`)."""
        for number, fault in enumerate(planned, start=1):
            self._await(fault.after)
            chance = random.Random(fault.seed)
            time.sleep(chance.random() * 0.05)
            self._inject(fault.kind, chance)
            if number % _TOLD_EVERY == 0:
                print(f"{number} of {len(planned)} faults: {told()}", flush=True)

    def _await(self, requests: int) -> None:
        """Wait until the workload has sent so many requests, or does nothing."""
        until, seen, since = self.proxy.requests + requests, self.proxy.requests, time.monotonic()
        while self.proxy.requests < until and time.monotonic() - since < _LONGEST_PAUSE_S:
            time.sleep(0.005)
            if self.proxy.requests != seen:
                seen, since = self.proxy.requests, time.monotonic()

    def _inject(self, kind: Kind, chance: random.Random) -> None:
        if isinstance(kind, Fault):
            self.proxy.inject(kind)
            return
        if isinstance(kind, Victim) and not self._kill(kind, chance):
            self.instead[kind] += 1
            self.proxy.inject(Fault.UNANSWERED)
            return
        if isinstance(kind, Event) and not self._apply(kind, chance):
            self.instead[kind] += 1
            self.proxy.inject(Fault.UNANSWERED)
            return
        self.done[kind] += 1

    def _kill(self, victim: Victim, chance: random.Random) -> bool:
        until = time.monotonic() + _VICTIM_WITHIN_S
        while time.monotonic() < until:
            if kills.kill(victim, self.workload.running.emulator_pid, chance):
                return True
            time.sleep(0.01)
        return False

    def _apply(self, event: Event, chance: random.Random) -> bool:
        if event is Event.EMULATOR:
            check = self.done[event] % 10 == 0
            before = self.workload.log_lines() if check else Counter()
            kill_emulator(self.workload.cloud)
            self.workload.start()
            if check:
                self.lines_lost += before - self.workload.log_lines()
        elif event is Event.SUPERVISOR:
            kill_supervisor(self.workload.cloud)
            self.workload.start()
        elif event is Event.STOP:
            self.workload.cloud.stop()
            self.workload.start()
        elif event is Event.LAUNCHER:
            self.launches.kill_one(chance)
        elif event is Event.DISK_FULL:
            if self.disk is None:
                return False
            with _full(self.disk):
                time.sleep(0.5 + chance.random())
        elif event is Event.CLOCK:
            if self.clock is None:
                return False
            self.clock.move(chance.randint(-_CLOCK_MOVES_S, _CLOCK_MOVES_S))
        return True


@contextlib.contextmanager
def _full(folder: Path) -> Iterator[None]:
    filler = folder / "filler"
    free = os.statvfs(folder)
    try:
        with contextlib.suppress(OSError), filler.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, max(1, free.f_bavail * free.f_frsize - 4096))
        with contextlib.suppress(OSError), filler.open("ab", buffering=0) as file:
            while True:
                file.write(bytes(4096))
        yield
    finally:
        filler.unlink()
