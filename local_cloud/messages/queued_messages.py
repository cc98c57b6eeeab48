"""The messages of one SQS queue: a collection that receives, hides and deletes them without looking at all of
them, and that keeps each one in the store.

ministack keeps a list, and compares each message for each call: 50,000 messages took hours. The time of
visibility is counted on the monotonic clock, so that a changed clock of the machine hides no message.
"""

from __future__ import annotations

import functools
import heapq
import json
import time
import uuid
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Any

from ministack.core import persistence
from ministack.services import sqs

from local_cloud.messages import chains
from local_cloud.state.store import Store

KIND = "message"
Message = dict[str, Any]
_MOST_HIDDEN_S = 43_200.0
"""The longest visibility timeout of SQS."""
_RECORD_BYTES = 1_000
"""Of a message in an event of Lambda, without body and attributes: its ids, receipt handle, time stamps and
ARN."""


class QueuedMessages:
    """The messages of `queue`, a record of ministack's. `changed` is called when one may be received."""

    def __init__(self, queue: dict[str, Any], store: Store, changed: Callable[[], None]) -> None:
        self._queue = queue
        self._store = store
        self._changed = changed
        self._all: dict[str, Message] = {}
        self._ready: OrderedDict[str, float] = OrderedDict()
        """Messages that can be received, and since when."""
        self._hidden_until: dict[str, float] = {}
        self._hidden: list[tuple[float, str]] = []
        """A heap. An entry counts only if it agrees with `_hidden_until`."""
        self._delayed: set[str] = set()
        """Hidden, and never received."""
        self._receipts: dict[str, str] = {}
        """The messages of the latest receipt handles."""
        self._by_age: list[tuple[float, str]] = []
        """A heap, which may contain messages that no longer exist."""
        self._bytes: dict[str, int] = {}
        self._ready_bytes = 0
        self._closed = False

    def __len__(self) -> int:
        return len(self._all)

    def __iter__(self) -> Iterator[Message]:
        return iter(list(self._all.values()))

    def __getitem__(self, index: int) -> Message:
        if index == -1:
            return next(reversed(self._all.values()))
        return list(self._all.values())[index]

    def append(self, message: Message) -> None:
        """Add a message that a service of ministack has made."""
        sqs._ensure_msg_fields(message)
        if chain := chains.current.get():
            message.setdefault("chain", dict(chain))
        with self._store.transaction():
            self.load(message)
            self._keep(message)
            self._changed()

    def load(self, message: Message) -> None:
        """Add a message from the store."""
        with self._store.lock:
            identity = message["id"]
            self._all[identity] = message
            self._bytes[identity] = _size(message)
            heapq.heappush(self._by_age, (_enqueued_at(message), identity))
            if message["receipt_handle"]:
                self._receipts[message["receipt_handle"]] = identity
            self._place(message)

    def receive(
        self, most: int, visibility_s: float, *, most_bytes: int | None = None, in_memory: bool = False
    ) -> list[Message]:
        """Receive up to `most` messages, and hide them. Those that were received too often are moved to the
        dead-letter queue instead.

        `most_bytes` limits their size in an event of Lambda. `in_memory`: a restart makes them visible again,
        as if they had not been received.
        """
        taken: list[Message] = []
        size = 0
        with self._store.transaction():
            self._settle()
            most_receives, dead_letters = self._redrive_policy()
            for identity in self._in_turn():
                if len(taken) == most or (
                    most_bytes is not None and taken and size + self._bytes[identity] > most_bytes
                ):
                    break
                message = self._all[identity]
                self._unplace(identity)
                if dead_letters is not None and message["receive_count"] >= most_receives:
                    self._move(message, dead_letters)
                    continue
                size += self._bytes[identity]
                taken.append(message)
            now = time.time()
            for message in taken:
                self._receipts.pop(message["receipt_handle"], None)
                message["receipt_handle"] = str(uuid.uuid4())
                self._receipts[message["receipt_handle"]] = message["id"]
                message["receive_count"] += 1
                message["first_receive_at"] = message["first_receive_at"] or now
                message["visible_at"] = now + visibility_s
                self._place(message)
                if not in_memory:
                    self._keep(message)
        return taken

    def delete(self, receipt_handle: str) -> bool:
        """Delete a message by its latest receipt handle. False if there is none."""
        with self._store.transaction():
            identity = self._receipts.get(receipt_handle)
            if identity is None:
                return False
            self._forget(identity)
            if self._queue.get("is_fifo"):
                self._changed()  # another message of the group
            return True

    def change_visibility(self, receipt_handle: str, seconds: float) -> bool:
        """Hide a message for so long from now on, by its latest receipt handle. False if there is none."""
        with self._store.transaction():
            identity = self._receipts.get(receipt_handle)
            if identity is None:
                return False
            message = self._all[identity]
            self._unplace(identity)
            message["visible_at"] = time.time() + seconds
            self._place(message)
            self._keep(message)
            self._changed()
            return True

    def first(self) -> Message | None:
        """The message that is visible for longest."""
        with self._store.transaction():
            self._settle()
            identity = next(iter(self._ready), None)
            return None if identity is None else self._all[identity]

    def remove(self, message: Message) -> None:
        """Delete a message."""
        with self._store.transaction():
            if message["id"] in self._all:
                self._forget(message["id"])

    def clear(self) -> None:
        """Delete all messages."""
        with self._store.transaction():
            for identity in list(self._all):
                self._forget(identity)

    def close(self) -> None:
        """Delete all messages, because the queue was deleted. Nothing is stored from now on."""
        with self._store.transaction():
            self.clear()
            self._closed = True

    def counts(self) -> tuple[int, int, int]:
        """The number of visible messages, of those in flight, and of delayed ones."""
        with self._store.transaction():
            self._settle()
            hidden = len(self._all) - len(self._ready)
            return len(self._ready), hidden - len(self._delayed), len(self._delayed)

    def oldest_age_s(self) -> float:
        """The age of the oldest message; 0 without messages."""
        with self._store.transaction():
            self._settle()
            return max(0.0, time.time() - self._by_age[0][0]) if self._by_age else 0.0

    def available(self) -> tuple[int, int, float | None, float | None]:
        """The number and size (in an event of Lambda) of visible messages, since when the first of them is
        visible, and when the next one will be, on the monotonic clock."""
        with self._store.transaction():
            self._settle()
            since = next(iter(self._ready.values()), None)
            return len(self._ready), self._ready_bytes, since, self._hidden[0][0] if self._hidden else None

    def _in_turn(self) -> Iterator[str]:
        """Messages that can be received, each of which must be unplaced before the next one."""
        if not self._queue.get("is_fifo"):
            while self._ready:
                yield next(iter(self._ready))
            return
        held = {
            self._all[identity]["group_id"]
            for identity in self._hidden_until
            if identity not in self._delayed
        }
        for identity, message in list(self._all.items()):
            if identity in self._ready and message["group_id"] not in held:
                yield identity

    def _settle(self) -> None:
        """Make those visible whose time has come, and drop those that are too old."""
        now = time.monotonic()
        while self._hidden and (
            self._hidden[0][0] <= now or self._hidden_until.get(self._hidden[0][1]) != self._hidden[0][0]
        ):
            until, identity = heapq.heappop(self._hidden)
            if self._hidden_until.get(identity) == until:
                self._unplace(identity)
                self._make_ready(identity, until)
        retention_s = int(self._queue["attributes"].get("MessageRetentionPeriod", "345600"))
        oldest = time.time() - retention_s
        while self._by_age and (self._by_age[0][1] not in self._all or self._by_age[0][0] <= oldest):
            _age, identity = heapq.heappop(self._by_age)
            if identity in self._all:
                self._forget(identity)

    def _place(self, message: Message) -> None:
        now = time.monotonic()
        until = now + min(message["visible_at"] - time.time(), _MOST_HIDDEN_S)
        identity = message["id"]
        if until <= now:
            self._make_ready(identity, now)
            return
        self._hidden_until[identity] = until
        heapq.heappush(self._hidden, (until, identity))
        if not message["receive_count"]:
            self._delayed.add(identity)

    def _make_ready(self, identity: str, since: float) -> None:
        self._ready[identity] = since
        self._ready_bytes += self._bytes[identity]

    def _unplace(self, identity: str) -> None:
        if self._ready.pop(identity, None) is not None:
            self._ready_bytes -= self._bytes[identity]
        self._hidden_until.pop(identity, None)
        self._delayed.discard(identity)

    def _move(self, message: Message, target: QueuedMessages) -> None:
        """To the dead-letter queue, in one transaction."""
        moved = {**message, "receipt_handle": None, "visible_at": time.time()}
        moved["sys"] = {"DeadLetterQueueSourceArn": self._arn, **message["sys"]}
        if self._queue.get("is_fifo"):
            moved["enqueued_at"] = time.time()  # of a standard queue, the time of sending counts
        self._forget(message["id"])
        target.append(moved)

    def _redrive_policy(self) -> tuple[int, QueuedMessages | None]:
        most_receives, arn = redrive_policy(self._queue["attributes"].get("RedrivePolicy") or "")
        queue = sqs._queue_by_arn(arn) if arn else None
        return most_receives, queue["messages"] if queue else None

    def _forget(self, identity: str) -> None:
        self._unplace(identity)
        message = self._all.pop(identity)
        del self._bytes[identity]
        self._receipts.pop(message["receipt_handle"], None)
        if not self._closed:
            self._store.remove(KIND, f"{self._arn} {identity}")

    def _keep(self, message: Message) -> None:
        if not self._closed:
            text = json.dumps(message, default=persistence._json_default)
            self._store.put(KIND, f"{self._arn} {message['id']}", text)

    @property
    def _arn(self) -> str:
        return str(self._queue["attributes"]["QueueArn"])


@functools.lru_cache(maxsize=1024)
def redrive_policy(policy: str) -> tuple[int, str]:
    """How often a message may be received, and the ARN of the dead-letter queue; 0 and '' without one."""
    try:
        found = json.loads(policy) if policy else {}
        return int(found["maxReceiveCount"]), str(found["deadLetterTargetArn"])
    except (ValueError, KeyError, TypeError):
        return 0, ""


def _enqueued_at(message: Message) -> float:
    return float(message.get("enqueued_at") or message["sent_at"])


def _size(message: Message) -> int:
    attributes = message["message_attributes"]
    return (
        _RECORD_BYTES + len(json.dumps(message["body"])) + (len(json.dumps(attributes)) if attributes else 0)
    )
