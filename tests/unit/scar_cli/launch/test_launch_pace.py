"""Fewer calls at once after refusals, more again after acceptances; and rates."""

from __future__ import annotations

import threading
import time

import pytest

from scar_cli.errors import UserError
from scar_cli.launch.pace import Pace, Patience, rate_of


def call(pace: Pace, *, accepted: bool) -> None:
    assert pace.begin(threading.Event())
    if not accepted:
        pace.slow_down()
    pace.end(accepted=accepted)


def test_refusals_halve_the_calls_at_once_and_acceptances_bring_them_back() -> None:
    pace = Pace(16, None, Patience(calm_s=0))
    call(pace, accepted=False)
    call(pace, accepted=False)
    assert pace.at_once == 4
    for _ in range(3):
        call(pace, accepted=False)
    assert pace.at_once == 1
    for _ in range(300):
        call(pace, accepted=True)
    assert pace.at_once == 16


def test_many_refusals_in_one_moment_count_once() -> None:
    pace = Pace(16, None, Patience(calm_s=60))
    for _ in range(10):
        call(pace, accepted=False)
    assert pace.at_once == 8


def test_no_more_calls_run_than_there_is_room_for() -> None:
    pace, stop = Pace(2, None, Patience()), threading.Event()
    assert pace.begin(stop)
    assert pace.begin(stop)
    third = threading.Event()

    def begin() -> None:
        pace.begin(stop)
        third.set()

    thread = threading.Thread(target=begin)
    thread.start()
    assert not third.wait(0.02)
    pace.end(accepted=True)
    assert third.wait(5)
    thread.join()
    stop.set()
    assert not pace.begin(stop)


def test_a_rate_spaces_calls() -> None:
    pace, stop = Pace(100, 100.0, Patience()), threading.Event()
    started = time.monotonic()
    for _ in range(6):
        pace.begin(stop)
    assert time.monotonic() - started >= 0.045


@pytest.mark.parametrize(
    ("text", "rate"),
    [(None, None), ("50", 50), ("50/s", 50), ("3000/min", 50), ("1.5 / s", 1.5), ("3600/h", 1), ("60/M", 1)],
)
def test_a_rate_is_read_as_it_is_said(text: str | None, rate: float | None) -> None:
    assert rate_of(text) == rate


@pytest.mark.parametrize("text", ["", "fast", "0", "0/s", "-1/s", "5/year", "1e9", "5/", "/s"])
def test_what_is_no_rate_is_refused(text: str) -> None:
    with pytest.raises(UserError, match=r"Invalid rate.*50/s"):
        rate_of(text)


def test_pauses_grow_up_to_a_limit() -> None:
    patience = Patience(first_pause_s=0.1, longest_pause_s=1.0)
    assert 0.05 <= patience.pause(1) <= 0.1
    assert 0.2 <= patience.pause(3) <= 0.4
    assert 0.5 <= patience.pause(10_000) <= 1.0


def test_a_pause_is_as_long_as_lambda_asks_for_up_to_a_minute() -> None:
    patience = Patience(first_pause_s=0.1, longest_pause_s=10)
    assert patience.pause(1, 7) == 7
    assert patience.pause(1, 86_400) == 60
    assert 5 <= patience.pause(30, 1) <= 10
