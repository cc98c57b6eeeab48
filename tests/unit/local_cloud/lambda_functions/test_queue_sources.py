"""SQS queues as event sources: which batches are invoked, what happens to messages that failed, and which
mappings are rejected.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ministack.core.responses import request_scope
from ministack.services import iam, lambda_svc, sqs

from local_cloud.lambda_functions import loops, queue_sources
from local_cloud.lambda_functions.events import EventQueue
from local_cloud.lambda_functions.queue_sources import failed_items, problem_of
from local_cloud.messages.queued_messages import KIND, QueuedMessages
from local_cloud.state.store import Store

SQS = "arn:aws:sqs:us-east-1:000000000000:"
LAMBDA = "arn:aws:lambda:us-east-1:000000000000:function:"
FAILURE = {"error": True, "body": {"errorMessage": "of a test"}}
THROTTLE = {"throttle": True}


class Cloud:
    """A queue, a function that ends as it is told, and the workers."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.calls: list[list[str]] = []
        """The bodies of each invocation."""
        self.answers: list[dict[str, Any] | Callable[[list[Any]], dict[str, Any]]] = []
        """Of the function, one after another; then it succeeds."""
        self.running = 0
        self.most_running = 0
        self.takes_s = 0.0
        self.events: EventQueue | None = None

    def work(self, parallel: int = 1) -> None:
        self.events = EventQueue(parallel=parallel, store=self.store)
        self.events.resume()

    def queue(self, name: str = "q", **attributes: object) -> QueuedMessages:
        url = sqs._queue_url_for_account("000000000000", name)
        told = {key: one if isinstance(one, str) else json.dumps(one) for key, one in attributes.items()}
        queue: dict[str, Any] = {"name": name, "url": url, "is_fifo": name.endswith(".fifo")}
        queue["attributes"] = {"QueueArn": SQS + name, "VisibilityTimeout": "30", **told}
        messages = QueuedMessages(
            queue, self.store, lambda: self.events.wake(SQS + name) if self.events else None
        )
        sqs._queues[url] = {**queue, "messages": messages}
        sqs._queue_name_to_url[name] = url
        return messages

    def map(self, **settings: Any) -> dict[str, Any]:
        config = {"FunctionName": "f", "FunctionArn": f"{LAMBDA}f"}
        lambda_svc._functions["f"] = {"config": config}
        mapping = {"UUID": "m", "EventSourceArn": f"{SQS}q", **config, "BatchSize": 1, **settings}
        lambda_svc._esms["m"] = mapping
        return mapping

    def execute(self, _function: dict[str, Any], event: Any) -> dict[str, Any]:
        records = event["Records"]
        self.calls.append([record["body"] for record in records])
        answer = self.answers.pop(0) if self.answers else {"body": None}
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        time.sleep(self.takes_s)
        self.running -= 1
        return answer(records) if callable(answer) else answer


def send(queue: QueuedMessages, *bodies: str, **more: Any) -> None:
    for body in bodies:
        now = time.time()
        queue.append({"id": f"id-{body[:20]}", "body": body, "sent_at": now, "visible_at": now, **more})


@pytest.fixture
def cloud(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cloud]:
    cloud = Cloud(Store(tmp_path / "state.db"))
    monkeypatch.setattr(lambda_svc, "_execute_function", cloud.execute)
    monkeypatch.setattr(lambda_svc, "_ensure_poller", lambda: None)
    monkeypatch.setattr(queue_sources, "VISIBLE_AGAIN_AFTER_S", (0.0, 0.0))
    with request_scope("000000000000", "us-east-1"):
        yield cloud
        if cloud.events is not None:
            cloud.events.pause()
            cloud.events.forget_all()
            cloud.events.wait_until_idle(20)
        for records in (lambda_svc._functions, lambda_svc._esms, sqs._queues, sqs._queue_name_to_url):
            records.clear()
        iam._roles.clear()


