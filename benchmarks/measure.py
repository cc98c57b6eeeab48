"""Two ways to do the same thing, measured in turns."""

from __future__ import annotations

import statistics
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Comparison:
    """Medians of ours and of the other way, in `unit`, and their ratio: below 1 ours takes less.

    Where `unit` says how many, of events a second or of keys, above 1 ours does more.
    """

    name: str
    ours: float
    other: float
    ratio: float
    unit: str = "ms"

    def __str__(self) -> str:
        """One line of the table."""
        ours, other = (f"{value:.1f} {self.unit}" for value in (self.ours, self.other))
        return f"{self.name:<32} {ours:>20} {other:>20} {self.ratio:>8.2f}"


def in_turns(
    name: str, ours: Callable[[], object], other: Callable[[], object], times: int = 5
) -> Comparison:
    """Medians of `times` runs of each, one after the other, so that both see the same machine."""
    durations: tuple[list[float], list[float]] = ([], [])
    for _ in range(times):
        for run, collected in zip((ours, other), durations, strict=True):
            started = time.perf_counter()
            run()
            collected.append((time.perf_counter() - started) * 1000)
    first, second = (statistics.median(collected) for collected in durations)
    return Comparison(name, round(first, 2), round(second, 2), round(first / second, 3))


def process(command: Sequence[str]) -> Callable[[], object]:
    """A whole process, from its start to its end; it has to succeed."""
    return lambda: subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
