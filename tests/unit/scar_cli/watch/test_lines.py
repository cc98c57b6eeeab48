"""Numbers as text and JSON."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from scar_cli.watch.estimate import Estimate
from scar_cli.watch.lines import (
    cost_text,
    end_text,
    json_object,
    number_text,
    rate_text,
    summary_lines,
    text_lines,
)
from scar_cli.watch.state import LaunchNumbers, Queues, Snapshot, State
from tests.unit.scar_cli.watch.runs_of_a_workflow import NOW_MS, WORKFLOW, failed, run


@pytest.fixture(autouse=True)
def utc(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()


def state() -> State:
    found = State(WORKFLOW, NOW_MS - 600_000, cost=lambda _run: 0.01)
    for seconds in range(1, 61):
        found.take(run("merge", seconds_ago=float(seconds)))
    found.take(failed("detect", "s3://video/frames/\x1b1", "Exit code 3", 61, "no picture"))
    found.set_queues("merge", Queues(input_queue=1200, failure_queue=1))
    found.set_queues("split", Queues(batch_waiting=4, batch_running=2))
    found.is_complete = True
    return found


def snapshot() -> Snapshot:
    return state().snapshot(NOW_MS)


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (number_text(None), "-"),
        (number_text(0), "0"),
        (number_text(1204), "1,204"),
        (number_text(1_234_567), "1.2M"),
        (rate_text(0.0), "0/min"),
        (rate_text(0.2), "12/min"),
        (rate_text(5.23), "5.2/s"),
        (rate_text(1234.5), "1,234/s"),
        (cost_text(None), "-"),
        (cost_text(0.0), "0.00 USD"),
        (cost_text(0.001), "<0.01 USD"),
        (cost_text(1234.5), "1,234.50 USD"),
    ],
)
def test_numbers_are_short(shown: str, expected: str) -> None:
    assert shown == expected


@pytest.mark.parametrize(
    ("end", "expected"),
    [
        (Estimate(None), "No estimate before runs end."),
        (Estimate(90.0), "Ends at about 02:41 (in 90 s)."),
        (Estimate(480.0), "Ends at about 02:48 (in 8 min)."),
        (Estimate(480.0, is_least=True), "Ends after 02:48 (in more than 8 min)."),
        (Estimate(9000.0), "Ends at about 05:10 (in 2.5 h)."),
        (Estimate(260_000.0), "Ends at about 2026-02-05 02:53 (in 3.0 days)."),
    ],
)
def test_the_end_is_a_time_and_a_duration(end: Estimate, expected: str) -> None:
    assert end_text(replace(snapshot(), end=end)) == expected


def test_without_work_there_is_no_end() -> None:
    assert end_text(State(WORKFLOW, 0).snapshot(NOW_MS)) == "Nothing is waiting or running."


def test_a_line_has_all_numbers_and_follows_the_new_failures() -> None:
    assert list(text_lines(snapshot(), None)) == [
        r"2026-02-02 02:38:59  failed: detect  s3://video/frames/\x1b1  "
        "ContainerFailed: Exit code 3: no picture",
        "2026-02-02 02:40:00  1,204 queued  2 running  60 done  1 failed  1 in failure queues  1.0/s  "
        "0.61 USD  No estimate before runs end.",
    ]
    assert len(list(text_lines(snapshot(), snapshot()))) == 1


def test_many_failures_are_counted() -> None:
    later = state()
    for number in range(250):
        later.take(failed("detect", f"s3://b/{number}", "e"))
    lines = list(text_lines(later.snapshot(NOW_MS), snapshot()))
    assert lines[0] == "... and 240 more failures"
    assert len(lines) == 12
    assert "s3://b/249" in lines[-2]
    found = json_object(later.snapshot(NOW_MS), snapshot())
    assert (len(found["failures"]), found["failures_left_out"]) == (200, 50)


def test_trouble_replaces_the_estimate() -> None:
    found = replace(snapshot(), trouble="AWS is throttling requests (X). Trying again in 4 s.")
    assert next(iter(text_lines(found, found))).endswith(
        "  AWS is throttling requests (X). Trying again in 4 s."
    )


def test_json_has_the_numbers_of_each_function_and_new_failures() -> None:
    found = json_object(snapshot(), None)
    functions = {one["function"]: one for one in found["functions"]}
    assert functions["split"] == {
        "function": "split",
        "mode": "batch",
        "queued": 4,
        "input_queue": None,
        "batch_queue": 4,
        "batch_queue_is_least": False,
        "running": 2,
        "done": 0,
        "failed": 0,
        "skipped": 0,
        "failure_queue": 0,
        "per_second": 0.0,
        "cost_usd": None,
    }
    assert (functions["merge"]["per_second"], functions["merge"]["cost_usd"]) == (1.0, pytest.approx(0.6))
    assert found["failures"] == [
        {
            "time": "2026-02-02T02:38:59Z",
            "function": "detect",
            "file": "s3://video/frames/\x1b1",
            "reason": "ContainerFailed: Exit code 3",
            "last_line": "no picture",
        }
    ]
    assert (found["time"], found["since"]) == ("2026-02-02T02:40:00Z", "2026-02-02T02:30:00Z")
    assert (found["seconds_left"], found["is_complete"], found["trouble"]) == (None, True, None)
    assert "launch" not in found
    assert json_object(snapshot(), snapshot())["failures"] == []


def test_the_numbers_of_a_launch() -> None:
    launch = LaunchNumbers("detect", "/j", 2000, 1204, 2, is_sending=True)
    found = replace(snapshot(), launch=launch, end=Estimate(480.0))
    assert "  launch: 1,204 of 2,000 done  " in next(iter(text_lines(found, found)))
    assert json_object(found, None)["launch"] == {
        "journal": "/j",
        "function": "detect",
        "files": 2000,
        "done": 1204,
        "failed": 2,
        "left": 794,
        "is_sending": True,
    }
    assert list(summary_lines(found))[-1] == "Launch: 1,204 of 2,000 files done, 2 failed, 794 left"


def test_the_summary_has_the_most_frequent_reasons() -> None:
    later = state()
    for number in range(12):
        for _run in range(20 - number):
            later.take(failed("detect", "", f"Reason {number}"))
    assert list(summary_lines(later.snapshot(NOW_MS))) == [
        "FUNCTION  QUEUED  RUNNING  DONE  FAILED  FAILURE QUEUE  COST",
        "split     4       2        0     0       0              -",
        "detect    ?       0        0     175     0              1.75 USD",
        "merge     1,200   0        60    0       1              0.60 USD",
        "index     ?       0        0     0       0              -",
        "",
        "FUNCTION  FAILED  REASON",
        *(f"detect    {20 - number}      ContainerFailed: Reason {number}" for number in range(10)),
        "          20      (3 other reasons)",
    ]
