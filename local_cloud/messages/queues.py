"""Messages of SQS queues, each an item of the store; snapshots contain only the queues.

ministack changes messages in many places. Each of them then compares the messages with the stored ones, and
commits the difference before it answers.
"""

from __future__ import annotations

import contextvars
import json
import logging
from collections.abc import Callable
from typing import Any

from ministack.core import persistence
from ministack.core.responses import AccountRegionScopedDict
from ministack.services import eventbridge, s3, sns, sqs

from local_cloud.patches import Original, replaces
from local_cloud.state.store import Store

_Queue = dict[str, Any]
_KIND = "message"
_DELIVERIES = (
    (sqs, "_act_send_message"),
    (sqs, "_receive_messages_for_esm"),
    (sqs, "_delete_messages_for_esm"),
    (s3, "_deliver_event_to_sqs"),
    (sns, "_deliver_to_sqs"),
    (eventbridge, "_dispatch_to_sqs"),
)
"""Functions that change messages, other than the API calls."""
_touched: contextvars.ContextVar[list[_Queue] | None] = contextvars.ContextVar("touched", default=None)
"""Queues that this context has looked up, and may have changed."""
_log = logging.getLogger("sqs")


class QueueMessages:
    """The messages in the store."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._find: Callable[[str], _Queue | None] = sqs._queue_by_arn
        self._kept: dict[str, dict[str, tuple[float, int]]] = {}
        """By queue ARN and message: when it becomes visible, and how often it was received."""

    def install(self) -> None:
        """Put ourselves around everything that changes messages."""
        for name in ("_get_q", "_queue_by_arn"):
            replaces(sqs, name)(_find_noted)

        @replaces(sqs, "_dispatch")
        async def dispatch_kept(dispatch: Original, *request: Any) -> Any:
            queues: list[_Queue] = []
            token = _touched.set(queues)
            try:
                return await dispatch(*request)
            finally:
                _touched.reset(token)
                self._keep(queues)

        @replaces(sqs, "reset")
        def reset_all(reset: Original) -> None:
            with self._store.transaction():
                self._kept.clear()
                self._store.remove_below(_KIND, "")
            reset()

        for module, name in _DELIVERIES:
            replaces(module, name)(self._change_kept)
        sqs.get_state = self._state_without_messages

    def restore(self) -> None:
        """Put all messages back into their queues, when the snapshot is loaded."""
        for key, value in self._store.items(_KIND):
            arn = key.rpartition(" ")[0]
            queue = self._find(arn)
            if queue is None:
                _log.warning("a message is dropped: its queue %s no longer exists", arn)
                self._store.remove(_KIND, key)
                continue
            message = json.loads(value, object_hook=persistence._json_object_hook)
            queue["messages"].append(message)
            self._kept.setdefault(arn, {})[message["id"]] = _version(message)

    def _change_kept(self, change: Original, *arguments: Any, **options: Any) -> Any:
        queues: list[_Queue] = []
        with self._store.transaction():
            token = _touched.set(queues)
            try:
                return change(*arguments, **options)
            finally:
                _touched.reset(token)
                self._keep(queues)

    def _keep(self, queues: list[_Queue]) -> None:
        """Update the store to the current messages of these queues."""
        with self._store.transaction():
            for arn, queue in {queue["attributes"]["QueueArn"]: queue for queue in queues}.items():
                known, self._kept[arn] = self._kept.get(arn, {}), {}
                for message in queue["messages"] if self._find(arn) is queue else []:
                    version = self._kept[arn][message["id"]] = _version(message)
                    if known.pop(message["id"], None) != version:
                        self._store.put(
                            _KIND,
                            f"{arn} {message['id']}",
                            json.dumps(message, default=persistence._json_default),
                        )
                for gone in known:
                    self._store.remove(_KIND, f"{arn} {gone}")

    def _state_without_messages(self) -> dict[str, Any]:
        self._keep(list(sqs._queues._data.values()))
        for arn in set(self._kept) - {
            queue["attributes"]["QueueArn"] for queue in sqs._queues._data.values()
        }:
            self._store.remove_below(_KIND, f"{arn} ")  # CloudFormation deletes queues by a way of its own
            del self._kept[arn]
        queues = AccountRegionScopedDict()
        queues._data = {key: {**queue, "messages": []} for key, queue in sqs._queues._data.items()}
        return {"queues": queues, "queue_name_to_url": sqs._queue_name_to_url}


def _find_noted(find: Original, *reference: Any) -> Any:
    queue = find(*reference)
    if queue is not None and (touched := _touched.get()) is not None:
        touched.append(queue)
    return queue


def _version(message: dict[str, Any]) -> tuple[float, int]:
    return message.get("visible_at", 0.0), message.get("receive_count", 0)
