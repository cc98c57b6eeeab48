"""What `scar watch` asks AWS: each line of a log once, and few calls."""

from __future__ import annotations

import time
from collections import Counter
from itertools import pairwise
from typing import Any

import pytest

from scar_cli.aws.deployed import DeployedFunction
from scar_cli.aws.jobs import unfinished_jobs
from scar_cli.errors import UserError
from scar_cli.watch.looks import Looks
from scar_cli.watch.state import Snapshot, State
from tests.unit.scar_cli.watch.aws_of_a_workflow import Aws, refusal, report, summary
from tests.unit.scar_cli.watch.runs_of_a_workflow import DETECT, MERGE, NOW_MS, SPLIT, function

SINCE_MS = NOW_MS - 600_000


def watching(aws: Aws, *functions: DeployedFunction) -> tuple[Looks, State]:
    state = State(functions, SINCE_MS)
    looks = Looks(functions, SINCE_MS, state, aws.get, now=aws.clock, sleep=aws.clock.sleep)
    return looks, state


def seen(looks: Looks) -> list[str]:
    return [run.request_id for run in looks.look()]


def numbers(state: State) -> Snapshot:
    return state.snapshot(NOW_MS)


def test_each_run_is_seen_once_and_only_the_last_minute_is_read_again() -> None:
    aws = Aws()
    aws.invocation("1", NOW_MS - 300_000)
    looks, state = watching(aws, DETECT)
    assert seen(looks) == ["1"]
    assert seen(looks) == []
    aws.invocation("2", NOW_MS)
    assert seen(looks) == ["2"]
    assert seen(looks) == []
    assert aws.started() == [SINCE_MS, NOW_MS - 360_000, NOW_MS - 360_000, NOW_MS - 60_000]
    assert numbers(state).functions[0].done == 2


def test_lines_that_arrive_late_are_seen() -> None:
    aws = Aws()
    aws.invocation("1", NOW_MS)
    looks, _state = watching(aws, DETECT)
    assert seen(looks) == ["1"]
    aws.invocation("2", NOW_MS - 30_000, stream="other")
    assert seen(looks) == ["2"]


def test_equal_lines_of_the_same_moment_are_several_runs() -> None:
    aws = Aws()
    looks, _state = watching(aws, DETECT)
    aws.write(NOW_MS, summary("1"), summary("1"), report("1"))
    assert seen(looks) == ["1", "1"]
    assert seen(looks) == []


def test_a_long_log_is_read_completely_and_only_its_last_seconds_again() -> None:
    aws = Aws(page=300)
    for number in range(500):
        aws.invocation(str(number), NOW_MS - 200_000 + number * 400, stream=f"s{number % 7}")
    looks, _state = watching(aws, DETECT)
    assert sorted(seen(looks), key=int) == [str(number) for number in range(500)]
    calls = len(aws.calls)
    assert seen(looks) == []
    assert aws.started()[calls - 1 :][0] >= NOW_MS - 11_000


