"""Two ways to do the same thing, measured in turns."""

from __future__ import annotations

import statistics
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass


class UnavailableError(Exception):
    """A measurement needs something that is not available; the text says why."""


@dataclass(frozen=True)
class Comparison:
    """Medians of our way and of the other way, in `unit`, and their ratio: below 1 ours costs less.

    If `unit` is a rate or a number, such as events per second or keys, above 1 ours does more.
    """

    name: str
    ours: float
    other: float
    ratio: float
    unit: str = "ms"

    @classmethod
    def of(cls, name: str, ours: float, other: float, unit: str = "ms") -> Comparison:
        """Compare two values, rounded."""
        return cls(name, round(ours, 2), round(other, 2), round(ours / other, 3), unit)

    @classmethod
    def of_medians(cls, name: str, ours: Sequence[float], other: Sequence[float]) -> Comparison:
        """Compare two series of milliseconds."""
        return cls.of(name, statistics.median(ours), statistics.median(other))

    def __str__(self) -> str:
        """One line of the table."""
        ours, other = (f"{value:.1f} {self.unit}" for value in (self.ours, self.other))
        return f"{self.name:<32} {ours:>20} {other:>20} {self.ratio:>8.2f}"


def in_turns(
    name: str, ours: Callable[[], object], other: Callable[[], object], times: int = 5, pause_s: float = 0.0
) -> Comparison:
    """Medians of `times` runs of each, one after the other, so that both run under the same conditions.

    Waits `pause_s` seconds before each run.
    """
    durations: tuple[list[float], list[float]] = ([], [])
    for _ in range(times):
        for run, collected in zip((ours, other), durations, strict=True):
            time.sleep(pause_s)
            collected.append(milliseconds(run))
    return Comparison.of_medians(name, *durations)


def milliseconds(run: Callable[[], object]) -> float:
    """Duration in milliseconds."""
    started = time.perf_counter()
    run()
    return (time.perf_counter() - started) * 1000


def process(command: Sequence[str]) -> Callable[[], object]:
    """Run a whole process; it must succeed."""
    return lambda: subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