def until(reached: Callable[[], object]) -> None:
    deadline = time.monotonic() + 10
    while not reached():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_each_message_is_deleted_when_its_function_has_succeeded(cloud: Cloud) -> None:
    queue = cloud.queue()
    cloud.map()
    send(queue, "a", "b")
    cloud.work()
    until(lambda: not queue)
    assert cloud.calls == [["a"], ["b"]]
    assert cloud.store.items(KIND) == []


def test_a_record_is_as_on_aws(cloud: Cloud) -> None:
    queue = cloud.queue()
    records: list[Any] = []

    def note(given: list[Any]) -> dict[str, Any]:
        records.extend(given)
        return {"body": None}

    cloud.answers = [note]
    cloud.map()
    send(queue, "a", message_attributes={"n": {"DataType": "Number", "StringValue": "1"}})
    cloud.work()
    until(lambda: not queue)
    (record,) = records
    assert record["attributes"].keys() == {
        *("ApproximateReceiveCount", "SentTimestamp", "SenderId", "ApproximateFirstReceiveTimestamp")
    }
    assert record["messageAttributes"] == {"n": {"dataType": "Number", "stringValue": "1"}}
    assert (record["messageId"], record["eventSource"], record["awsRegion"]) == (
        "id-a",
        "aws:sqs",
        "us-east-1",
    )
    assert record["eventSourceARN"] == f"{SQS}q"
    assert record["md5OfBody"] == "0cc175b9c0f1b6a831c399e269772661"


def test_a_batch_waits_for_its_window_or_until_it_is_full(cloud: Cloud) -> None:
    queue = cloud.queue()
    cloud.map(BatchSize=4, MaximumBatchingWindowInSeconds=0.3)
    cloud.work()
    started = time.monotonic()
    send(queue, *"abcde")
    until(lambda: cloud.calls)
    assert time.monotonic() - started < 0.25
    until(lambda: not queue)
    assert cloud.calls == [list("abcd"), ["e"]]
    assert time.monotonic() - started >= 0.3


