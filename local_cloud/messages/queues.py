"""SQS queues whose messages are kept in the database; snapshots contain only the queues.

`QueuedMessages` takes the place of the list of messages in each queue's record, and of all functions of
ministack that search that list.
"""

from __future__ import annotations

import json
import logging
import uuid
from collections.abc import Callable
from functools import partial
from typing import Any

from ministack.core import persistence
from ministack.core.responses import AccountRegionScopedDict
from ministack.services import sqs
from ministack.services.cloudformation import provisioners

from local_cloud.messages.queued_messages import KIND, QueuedMessages
from local_cloud.patches import Original, replaces
from local_cloud.state.store import Store

_Queue = dict[str, Any]
_UUID_LENGTH = 36
_log = logging.getLogger("sqs")


class QueueMessages:
    """The messages of all queues, in the store. `changed` is called with a queue's ARN, and with the lock of
    the store held, when a message may be received."""

    def __init__(self, store: Store, changed: Callable[[str], None]) -> None:
        self._store = store
        self._changed = changed

    def install(self) -> None:
        """Take the place of ministack's lists of messages."""
        sqs._queues = _Queues(self._made, self._gone)
        sqs.get_state = _state_without_messages
        sqs._expire_retained = sqs._dlq_sweep = lambda _queue: None
        sqs._collect_msgs = lambda queue, most, visibility_s: queue["messages"].receive(most, visibility_s)
        sqs._refresh_counts = _refresh_counts
        for action, handler in (
            ("DeleteMessage", _delete_message),
            ("DeleteMessageBatch", self._in_one_commit(_delete_message_batch)),
            ("ChangeMessageVisibility", _change_visibility),
            ("ChangeMessageVisibilityBatch", self._in_one_commit(_change_visibility_batch)),
            ("SendMessageBatch", self._in_one_commit(sqs._act_send_message_batch)),
            ("PurgeQueue", self._in_one_commit(sqs._act_purge_queue)),
        ):
            sqs._HANDLERS[action] = handler
        _refuse_existing_names()

        @replaces(sqs, "reset")
        def reset_all(reset: Original) -> None:
            with self._store.transaction():
                reset()
                self._store.remove_below(KIND, "")

    def restore(self) -> None:
        """Put all messages back into their queues, when the snapshot is loaded."""
        for key, value in self._store.items(KIND):
            arn = key.rpartition(" ")[0]
            queue = sqs._queue_by_arn(arn)
            if queue is None:
                _log.warning("a message is dropped: its queue %s no longer exists", arn)
                self._store.remove(KIND, key)
                continue
            queue["messages"].load(json.loads(value, object_hook=persistence._json_object_hook))

    def _made(self, queue: _Queue) -> _Queue:
        if not isinstance(queue["messages"], QueuedMessages):
            arn = queue["attributes"]["QueueArn"]
            queue["messages"] = QueuedMessages(queue, self._store, partial(self._changed, arn))
        return queue

    def _gone(self, queue: _Queue) -> None:
        queue["messages"].close()

    def _in_one_commit(self, act: Callable[..., Any]) -> Callable[..., Any]:
        def act_at_once(*arguments: Any) -> Any:
            with self._store.transaction():
                return act(*arguments)

        return act_at_once


class _Queues(AccountRegionScopedDict):  # type: ignore[misc]
    """ministack's records of queues, each with our collection of messages."""

    def __init__(self, made: Callable[[_Queue], _Queue], gone: Callable[[_Queue], None]) -> None:
        super().__init__()
        self._made = made
        self._gone = gone

    def __setitem__(self, key: str, queue: _Queue) -> None:
        if (before := self.get(key)) is not None and before is not queue:
            self._gone(before)
        super().__setitem__(key, self._made(queue))

    def update(self, other: Any) -> None:
        super().update(other)
        for queue in self.all_values():
            self._made(queue)

    def pop(self, key: str, *default: Any) -> Any:
        return self._popped(super().pop(key, *default))

    def pop_scoped(self, account: str, region: str, key: str, *default: Any) -> Any:
        return self._popped(super().pop_scoped(account, region, key, *default))

    def _popped(self, queue: Any) -> Any:
        if isinstance(queue, dict):
            self._gone(queue)
        return queue


