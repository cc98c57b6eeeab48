"""Distribution of numbers, in bounded memory."""

from __future__ import annotations

import math
import struct
import sys
from array import array
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

_HIGHEST = 3 if sys.byteorder == "little" else 0
"""Place of the highest 16 bits of a double among its four parts."""


@dataclass(slots=True)
class Histogram:
    """Counts numbers in 16 bins for each doubling, so that percentiles are exact within 3 %.

    The highest 16 bits of a double are its exponent and the first 4 bits of its fraction. They are the number
    of its bin, which saves a logarithm for each of millions of numbers.
    """

    count: int = 0
    sum: float = 0.0
    minimum: float = math.inf
    maximum: float = 0.0
    bins: Counter[int] = field(default_factory=Counter)

    def add(self, numbers: Sequence[float]) -> None:
        """Count numbers, of which none is negative."""
        if not numbers:
            return
        self.count += len(numbers)
        self.sum += sum(numbers)
        self.minimum = min(self.minimum, *numbers)
        self.maximum = max(self.maximum, *numbers)
        parts = memoryview(array("d", numbers)).cast("B").cast("H")
        self.bins.update(parts[_HIGHEST::4].tolist())

    def percentile(self, percent: float) -> float:
        """The number that `percent` of all numbers do not exceed; 0 without numbers."""
        wanted = self.count * percent / 100
        seen = 0
        for place in sorted(self.bins):
            seen += self.bins[place]
            if seen >= wanted:
                middle = (_lower(place) + _lower(place + 1)) / 2 if place else 0.0
                return min(max(middle, self.minimum), self.maximum)
        return self.maximum

    def ranges(self, most: int) -> Iterator[tuple[float, float, int]]:
        """Lower end, upper end and count of at most about `most` bins, without empty ones, ascending."""
        places = sorted(place for place in self.bins if place)
        if zeros := self.bins[0]:
            yield 0.0, 0.0, zeros
        width = 1
        while places and (places[-1] - places[0]) // width >= most:
            width *= 2
        wide: dict[int, int] = {}
        for place in places:
            wide[place // width] = wide.get(place // width, 0) + self.bins[place]
        for place, count in wide.items():
            yield _lower(place * width), _lower((place + 1) * width), count


def _lower(place: int) -> float:
    """The smallest number of a bin."""
    (number,) = struct.unpack(">d", struct.pack(">Q", place << 48))
    return float(number)
