"""When a workflow will have processed its files."""

from __future__ import annotations

from dataclasses import replace

import pytest

from scar_cli.watch.estimate import Estimate, Step, estimate

SPLIT = Step("split", left=10, done=40, per_second=2.0, feeds=("merge",))
MERGE = Step("merge", left=20, done=80, per_second=10.0)


def test_nothing_is_left() -> None:
    assert estimate([replace(SPLIT, left=0), replace(MERGE, left=0)]) == Estimate(0.0)
    assert estimate([]) == Estimate(0.0)


def test_a_function_needs_the_time_of_its_files() -> None:
    assert estimate([SPLIT]) == Estimate(5.0)


def test_the_slowest_function_counts() -> None:
    assert estimate([SPLIT, replace(MERGE, left=10, done=30, per_second=0.5)]) == Estimate(40.0)


def test_files_that_are_yet_to_be_written_count() -> None:
    """40 runs wrote 100 files until now, so 10 more will write 25."""
    assert estimate([SPLIT, replace(MERGE, per_second=1.0)]) == Estimate(20 + 25.0)


def test_a_function_without_files_yet_makes_it_a_lower_limit() -> None:
    merge = replace(MERGE, left=0, done=0, per_second=0.0)
    assert estimate([replace(SPLIT, done=0), merge]) == Estimate(5.0, is_least=True)


def test_without_a_rate_there_is_no_estimate() -> None:
    assert estimate([replace(SPLIT, per_second=0.0), MERGE]) == Estimate(None)


def test_files_that_may_wait_unseen_make_it_a_lower_limit() -> None:
    assert estimate([replace(SPLIT, is_least=True)]) == Estimate(5.0, is_least=True)


@pytest.mark.parametrize("back", ["split", "merge"])
def test_a_loop_ends(back: str) -> None:
    found = estimate([SPLIT, replace(MERGE, feeds=(back,))])
    assert found.seconds is not None
    assert 0 < found.seconds < 100


def test_many_functions_that_feed_each_other_are_fast() -> None:
    names = tuple(f"f{number}" for number in range(300))
    assert estimate([Step(name, 1, 1, 1.0, names) for name in names]).seconds is not None
