"""Runs in each stage over time, in bounded memory.

Time is divided into buckets. Each bucket of a function has the number of runs that start and end in it, and
the time that runs spend in each stage. Buckets begin narrow, and become twice as wide whenever there are too
many.

A stage may last for days, so a run changes only the buckets in which a stage starts and ends. A stage that
lasts beyond its first bucket is *active* from the next one until the one in which it ends, which has the rest
of the time. The number of active stages in a bucket is the sum of the changes up to it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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


class _Cells(dict[int, list[float]]):
    """Cells by bucket, which are made when they are first used."""

    def __missing__(self, place: int) -> list[float]:
        cell = self[place] = [0.0] * _WIDTH
        return cell


@dataclass
class Timeline:
    """For each function, by its number: the runs in each bucket."""

    bucket_ms: int = _FIRST_BUCKET_MS
    _cells: dict[int, _Cells] = field(default_factory=dict)
    """By function and bucket: counts, time by stage, and by stage the change of the number of active ones."""

    def add(self, function: int, runs: Sequence[Run], stages: Sequence[tuple[float, ...]]) -> None:
        """Add runs, with the durations of their stages."""
        cells = self._cells.setdefault(function, _Cells())
        width = self.bucket_ms
        for run, durations in zip(runs, stages, strict=True):
            at = run.started_ms - durations[0] - durations[1]
            place = int(at // width)
            cell = cells[place]
            if int((at + sum(durations)) // width) == place and int(run.ended_ms // width) == place:
                for stage, duration in enumerate(durations, start=_TIMES):
                    cell[stage] += duration
                first = end = cell
            else:
                self._add_long(cells, at, durations)
                first = cells[int(run.started_ms // width)]
                end = cells[int(run.ended_ms // width)] if run.status in _ENDS else first
            first[0] += 1
            if run.cold:
                first[3] += 1
            if run.status in _ENDS:
                end[_ENDS[run.status]] += 1
        while sum(map(len, self._cells.values())) > _MOST_CELLS:
            self._widen()

    def _add_long(self, cells: _Cells, at: float, durations: tuple[float, ...]) -> None:
        """Add the stages of a run that lasts beyond its first bucket."""
        width = self.bucket_ms
        place = int(at // width)
        for stage, duration in enumerate(durations):
            if not duration:
                continue
            until = at + duration
            last = int(until // width)
            if last == place:
                cells[place][_TIMES + stage] += duration
            else:
                cells[place][_TIMES + stage] += (place + 1) * width - at
                cells[place + 1][_CHANGES + stage] += 1
                cells[last][_CHANGES + stage] -= 1
                cells[last][_TIMES + stage] += until - last * width
            at, place = until, last

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
        cells = self._cells.get(function, _Cells())
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

    def _widen(self) -> None:
        """Make buckets twice as wide."""
        width = self.bucket_ms
        self.bucket_ms = 2 * width
        for function, cells in self._cells.items():
            wide = _Cells()
            for place, cell in cells.items():
                target = wide[place // 2]
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
                        following = wide[place // 2 + 1] if following is None else following
                        following[_CHANGES + stage] += change
            self._cells[function] = wide
