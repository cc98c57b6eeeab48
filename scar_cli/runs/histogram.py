"""Distribution of numbers, in bounded memory."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

_PER_DOUBLING = 16
"""Bins for each doubling of the number: percentiles are exact within 2.2 %."""
_SMALLEST = 1e-3


@dataclass(slots=True)
class Histogram:
    """Counts numbers in bins of equal ratio. Numbers may be at most 1e15."""

    count: int = 0
    sum: float = 0.0
    minimum: float = math.inf
    maximum: float = 0.0
    bins: dict[int, int] = field(default_factory=dict)

    def add(self, number: float) -> None:
        """Count a number that is not negative."""
        self.count += 1
        self.sum += number
        self.minimum = min(self.minimum, number)
        self.maximum = max(self.maximum, number)
        # Zero is the first bin; its lower end is as good as 0.
        place = int(math.log2(number) * _PER_DOUBLING + 1024) if number > _SMALLEST else 0
        self.bins[place] = self.bins.get(place, 0) + 1

    def percentile(self, percent: float) -> float:
        """The number that `percent` of all numbers do not exceed; 0 without numbers."""
        wanted = self.count * percent / 100
        seen = 0
        for place in sorted(self.bins):
            seen += self.bins[place]
            if seen >= wanted:
                middle = (_lower(place) + _lower(place + 1)) / 2
                return min(max(middle, self.minimum), self.maximum)
        return self.maximum

    def ranges(self, most: int) -> Iterator[tuple[float, float, int]]:
        """Lower end, upper end and count of at most about `most` bins, without empty ones, ascending."""
        places = sorted(self.bins)
        width = 1
        while places and (places[-1] - places[0]) // width >= most:
            width *= 2
        wide: dict[int, int] = {}
        for place in places:
            wide[place // width] = wide.get(place // width, 0) + self.bins[place]
        for place, count in wide.items():
            yield _lower(place * width), _lower((place + 1) * width), count


def _lower(place: int) -> float:
    return 2 ** ((place - 1024) / _PER_DOUBLING) if place > 0 else 0.0
