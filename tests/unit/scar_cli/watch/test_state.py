"""The numbers of a workflow while it runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from scar_cli.launch.progress import LaunchProgress
from scar_cli.watch.state import OTHER_REASONS, Queues, State, per_second, steady_per_second
from tests.unit.scar_cli.watch.runs_of_a_workflow import NOW_MS, WORKFLOW, failed, run


def state(**more: object) -> State:
    return State(WORKFLOW, NOW_MS - 600_000, **more)  # type: ignore[arg-type]


def launch(**more: object) -> LaunchProgress:
    head = {"sources": [["video", "frames/"]], "since_ms": NOW_MS - 100_000}
    return LaunchProgress(Path("journal"), head, "detect", **{"files": 10, **more})  # type: ignore[arg-type]


def test_runs_are_counted_by_what_became_of_them() -> None:
    counted = state()
    for status in ("done", "done", "failed", "skipped", "duplicate", "delegated", "submitted", "node done"):
        counted.take(run("detect", status))
    _split, detect, *_rest = counted.snapshot(NOW_MS).functions
    assert (detect.done, detect.failed, detect.skipped) == (2, 1, 2)
    assert sum(detect.history) == 5, "an event that was handed to Batch has not ended"


def test_failures_have_a_file_and_a_reason() -> None:
    counted = state()
    for number in range(3):
        counted.take(failed("merge", f"s3://b/{number}", f"s3://b/{number} is empty. It was cut", 9 - number))
    counted.take(failed("index", "s3://b/x", "Other"))
    found = counted.snapshot(NOW_MS)
    assert [one.subject for one in found.failures] == ["s3://b/0", "s3://b/1", "s3://b/2", "s3://b/x"]
    assert found.reasons == (
        ("merge", "ContainerFailed: … is empty", 3),
        ("index", "ContainerFailed: Other", 1),
    )


def test_a_million_failures_with_different_reasons_need_little_memory() -> None:
    counted = state()
    for number in range(3000):
        counted.take(failed("merge", "", f"reason {number}"))
    found = counted.snapshot(NOW_MS)
    assert (found.all_failures, len(found.failures), len(found.reasons)) == (3000, 200, 1001)
    assert found.reasons[0] == ("merge", OTHER_REASONS, 2000)


def test_rates_are_those_of_complete_intervals() -> None:
    counted = state()
    for seconds in range(1, 121):
        counted.take(run("detect", seconds_ago=float(seconds)))
    history = counted.snapshot(NOW_MS).functions[1].history
    assert len(history) == 120
    assert history[-3:] == (5, 5, 5)
    assert per_second(history) == 1.0
    assert counted.snapshot(NOW_MS + 599_000).functions[1].history[0] == 5
    assert sum(counted.snapshot(NOW_MS + 3_600_000).functions[1].history) == 0


@pytest.mark.parametrize(
    ("history", "rate"),
    [
        ([0] * 120, 0.0),
        ([9] * 60 + [2] * 60, 2 / 5),  # enough runs in the last minute
        ([0] * 60 + [1] + [0] * 59, 1 / 300),  # one long run in the last ten minutes
        ([0] * 118 + [3, 0], 3 / 60),
    ],
)
def test_few_runs_are_averaged_over_more_time(history: list[int], rate: float) -> None:
    assert steady_per_second(history) == pytest.approx(rate)


def test_what_waits_is_the_sum_of_its_queues() -> None:
    counted = state()
    counted.set_queues("split", Queues(batch_waiting=3, batch_running=2, failure_queue=1))
    counted.set_queues("merge", Queues(input_queue=40))
    counted.set_running("merge", 5)
    split, detect, merge, _index = counted.snapshot(NOW_MS).functions
    assert (split.queued, split.running) == (3, 2)
    assert detect.queued is None
    assert (merge.queued, merge.running) == (40, 5)


def test_the_end_is_estimated_along_the_workflow() -> None:
    """`merge` has 60 files left at one a second, and gets none that are not written yet."""
    counted = state()
    for seconds in range(1, 61):
        counted.take(run("merge", seconds_ago=float(seconds)))
    counted.set_queues("merge", Queues(input_queue=59))
    counted.set_running("merge", 1)
    found = counted.snapshot(NOW_MS)
    assert found.end.seconds == pytest.approx(60)
    assert not found.end.is_least
    assert not found.is_idle
    counted.set_running("index", 1)
    assert counted.snapshot(NOW_MS).end.seconds is None, "no run of `index` has ended yet"


def test_nothing_waits_or_runs() -> None:
    counted = state()
    counted.take(run("merge"))
    assert counted.snapshot(NOW_MS).is_idle


def test_the_cost_is_that_of_all_runs_with_a_price() -> None:
    prices = {"detect": 0.25, "split": 0.0}
    counted = state(cost=lambda one: prices.get(one.function))
    assert counted.snapshot(NOW_MS).cost_usd is None
    for name in ("detect", "detect", "split", "merge"):
        counted.take(run(name, "failed"))
    found = counted.snapshot(NOW_MS)
    assert found.cost_usd == 0.5
    assert [one.cost_usd for one in found.functions] == [0.0, 0.5, None, None]


def test_a_launch_counts_its_own_files() -> None:
    counted = state(launch=launch())
    for number in range(4):
        counted.take(run("detect", subject=f"s3://video/frames/{number}"))
    counted.take(failed("detect", "s3://video/frames/4", "e", 9))
    counted.take(failed("detect", "s3://video/frames/5", "e", 8))
    counted.take(failed("detect", "s3://video/frames/5", "e", 7))
    counted.take(run("detect", subject="s3://video/frames/4"))
    counted.take(run("detect", subject="s3://video/other/9"))
    counted.take(run("detect", subject="s3://video/frames/9", seconds_ago=200.0))
    counted.take(run("merge", subject="s3://video/frames/9"))
    found = counted.snapshot(NOW_MS).launch
    assert found is not None
    assert (found.files, found.done, found.failed, found.left) == (10, 5, 1, 4)
    assert found.is_sending


def test_the_end_of_a_launch_includes_events_that_lambda_does_not_report() -> None:
    counted = state(launch=launch(is_over=True, files=160))
    for seconds in range(1, 61):
        counted.take(run("detect", seconds_ago=float(seconds), subject="s3://video/frames/x"))
    found = counted.snapshot(NOW_MS)
    assert found.end.seconds == pytest.approx(100)
    assert not found.end.is_least
