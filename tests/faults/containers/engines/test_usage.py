"""Memory and CPU time of a container, by each engine that has a helper. (`direct`: `test_assembled.py`.)"""

from __future__ import annotations

import time

import pytest

from tests.faults.containers.engines.conftest import Runner

LARGE = "(head -c 40000000 /dev/zero; sleep 0.5) | grep -ac x"
"""The line has 40 MB, and grep keeps it until it ends."""


@pytest.fixture(params=["namespaces", "fakechroot", "proot"])
def runner(request: pytest.FixtureRequest) -> Runner:
    chosen: Runner = request.getfixturevalue(request.param)
    return chosen


def test_memory_and_cpu_time_are_those_of_all_processes(runner: Runner) -> None:
    unmeasured = runner("sleep 0.01").result
    assert (unmeasured.memory_bytes, unmeasured.cpu_s) == (None, None)
    small = runner("sleep 0.1", measured=True).result
    large = runner(f"{LARGE}; i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done", measured=True).result
    both = runner(f"({LARGE}) & {LARGE}; wait", measured=True).result
    assert small.memory_bytes is not None and large.memory_bytes is not None and both.memory_bytes is not None
    assert 0 < small.memory_bytes < 20e6
    assert 40e6 < large.memory_bytes < both.memory_bytes
    assert both.memory_bytes > 60e6, "a peak that is shorter than a quarter of a second may be missed"
    assert small.cpu_s is not None and large.cpu_s is not None
    assert 0 < small.cpu_s < large.cpu_s < large.duration_s


@pytest.mark.parametrize("engine", ["fakechroot", "proot"])
def test_a_daemon_that_is_killed_at_the_end_counts_too(engine: str, request: pytest.FixtureRequest) -> None:
    runner: Runner = request.getfixturevalue(engine)
    daemon = runner("(while :; do :; done) & sleep 1", measured=True).result
    assert daemon.cpu_s is not None
    assert daemon.cpu_s > 0.02


def test_a_run_that_timed_out_has_numbers_too(runner: Runner) -> None:
    result = runner("while :; do :; done", measured=True, deadline=time.monotonic() + 1).result
    assert (result.timed_out, result.cpu_s is not None) == (True, True)
    assert (result.cpu_s or 0) > 0.02
    assert result.memory_bytes is not None