def test_idle_workers_look_at_a_queue_only_after_a_change(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[str] = []
    available = QueuedMessages.available

    def count(messages: QueuedMessages) -> Any:
        looks.append("")
        return available(messages)

    monkeypatch.setattr(QueuedMessages, "available", count)
    queue = cloud.queue()
    cloud.map(BatchSize=4, MaximumBatchingWindowInSeconds=0.2)
    cloud.work()
    assert cloud.events is not None
    send(queue, "a")
    for _ in range(50):
        cloud.events.wake(f"{SQS}other")
        time.sleep(0.001)
    until(lambda: not queue)
    for _ in range(50):
        cloud.events.wake(f"{SQS}other")
        time.sleep(0.001)
    assert len(looks) < 10


def test_a_batch_has_at_most_six_megabytes(cloud: Cloud) -> None:
    queue = cloud.queue()
    cloud.map(BatchSize=100, MaximumBatchingWindowInSeconds=300)
    for letter in "abcdefgh":
        send(queue, letter * 1_000_000)
    cloud.work()
    until(lambda: cloud.calls)
    assert [body[0] for body in cloud.calls[0]] == list("abcdef")


def test_what_failed_is_received_again_and_goes_to_the_dead_letter_queue(cloud: Cloud) -> None:
    dead = cloud.queue("dead")
    queue = cloud.queue(RedrivePolicy={"maxReceiveCount": 3, "deadLetterTargetArn": f"{SQS}dead"})
    cloud.answers = [FAILURE] * 3
    mapping = cloud.map()
    send(queue, "a")
    cloud.work()
    until(lambda: len(dead))
    assert cloud.calls == [["a"]] * 3
    assert not queue
    assert mapping["LastProcessingResult"] == "PROBLEM: Function call failed"


def test_only_the_failed_messages_of_a_batch_are_received_again(cloud: Cloud) -> None:
    queue = cloud.queue()
    cloud.map(
        BatchSize=3, MaximumBatchingWindowInSeconds=9, FunctionResponseTypes=["ReportBatchItemFailures"]
    )
    cloud.answers = [{"body": {"batchItemFailures": [{"itemIdentifier": "id-b"}]}}]
    send(queue, *"abc")
    cloud.work()
    until(lambda: len(queue) == 1)
    assert [message["body"] for message in queue] == ["b"]


def test_failures_of_items_count_only_if_the_mapping_wants_them(cloud: Cloud) -> None:
    queue = cloud.queue()
    cloud.map()
    cloud.answers = [{"body": {"batchItemFailures": [{"itemIdentifier": "id-a"}]}}]
    send(queue, "a")
    cloud.work()
    until(lambda: not queue)


@pytest.mark.parametrize(
    ("answer", "failed"),
    [
        (None, ""),
        ("", ""),
        ({}, ""),
        ({"batchItemFailures": None}, ""),
        ({"batchItemFailures": []}, ""),
        ({"batchItemFailures": [{"itemIdentifier": "a"}]}, "a"),
        ('{"batchItemFailures": [{"itemIdentifier": "a"}]}', "a"),
        ({"batchItemFailures": [{"itemIdentifier": ""}]}, "abc"),
        ({"batchItemFailures": [{"itemIdentifier": None}]}, "abc"),
        ({"batchItemFailures": [{"bad": "a"}]}, "abc"),
        ({"batchItemFailures": [{"itemIdentifier": "x"}]}, "abc"),
        ({"batchItemFailures": "a"}, "abc"),
        ("not JSON", "abc"),
        (7, "abc"),
    ],
)
def test_partial_batch_responses(answer: object, failed: str) -> None:
    assert failed_items(answer, {"a", "b", "c"}) == set(failed)


def test_maximum_concurrency_limits_the_batches_of_a_mapping(cloud: Cloud) -> None:
    queue = cloud.queue()
    cloud.map(ScalingConfig={"MaximumConcurrency": 2})
    cloud.takes_s = 0.02
    send(queue, *"abcdefgh")
    cloud.work(parallel=4)
    until(lambda: not queue)
    assert cloud.most_running == 2


def test_the_workers_limit_everything_and_take_turns(cloud: Cloud) -> None:
    queue = cloud.queue()
    cloud.map()
    send(queue, *"abc")
    cloud.events = EventQueue(parallel=1, store=cloud.store)
    for number in range(3):
        cloud.events.put(lambda_svc._functions["f"], {"Records": [{"body": number}]})
    cloud.events.resume()
    until(lambda: not queue and not cloud.store.items("event"))
    assert cloud.calls == [[0], ["a"], [1], ["b"], [2], ["c"]]


def test_a_throttled_batch_is_tried_again_and_received_again_after_its_visibility_timeout(
    cloud: Cloud,
) -> None:
    dead = cloud.queue("dead")
    redrive = {"maxReceiveCount": 2, "deadLetterTargetArn": f"{SQS}dead"}
    queue = cloud.queue(VisibilityTimeout="0.2", RedrivePolicy=redrive)
    cloud.map()
    cloud.answers = [THROTTLE] * 100
    send(queue, "a")
    cloud.work()
    until(lambda: len(dead))
    (message,) = dead
    assert message["receive_count"] == 2
    assert len(cloud.calls) > 3, "each receive was tried several times"


def test_what_was_in_flight_when_the_cloud_ended_is_received_again_without_counting(cloud: Cloud) -> None:
    queue = cloud.queue()
    cloud.map()
    cloud.takes_s = 0.2
    send(queue, "a")
    cloud.work()
    until(lambda: cloud.running)
    ((_key, stored),) = cloud.store.items(KIND)
    assert (json.loads(stored)["receive_count"], json.loads(stored)["receipt_handle"]) == (0, None)
    until(lambda: not queue)


def test_messages_that_a_filter_excludes_are_deleted(cloud: Cloud) -> None:
    queue = cloud.queue()
    cloud.map(FilterCriteria={"Filters": [{"Pattern": json.dumps({"body": {"n": [1]}})}]})
    send(queue, '{"n": 2}', '{"n": 1}')
    cloud.work()
    until(lambda: not queue)
    assert cloud.calls == [['{"n": 1}']]


def test_a_disabled_mapping_receives_nothing(cloud: Cloud) -> None:
    queue = cloud.queue()
    mapping = cloud.map(Enabled=False)
    send(queue, "a")
    cloud.work()
    time.sleep(0.05)
    assert len(queue) == 1
    mapping["Enabled"] = True
    assert cloud.events is not None
    cloud.events.wake()
    until(lambda: not queue)


def test_a_message_of_a_recursive_loop_fails_and_the_others_do_not(cloud: Cloud) -> None:
    dead = cloud.queue("dead")
    queue = cloud.queue(RedrivePolicy={"maxReceiveCount": 1, "deadLetterTargetArn": f"{SQS}dead"})
    cloud.map(BatchSize=2, MaximumBatchingWindowInSeconds=1)
    send(queue, "loop", chain=dict.fromkeys(loops.longer({}, f"{LAMBDA}f"), 16))
    send(queue, "first", chain=dict.fromkeys(loops.longer({}, f"{LAMBDA}f"), 15))
    cloud.work()
    until(lambda: len(dead))
    assert cloud.calls == [["first"]]
    assert [message["body"] for message in dead] == ["loop"]


# What AWS rejects.

ALL_RIGHTS = ("sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes")


def problem(
    cloud: Cloud, *, rights: tuple[str, ...] = ALL_RIGHTS, timeout: int = 30, **settings: Any
) -> str | None:
    if not sqs._queues:
        cloud.queue()
    mapping = cloud.map(**{"BatchSize": 10, "MaximumBatchingWindowInSeconds": 0, **settings})
    policy = {"Statement": [{"Effect": "Allow", "Action": list(rights), "Resource": f"{SQS}*"}]}
    iam._roles["r"] = {"RoleName": "r", "InlinePolicies": {"p": json.dumps(policy)} if rights else {}}
    config = lambda_svc._functions["f"]["config"]
    config.update(Role="arn:aws:iam::000000000000:role/r", Timeout=timeout)
    return problem_of(mapping)


def test_a_mapping_needs_three_permissions_of_the_functions_role(cloud: Cloud) -> None:
    assert problem(cloud) is None
    for missing in ALL_RIGHTS:
        rights = tuple(right for right in ALL_RIGHTS if right != missing)
        assert problem(cloud, rights=rights) == (
            f"The provided execution role does not have permissions to call {missing[4:]} on SQS"
        )
    assert problem(cloud, rights=("sqs:*",)) is None
    assert problem(cloud, rights=()) is not None


def test_the_permission_may_be_in_the_policy_of_the_queue(cloud: Cloud) -> None:
    statement = {
        "Effect": "Allow",
        "Principal": {"AWS": "arn:aws:iam::000000000000:role/r"},
        "Action": "sqs:*",
        "Resource": f"{SQS}q",
    }
    cloud.queue(Policy={"Version": "2012-10-17", "Statement": [statement]})
    assert problem(cloud, rights=()) is None


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"BatchSize": 10_001}, "Batch size must be between 1 and 10000."),
        ({"BatchSize": 11}, "Maximum batch window in seconds must be greater than 0 if maximum batch size"),
        (
            {"MaximumBatchingWindowInSeconds": 301},
            "Maximum batch window in seconds must be between 0 and 300.",
        ),
        ({"EventSourceArn": f"{SQS}q.fifo", "BatchSize": 11}, "Batch size must be between 1 and 10."),
        (
            {"EventSourceArn": f"{SQS}q.fifo", "MaximumBatchingWindowInSeconds": 1},
            "Batching window is not supported for FIFO queues",
        ),
        ({"EventSourceArn": f"{SQS}missing"}, "Error occurred while ReceiveMessage. SQS Error Code: "),
        ({"timeout": 31}, "Queue visibility timeout: 30 seconds is less than Function timeout: 31 seconds"),
    ],
)
def test_settings_that_lambda_rejects(cloud: Cloud, settings: dict[str, Any], told: str) -> None:
    found = problem(cloud, **settings)
    assert found is not None
    assert found.startswith(told)
