"""Runs in each stage over time, in bounded memory.

Time is divided into buckets. Each bucket of a function has the number of runs that start and end in it, and
the time that runs spend in each stage. Buckets begin narrow, and become twice as wide whenever there are too
many.

A stage may last for days, so a run changes only the buckets in which a stage starts and ends. A stage that
lasts beyond its first bucket is *active* from the next one until the one in which it ends, which has the rest
of the time. The number of active stages in a bucket is the sum of the changes up to it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice

from scar_cli.runs.model import STAGES, Run

_FIRST_BUCKET_MS = 100
_MOST_CELLS = 30_000
"""Buckets of all functions together."""
COUNTS = ("started", "done", "failed", "cold")
_ENDS = {"done": 1, "failed": 2}
_WIDTH = len(COUNTS) + 2 * len(STAGES)
_TIMES = len(COUNTS)
_CHANGES = _TIMES + len(STAGES)


@dataclass
class Timeline:
    """For each function, by its number: the runs in each bucket."""

    bucket_ms: int = _FIRST_BUCKET_MS
    _cells: dict[int, dict[int, list[float]]] = field(default_factory=dict)
    """By function and bucket: counts, time by stage, and by stage the change of the number of active ones."""
    _count: int = 0

    def add(self, function: int, run: Run, stages: tuple[float, ...]) -> None:
        """Add a run, with the durations of its stages."""
        cells = self._cells.setdefault(function, {})
        width = self.bucket_ms
        at = run.started_ms - stages[0] - stages[1]
        place = int(at // width)
        cell = self._cell(cells, place)
        for stage, duration in enumerate(stages):
            if not duration:
                continue
            until = at + duration
            last = int(until // width)
            if last == place:
                cell[_TIMES + stage] += duration
            else:
                cell[_TIMES + stage] += (place + 1) * width - at
                self._cell(cells, place + 1)[_CHANGES + stage] += 1
                cell = self._cell(cells, last)
                cell[_CHANGES + stage] -= 1
                cell[_TIMES + stage] += until - last * width
            at, place = until, last
        first = self._cell(cells, int(run.started_ms // width))
        first[0] += 1
        if run.cold:
            first[3] += 1
        if run.status in _ENDS:
            self._cell(cells, int(run.ended_ms // width))[_ENDS[run.status]] += 1
        while self._count > _MOST_CELLS:
            self._widen()

    def buckets(self, functions: int) -> tuple[int, list[list[tuple[int, list[int]]]]]:
        """The width of a bucket in milliseconds, and the buckets of each of the first `functions` functions.

        Each bucket has its number, and counts and times in the order of `COUNTS` and `STAGES`. Empty buckets
        are left out.
        """
        while True:
            # One bucket too many shows that there are too many, of possibly millions.
            found = [list(islice(self._filled(one), _MOST_CELLS + 1)) for one in range(functions)]
            if sum(map(len, found)) <= _MOST_CELLS:
                return self.bucket_ms, found
            self._widen()

    def _filled(self, function: int) -> Iterator[tuple[int, list[int]]]:
        """Buckets with counts and times, including those in which stages only last on."""
        cells = self._cells.get(function, {})
        active = [0.0] * len(STAGES)
        previous = 0
        for place in sorted(cells):
            if any(active):
                lasting = [0] * _TIMES + [round(one * self.bucket_ms) for one in active]
                for between in range(previous + 1, place):
                    yield between, lasting
            cell = cells[place]
            active = [one + change for one, change in zip(active, cell[_CHANGES:], strict=True)]
            times = [
                round(time + one * self.bucket_ms)
                for time, one in zip(cell[_TIMES:_CHANGES], active, strict=True)
            ]
            yield place, [round(one) for one in cell[:_TIMES]] + times
            previous = place

    def _cell(self, cells: dict[int, list[float]], place: int) -> list[float]:
        cell = cells.get(place)
        if cell is None:
            cell = cells[place] = [0.0] * _WIDTH
            self._count += 1
        return cell

    def _widen(self) -> None:
        """Make buckets twice as wide."""
        width = self.bucket_ms
        self.bucket_ms = 2 * width
        self._count = 0
        for function, cells in self._cells.items():
            wide: dict[int, list[float]] = {}
            for place, cell in cells.items():
                target = self._cell(wide, place // 2)
                for index in range(_CHANGES):
                    target[index] += cell[index]
                if place % 2 == 0:
                    for index in range(_CHANGES, _WIDTH):
                        target[index] += cell[index]
                    continue
                # What becomes active in the second half of a wide bucket is active from the next one on.
                following = None
                for stage in range(len(STAGES)):
                    if change := cell[_CHANGES + stage]:
                        target[_TIMES + stage] += change * width
                        following = self._cell(wide, place // 2 + 1) if following is None else following
                        following[_CHANGES + stage] += change
            self._cells[function] = wide
