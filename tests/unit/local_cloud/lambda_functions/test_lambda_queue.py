"""The queue of Lambda's asynchronous events: what is tried again, in which order, and what is kept where."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ministack.services import lambda_svc

from local_cloud.lambda_functions import events
from local_cloud.lambda_functions.events import EventQueue
from local_cloud.state.store import Store

FAILURE = {"error": True, "body": {"errorMessage": "of a test"}}
THROTTLE = {"throttle": True}


class Functions:
    """Functions that end as they are told, and note what they were invoked with."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, Any]] = []
        self.answers: dict[str, list[dict[str, Any]]] = {}
        """Of each function, one after another; then it succeeds."""

    def make(self, name: str, *answers: dict[str, Any], **config: Any) -> dict[str, Any]:
        arn = f"arn:aws:lambda:us-east-1:000000000000:function:{name}"
        record: dict[str, Any] = {"config": {"FunctionName": name, "FunctionArn": arn, **config}}
        lambda_svc._functions[name] = record
        self.answers[name] = list(answers)
        return record

    def execute(self, function: dict[str, Any], event: Any) -> dict[str, Any]:
        name = function["config"]["FunctionName"]
        self.calls.append((name, event))
        return self.answers[name].pop(0) if self.answers[name] else {"body": "done"}


@pytest.fixture
def functions(monkeypatch: pytest.MonkeyPatch) -> Iterator[Functions]:
    functions = Functions()
    monkeypatch.setattr(lambda_svc, "_execute_function", functions.execute)
    monkeypatch.setattr(events, "RETRY_AFTER_S", (0.0, 0.0))
    yield functions
    lambda_svc._functions.clear()


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "state.db")


@pytest.fixture
def queue(store: Store) -> Iterator[EventQueue]:
    """It works on one event at a time, from `resume` on."""
    queue = EventQueue(parallel=1, store=store)
    yield queue
    queue.pause()
    queue.forget_all()
    queue.wait_until_idle(20)


def until(reached: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not reached():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def work_off(queue: EventQueue, store: Store) -> None:
    queue.resume()
    until(lambda: not store.items("event"))


@pytest.mark.parametrize(("retries", "attempts"), [(0, 1), (1, 2), (2, 3), (None, 3)])
def test_an_event_is_tried_again_as_often_as_the_function_says(
    functions: Functions, queue: EventQueue, store: Store, retries: int | None, attempts: int
) -> None:
    record = functions.make("f", *[FAILURE] * 9)
    record["event_invoke_config"] = {} if retries is None else {"MaximumRetryAttempts": retries}
    queue.put(record, "event")
    work_off(queue, store)
    assert functions.calls == [("f", "event")] * attempts


def test_an_event_that_would_be_too_old_is_not_tried_again(
    functions: Functions, queue: EventQueue, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "RETRY_AFTER_S", (100.0, 100.0))
    keeper = functions.make("keeper")["config"]["FunctionArn"]
    record = functions.make("f", FAILURE)
    record["event_invoke_config"] = {
        "MaximumEventAgeInSeconds": 60,
        "DestinationConfig": {"OnFailure": {"Destination": keeper}},
    }
    queue.put(record, "event")
    work_off(queue, store)
    assert [name for name, _ in functions.calls] == ["f", "keeper"]
    told = functions.calls[1][1]
    assert told["requestPayload"] == "event"
    assert told["requestContext"]["condition"] == "EventAgeExceeded"


def test_throttling_is_no_attempt(functions: Functions, queue: EventQueue, store: Store) -> None:
    keeper = functions.make("keeper")["config"]["FunctionArn"]
    record = functions.make("f", THROTTLE, FAILURE, THROTTLE, THROTTLE, FAILURE, FAILURE)
    record["event_invoke_config"] = {"DestinationConfig": {"OnFailure": {"Destination": keeper}}}
    queue.put(record, "event")
    work_off(queue, store)
    assert [name for name, _ in functions.calls] == ["f"] * 6 + ["keeper"]
    context = functions.calls[-1][1]["requestContext"]
    assert (context["condition"], context["approximateInvokeCount"]) == ("RetriesExhausted", 3)


def test_functions_take_turns(functions: Functions, queue: EventQueue, store: Store) -> None:
    busy, other = functions.make("busy"), functions.make("other")
    for number in range(3):
        queue.put(busy, number)
    queue.put(other, 0)
    work_off(queue, store)
    assert functions.calls == [("busy", 0), ("other", 0), ("busy", 1), ("busy", 2)]


def test_attempts_outlive_a_restart(
    functions: Functions, queue: EventQueue, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "RETRY_AFTER_S", (100.0, 100.0))
    queue.put(functions.make("f", FAILURE), "event")
    queue.resume()
    until(lambda: [json.loads(value)["attempts"] for _, value in store.items("event")] == [1])


def test_a_dead_letter_queue_gets_what_failed_without_another_destination(
    functions: Functions, queue: EventQueue, store: Store
) -> None:
    keeper = functions.make("keeper")["config"]["FunctionArn"]
    queue.put(functions.make("f", *[FAILURE] * 3, DeadLetterConfig={"TargetArn": keeper}), "event")
    work_off(queue, store)
    assert functions.calls[-1] == ("keeper", "event")