def _state_without_messages() -> dict[str, Any]:
    queues = AccountRegionScopedDict()
    queues._data = {key: {**queue, "messages": []} for key, queue in sqs._queues.all_items()}
    return {"queues": queues, "queue_name_to_url": sqs._queue_name_to_url}


def _refresh_counts(queue: _Queue) -> None:
    names = ("", "NotVisible", "Delayed")
    for name, count in zip(names, queue["messages"].counts(), strict=True):
        queue["attributes"][f"ApproximateNumberOfMessages{name}"] = str(count)


def _delete(queue: _Queue, entry: dict[str, Any]) -> None:
    """Delete a message. As on AWS, a message that was deleted before is not an error."""
    receipt = _receipt(entry)
    if not queue["messages"].delete(receipt) and len(receipt) != _UUID_LENGTH:
        raise _invalid_receipt()


def _change(queue: _Queue, entry: dict[str, Any]) -> None:
    if not queue["messages"].change_visibility(_receipt(entry), int(entry.get("VisibilityTimeout", 30))):
        raise _invalid_receipt()


def _receipt(entry: dict[str, Any]) -> str:
    if not entry.get("ReceiptHandle"):
        raise sqs._Err("MissingParameter", "The request must contain the parameter ReceiptHandle.")
    return str(entry["ReceiptHandle"])


def _invalid_receipt() -> Exception:
    error: Exception = sqs._Err("ReceiptHandleIsInvalid", "The input receipt handle is invalid.")
    return error


def _delete_message(data: dict[str, Any], url: str) -> dict[str, Any]:
    _delete(sqs._get_q(data.get("QueueUrl", url), "sqs:DeleteMessage"), data)
    return {}


def _change_visibility(data: dict[str, Any], url: str) -> dict[str, Any]:
    _change(sqs._get_q(data.get("QueueUrl", url), "sqs:ChangeMessageVisibility"), data)
    return {}


def _delete_message_batch(data: dict[str, Any], url: str) -> dict[str, Any]:
    queue = sqs._get_q(data.get("QueueUrl", url), "sqs:DeleteMessage")
    return _each(data, "DeleteMessageBatchRequestEntry", lambda entry: _delete(queue, entry))


def _change_visibility_batch(data: dict[str, Any], url: str) -> dict[str, Any]:
    queue = sqs._get_q(data.get("QueueUrl", url), "sqs:ChangeMessageVisibility")
    return _each(data, "ChangeMessageVisibilityBatchRequestEntry", lambda entry: _change(queue, entry))


def _each(data: dict[str, Any], entry_name: str, act: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    entries = data.get("Entries", [])
    sqs._validate_batch_entries(entries, entry_name)
    done: list[dict[str, Any]] = []
    failed: list[dict[str, Any]] = []
    for entry in entries:
        try:
            act(entry)
            done.append({"Id": entry["Id"]})
        except sqs._Err as error:
            told = {"Code": error.code, "Message": error.message, "SenderFault": True}
            failed.append({"Id": entry["Id"], **told})
    return {"Successful": done, "Failed": failed}


def _refuse_existing_names() -> None:
    """As on AWS, a stack cannot create a queue that exists. ministack would replace it, and its messages."""
    handlers = provisioners._RESOURCE_HANDLERS["AWS::SQS::Queue"]
    create = handlers["create"]

    def create_queue(logical_id: str, props: dict[str, Any], stack: str) -> Any:
        name, _is_fifo = provisioners._sqs_queue_name(props, stack, logical_id)
        if sqs._queue_url(name) in sqs._queues:
            if props.get("QueueName"):
                raise ValueError(
                    f"Resource of type 'AWS::SQS::Queue' with identifier '{name}' already exists."
                )
            # A queue that the stack has kept: as on AWS, the new one gets another generated name.
            provisioners._NAME_SEED.set(str(uuid.uuid4()))
        return create(logical_id, props, stack)

    handlers["create"] = create_queue
