"""The messages of a queue: what is received, hidden, deleted and moved, what survives a restart, and how long
it takes with many of them.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ministack.core.responses import request_scope
from ministack.services import sqs

from local_cloud.messages.queued_messages import KIND, QueuedMessages
from local_cloud.state.store import Store

PREFIX = "arn:aws:sqs:us-east-1:000000000000:"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "state.db")


@pytest.fixture(autouse=True)
def no_queues() -> Iterator[None]:
    with request_scope("000000000000", "us-east-1"):
        yield
        sqs._queues.clear()
        sqs._queue_name_to_url.clear()


class Changes:
    def __init__(self) -> None:
        self.count = 0

    def __call__(self) -> None:
        self.count += 1


def make_queue(store: Store, name: str = "q", **attributes: object) -> QueuedMessages:
    url = sqs._queue_url_for_account("000000000000", name)
    queue: dict[str, Any] = {
        "name": name,
        "url": url,
        "is_fifo": name.endswith(".fifo"),
        "attributes": {
            "QueueArn": PREFIX + name,
            **{
                key: value if isinstance(value, str) else json.dumps(value)
                for key, value in attributes.items()
            },
        },
    }
    messages = queue["messages"] = QueuedMessages(queue, store, Changes())
    sqs._queues[url] = queue
    sqs._queue_name_to_url[name] = url
    return messages


def send(messages: QueuedMessages, body: str, **more: Any) -> None:
    now = time.time()
    messages.append({"id": f"id-{body}", "body": body, "sent_at": now, "visible_at": now, **more})


def bodies(received: list[dict[str, Any]]) -> list[str]:
    return [message["body"] for message in received]


def reopened(store: Store) -> QueuedMessages:
    """The queue after a restart."""
    sqs._queues.clear()
    messages = make_queue(store)
    for _key, value in store.items(KIND):
        messages.load(json.loads(value))
    return messages


def test_a_received_message_is_hidden_until_its_visibility_timeout_has_passed(store: Store) -> None:
    queue = make_queue(store)
    send(queue, "a")
    send(queue, "b")
    assert bodies(queue.receive(1, 0.05)) == ["a"]
    assert bodies(queue.receive(9, 9)) == ["b"]
    assert queue.receive(9, 9) == []
    assert queue.counts() == (0, 2, 0)
    time.sleep(0.06)
    (again,) = queue.receive(9, 9)
    assert (again["body"], again["receive_count"]) == ("a", 2)


def test_a_message_is_deleted_by_its_latest_receipt_handle(store: Store) -> None:
    queue = make_queue(store)
    send(queue, "a")
    (first,) = [dict(message) for message in queue.receive(1, 0)]
    (second,) = [dict(message) for message in queue.receive(1, 0)]
    assert not queue.delete(first["receipt_handle"])
    assert queue.delete(second["receipt_handle"])
    assert len(queue) == 0
    assert store.items(KIND) == []


def test_a_delayed_message_counts_as_delayed_and_appears_later(store: Store) -> None:
    queue = make_queue(store)
    send(queue, "a", visible_at=time.time() + 0.05)
    assert (queue.receive(1, 9), queue.counts()) == ([], (0, 0, 1))
    time.sleep(0.06)
    assert queue.counts() == (1, 0, 0)


def test_a_visibility_that_is_changed_to_zero_makes_a_message_visible(store: Store) -> None:
    queue = make_queue(store)
    send(queue, "a")
    (message,) = queue.receive(1, 100)
    assert queue.change_visibility(message["receipt_handle"], 0)
    assert bodies(queue.receive(1, 100)) == ["a"]
    assert not queue.change_visibility("of nothing", 0)


def test_what_was_received_too_often_is_moved_to_the_dead_letter_queue(store: Store) -> None:
    dead = make_queue(store, "dead")
    queue = make_queue(store, RedrivePolicy={"maxReceiveCount": 2, "deadLetterTargetArn": PREFIX + "dead"})
    send(queue, "a")
    assert bodies(queue.receive(1, 0)) == ["a"]
    assert bodies(queue.receive(1, 0)) == ["a"]
    assert queue.receive(1, 0) == []
    (moved,) = dead
    assert (moved["id"], moved["body"]) == ("id-a", "a")
    assert moved["sys"]["DeadLetterQueueSourceArn"] == PREFIX + "q"
    assert [key for key, _value in store.items(KIND)] == [f"{PREFIX}dead id-a"]


def test_a_message_is_dropped_after_the_retention_period(store: Store) -> None:
    queue = make_queue(store, MessageRetentionPeriod="60")
    send(queue, "old", sent_at=time.time() - 61)
    send(queue, "new")
    assert bodies(queue.receive(9, 9)) == ["new"]
    assert len(store.items(KIND)) == 1


def test_messages_of_a_group_are_received_in_order(store: Store) -> None:
    queue = make_queue(store, "q.fifo")
    for body, group in (("a1", "a"), ("b1", "b"), ("a2", "a")):
        send(queue, body, group_id=group)
    (first,) = queue.receive(1, 100)
    assert first["body"] == "a1"
    assert bodies(queue.receive(9, 100)) == ["b1"], "a2 waits for a1"
    queue.delete(first["receipt_handle"])
    assert bodies(queue.receive(9, 100)) == ["a2"]


def test_a_restart_keeps_messages_and_what_is_in_flight(store: Store) -> None:
    queue = make_queue(store)
    for body in ("received", "in memory", "waiting"):
        send(queue, body)
    (received,) = queue.receive(1, 100)
    queue.receive(1, 100, in_memory=True)
    queue = reopened(store)
    assert queue.counts() == (2, 1, 0)
    assert {(one["body"], one["receive_count"]) for one in queue.receive(9, 100)} == {
        ("in memory", 1),
        ("waiting", 1),
    }
    assert queue.delete(received["receipt_handle"])


def test_a_batch_is_limited_by_the_size_of_its_event(store: Store) -> None:
    queue = make_queue(store)
    for number in range(4):
        send(queue, f"{number}" * 3000)
    assert len(queue.receive(9, 100, most_bytes=9_000)) == 2
    assert len(queue.receive(9, 100, most_bytes=10)) == 1, "a large message is received alone"


def test_a_deleted_queue_leaves_nothing_behind(store: Store) -> None:
    queue = make_queue(store)
    send(queue, "a")
    (message,) = queue.receive(1, 100)
    queue.close()
    queue.change_visibility(message["receipt_handle"], 0)
    send(queue, "late")
    assert store.items(KIND) == []


def test_the_work_for_a_message_does_not_grow_with_their_number(store: Store) -> None:
    """By the number of steps, and not by a clock: a busy machine must not fail this."""
    queue = make_queue(store)
    for number in range(3000):
        send(queue, str(number))
    steps = 0

    def count(_frame: object, _event: str, _argument: object) -> None:
        nonlocal steps
        steps += 1

    import sys

    sys.setprofile(count)
    try:
        (message,) = queue.receive(1, 100)
        queue.delete(message["receipt_handle"])
        queue.counts()
    finally:
        sys.setprofile(None)
    assert steps < 300