def test_what_must_be_remembered_of_a_long_log_is_little(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scar_cli.watch.looks._PRUNED_AT", 100)
    aws = Aws()
    for number in range(600):
        aws.invocation(str(number), SINCE_MS + number * 1000)
    looks, _state = watching(aws, DETECT)
    (log, _assembler), *_others = looks._watched[0].logs
    assert len(seen(looks)) == 600
    assert len(log._seen) <= 3 * 61
    assert seen(looks) == []


def test_few_calls_are_made_however_many_pages_there_are() -> None:
    aws = Aws(page=10)
    for number in range(100):
        aws.invocation(str(number), NOW_MS - 1000 + number)
    looks, _state = watching(aws, DETECT, MERGE)
    assert len(seen(looks)) == 100
    at = [when for service, when, _request in aws.calls if service == "logs"]
    assert len(at) > 30
    assert min(later - earlier for earlier, later in pairwise(at)) >= 0.39


def test_a_look_takes_place_every_two_seconds() -> None:
    aws = Aws()
    looks, _state = watching(aws, DETECT)
    began = aws.clock()
    for _look in range(30):
        seen(looks)
        looks.wait()
    assert aws.clock() - began == pytest.approx(60.0)
    assert Counter(service for service, _at, _request in aws.calls) == {"logs": 30, "sqs": 30}


def test_throttled_calls_are_made_less_and_less_often_and_nothing_is_lost() -> None:
    aws = Aws(page=4)
    for number in range(4):
        aws.invocation(str(number), NOW_MS + number)
    looks, state = watching(aws, DETECT)
    found = seen(looks)
    aws.invocation("4", NOW_MS + 10)
    aws.refusals = [refusal("ThrottlingException") for _ in range(7)]
    pauses = []
    for _look in range(7):
        began = aws.clock()
        assert seen(looks) == []
        looks.wait()
        pauses.append(round(aws.clock() - began))
    assert pauses == [4, 8, 16, 32, 60, 60, 60]
    assert state.trouble == ("AWS is throttling requests (FilterLogEvents). Trying again in 60 s.")
    found += seen(looks)
    assert found == ["0", "1", "2", "3", "4"]
    assert state.trouble == ""
    began = aws.clock()
    looks.wait()
    assert aws.clock() - began <= 2.0


def test_a_rejected_call_ends_the_watch() -> None:
    aws = Aws(refusals=[refusal("AccessDeniedException")])
    looks, _state = watching(aws, DETECT)
    with pytest.raises(UserError, match="FilterLogEvents is not allowed"):
        seen(looks)


def test_runs_that_have_not_ended_are_running() -> None:
    aws = Aws()
    looks, state = watching(aws, DETECT)
    now_ms = int(time.time() * 1000)
    aws.write(now_ms - 10, "START RequestId: 1 Version: 1")
    assert seen(looks) == []
    assert numbers(state).functions[0].running == 1
    aws.write(now_ms, summary("1"), report("1"))
    assert seen(looks) == ["1"]
    assert numbers(state).functions[0].running == 0


def test_a_run_that_started_earlier_is_running_and_counts_when_it_ends() -> None:
    aws, now_ms = Aws(), int(time.time() * 1000)
    state = State([DETECT], now_ms - 60_000)
    looks = Looks([DETECT], now_ms - 60_000, state, aws.get, now=aws.clock, sleep=aws.clock.sleep)
    aws.invocation("before", now_ms - 90_000)
    aws.write(now_ms - 80_000, "START RequestId: long Version: 1")
    assert seen(looks) == []
    assert numbers(state).functions[0].running == 1
    aws.write(now_ms, summary("long"), report("long"))
    assert seen(looks) == ["long"]
    assert numbers(state).functions[0].done == 1


def test_queues_are_read_at_each_look() -> None:
    aws = Aws(depths={MERGE.failure_queue_url: 2, str(MERGE.input_queue_url): 40})
    looks, state = watching(aws, DETECT, MERGE)
    assert not state.is_complete
    seen(looks)
    assert state.is_complete
    detect, merge = (one.queues for one in numbers(state).functions)
    assert (detect.input_queue, detect.failure_queue) == (None, 0)
    assert (merge.input_queue, merge.failure_queue) == (40, 2)


def test_busy_functions_are_read_at_each_look_and_the_others_in_turn() -> None:
    many = [function(f"f{number:02}", "in", "out") for number in range(20)]
    aws = Aws(depths={})
    looks, _state = watching(aws, *many)
    seen(looks)
    assert len(aws.calls) == 40
    read: Counter[str] = Counter()
    for look in range(12):
        aws.calls.clear()
        aws.invocation(f"r{look}", NOW_MS + look, group="/aws/lambda/f07")
        seen(looks)
        looks.wait()
        groups = [request["logGroupName"] for service, _at, request in aws.calls if service == "logs"]
        assert len(groups) <= 4
        read.update(groups)
    assert len(read) == 20, "each function is read from time to time"
    assert read["/aws/lambda/f07"] >= 5


def test_jobs_of_batch_are_listed_for_all_functions_of_a_queue_every_ten_seconds() -> None:
    def job(number: int, status: str, definition: str = "split:4", **more: Any) -> dict[str, Any]:
        return {
            "jobId": f"j{number}",
            "jobDefinition": f"arn:aws:batch:us-east-1:1:job-definition/{definition}",
            "status": status,
            "createdAt": NOW_MS - number,
            **more,
        }

    array = {"size": 9, "statusSummary": {"RUNNABLE": 5, "RUNNING": 2, "SUCCEEDED": 2}}
    aws = Aws(
        jobs=[
            job(1, "RUNNABLE"),
            job(2, "STARTING", "split:3"),
            job(3, "RUNNING"),
            job(4, "PENDING", arrayProperties=array),
            job(5, "RUNNING", "other:1"),
            job(6, "SUCCEEDED"),
        ]
    )
    looks, state = watching(aws, SPLIT, DETECT)
    for _look in range(6):
        seen(looks)
        looks.wait()
    split, _detect = numbers(state).functions
    assert (split.queues.batch_waiting, split.queues.batch_running, split.queues.batch_is_least) == (
        7,
        3,
        False,
    )
    assert Counter(state for service, _at, state in aws.calls if service == "jobs") == dict.fromkeys(
        ("SUBMITTED", "PENDING", "RUNNABLE", "STARTING", "RUNNING"), 2
    )


def test_only_some_thousand_jobs_are_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scar_cli.aws.jobs._MOST_LISTED", 3)
    monkeypatch.setattr("scar_cli.aws.jobs._MOST_ARRAYS", 1)
    one = {"jobDefinition": "x/split:4", "status": "RUNNABLE", "createdAt": NOW_MS}
    array = {"size": 4, "statusSummary": {"RUNNABLE": 4}}
    alone = Aws(jobs=[{"jobId": str(number), **one} for number in range(5)])
    found, is_least = unfinished_jobs(alone, "jobs", [SPLIT])
    assert (found["split"].queued, is_least) == (3, True)
    arrays = Aws(jobs=[{"jobId": str(number), "arrayProperties": array, **one} for number in range(2)])
    found, is_least = unfinished_jobs(arrays, "jobs", [SPLIT])
    assert (found["split"].queued, is_least) == (4, True)


def test_runs_of_batch_and_of_lambda_are_read_from_their_logs() -> None:
    aws = Aws()
    aws.write(NOW_MS, summary("job", job_id=None), group="/aws/batch/split", stream="a")
    aws.write(NOW_MS, summary("r", status="delegated"), report("r"), group="/aws/lambda/split")
    looks, state = watching(aws, SPLIT)
    assert sorted(seen(looks)) == ["job", "r"]
    assert numbers(state).functions[0].done == 1
