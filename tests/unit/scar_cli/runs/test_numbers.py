"""Distribution of numbers, and runs over time, in bounded memory."""

from __future__ import annotations

import random

import pytest

from scar_cli.runs import timeline
from scar_cli.runs.histogram import Histogram
from scar_cli.runs.model import STAGES, Run
from scar_cli.runs.timeline import Timeline


def test_percentiles_are_within_3_percent() -> None:
    chance = random.Random(1)
    numbers = sorted(chance.lognormvariate(5, 2) for _ in range(5000))
    histogram = Histogram()
    histogram.add(numbers[:3000])
    histogram.add(numbers[3000:])
    for percent in (1, 50, 90, 99):
        assert histogram.percentile(percent) == pytest.approx(numbers[percent * 50 - 1], rel=0.03)
    assert (histogram.count, histogram.minimum, histogram.maximum) == (5000, numbers[0], numbers[-1])
    assert histogram.percentile(100) == numbers[-1]
    bins = list(histogram.ranges(40))
    assert len(bins) <= 41
    assert sum(count for _low, _high, count in bins) == 5000
    assert all(low < high for low, high, _count in bins)
    for low, high, count in bins:
        assert count == sum(low <= number < high for number in numbers)


def test_zero_and_nothing_are_numbers_too() -> None:
    histogram = Histogram()
    assert histogram.percentile(50) == 0
    histogram.add([0, 0, 1])
    assert histogram.percentile(50) == 0
    assert list(histogram.ranges(40)) == [(0.0, 0.0, 2), (1.0, 1.0625, 1)]


def run(started_ms: float, stages: tuple[float, ...], status: str = "done") -> Run:
    total = sum(stages[2:])
    return Run("f", "r", "lambda", status, started_ms, started_ms + total, "", "", cold=True, total_ms=total)


@pytest.mark.parametrize("most", [20, 200, 5000])
def test_no_time_is_lost_however_wide_buckets_become(most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timeline, "_MOST_CELLS", most)
    chance = random.Random(3)
    found, spent = Timeline(), [0.0] * len(STAGES)
    for _ in range(300):
        stages = tuple(chance.choice([0, chance.expovariate(1 / 800)]) for _ in STAGES)
        found.add(0, [run(1e6 + chance.random() * 20_000 + stages[0] + stages[1], stages)], [stages])
        spent = [one + more for one, more in zip(spent, stages, strict=True)]
    width, (buckets,) = found.buckets(1)
    assert len(buckets) <= most
    assert width >= 100
    columns = list(zip(*(numbers for _place, numbers in buckets), strict=True))
    assert [sum(column) for column in columns[:4]] == [300, 300, 0, 300]
    assert [sum(column) for column in columns[4:]] == pytest.approx(spent, abs=len(buckets))
    assert min(map(min, columns)) >= 0
    places = [place for place, _numbers in buckets]
    assert places == sorted(set(places))


def test_a_stage_is_in_the_buckets_in_which_it_lasts() -> None:
    """A job waits for 250 ms from 0, and runs for 100 ms."""
    found = Timeline()
    stages = (250.0, 0, 0, 0, 100.0, 0, 0)
    found.add(0, [run(250, stages, "failed")], [stages])
    width, (buckets,) = found.buckets(1)
    assert width == 100
    queued, script = 4 + STAGES.index("queued"), 4 + STAGES.index("run")
    assert [(place, numbers[queued], numbers[script]) for place, numbers in buckets] == [
        (0, 100, 0),
        (1, 100, 0),
        (2, 50, 50),
        (3, 0, 50),
    ]
    assert [numbers[:4] for _place, numbers in buckets] == [
        [0, 0, 0, 0],
        [0, 0, 0, 0],
        [1, 0, 0, 1],
        [0, 0, 1, 0],
    ]


def test_a_run_is_done_in_the_bucket_of_its_end() -> None:
    """The end of a run that was killed is that of its log, which may be later than its stages."""
    found, stages = Timeline(), (0.0,) * 5 + (30.0, 0.0)
    late = run(1000, stages)._replace(ended_ms=1450)
    found.add(0, [run(1010, stages), late], [stages, stages])
    _width, (buckets,) = found.buckets(1)
    assert [(place, numbers[:2]) for place, numbers in buckets] == [(10, [2, 1]), (14, [0, 1])]


def test_a_job_that_waits_for_weeks_needs_few_buckets() -> None:
    found = Timeline()
    stages = (30 * 86_400_000.0, 0, 0, 0, 1000.0, 0, 0)
    found.add(0, [run(31 * 86_400_000, stages)], [stages])
    for second in range(1000):
        short = (0.0, 0, 0, 0, 500.0, 0, 0)
        found.add(0, [run(second * 86_400 + 86_400_000, short)], [short])
    width, (buckets,) = found.buckets(1)
    assert len(buckets) <= 30_000
    waited = sum(numbers[4] for _place, numbers in buckets)
    assert waited == pytest.approx(stages[0], rel=1e-6)
    assert width < 600_000
