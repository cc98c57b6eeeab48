"""Dead-letter queue redrive of SQS, which ministack does not have: StartMessageMoveTask, ListMessageMoveTasks
and CancelMessageMoveTask.

Each message is moved in one transaction, as a new message: with another id, and never received. A task ends
with the cloud, and what it has not moved stays where it is. (AWS: a task continues until it ends.)
"""

from __future__ import annotations

import base64
import binascii
import json
import threading
import time
import uuid
from collections import deque
from dataclasses import dataclass, field
from typing import Any

from ministack.services import sqs

from local_cloud.messages.queued_messages import QueuedMessages, redrive_policy
from local_cloud.state.store import Store

_LISTED = 10
_IN_A_COMMIT = 100


@dataclass
class MoveTask:
    """One task."""

    source_arn: str
    destination_arn: str | None
    per_second: int | None
    to_move: int
    started_ms: int = field(default_factory=lambda: int(time.time() * 1000))
    identity: str = field(default_factory=lambda: str(uuid.uuid4()))
    moved: int = 0
    status: str = "RUNNING"
    failure: str | None = None

    @property
    def handle(self) -> str:
        """As on AWS, it contains the source, for which the caller's permissions are checked."""
        told = {"taskId": self.identity, "sourceArn": self.source_arn}
        return base64.b64encode(json.dumps(told).encode()).decode()

    def entry(self) -> dict[str, Any]:
        """The task in the answer of ListMessageMoveTasks."""
        found = {
            "TaskHandle": self.handle if self.status == "RUNNING" else None,
            "Status": self.status,
            "SourceArn": self.source_arn,
            "DestinationArn": self.destination_arn,
            "MaxNumberOfMessagesPerSecond": self.per_second,
            "ApproximateNumberOfMessagesMoved": self.moved,
            "ApproximateNumberOfMessagesToMove": self.to_move,
            "FailureReason": self.failure,
            "StartedTimestamp": self.started_ms,
        }
        return {name: value for name, value in found.items() if value is not None}


class MoveTasks:
    """The tasks of all queues."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._tasks: deque[MoveTask] = deque(maxlen=1000)

    def install(self) -> None:
        """Add the calls to ministack's SQS. Its XML protocol, which no SDK uses for them, has none."""
        sqs._HANDLERS["StartMessageMoveTask"] = self._start
        sqs._HANDLERS["ListMessageMoveTasks"] = self._list
        sqs._HANDLERS["CancelMessageMoveTask"] = self._cancel

    def _start(self, data: dict[str, Any], _url: str) -> dict[str, Any]:
        source, destination = str(data.get("SourceArn", "")), data.get("DestinationArn")
        messages = _messages(source, "SourceArn")
        if destination:
            _messages(destination, "DestinationArn")
        if destination == source:
            raise sqs._Err(
                "InvalidParameterValue", "Source queue arn and destination queue arn are the same."
            )
        if not any(
            redrive_policy(queue["attributes"].get("RedrivePolicy") or "")[1] == source
            for queue in sqs._queues.all_values()
        ):
            raise sqs._Err("InvalidParameterValue", "Source queue must be configured as a Dead Letter Queue.")
        if any(task.status == "RUNNING" for task in self._of(source)):
            raise sqs._Err(
                "UnsupportedOperation",
                "There is already a task running. Only one active task is allowed for a source queue arn at "
                "a given time.",
            )
        task = MoveTask(source, destination, data.get("MaxNumberOfMessagesPerSecond"), len(messages))
        self._tasks.append(task)
        threading.Thread(target=self._run, args=(task,), daemon=True, name="message-move-task").start()
        return {"TaskHandle": task.handle}

    def _list(self, data: dict[str, Any], _url: str) -> dict[str, Any]:
        source = str(data.get("SourceArn", ""))
        _messages(source, "SourceArn")
        most = min(int(data.get("MaxResults") or 1), _LISTED)
        return {"Results": [task.entry() for task in self._of(source)[:most]]}

    def _cancel(self, data: dict[str, Any], _url: str) -> dict[str, Any]:
        source = source_of(str(data.get("TaskHandle", "")))
        for task in self._of(source or ""):
            if task.handle == data.get("TaskHandle"):
                with self._store.lock:
                    if task.status == "RUNNING":
                        task.status = "CANCELLED"
                        return {"ApproximateNumberOfMessagesMoved": task.moved}
        raise sqs._Err("ResourceNotFoundException", "Task does not exist.", 404)

    def _of(self, source: str) -> list[MoveTask]:
        """The tasks of a queue, the latest one first."""
        return [task for task in reversed(self._tasks) if task.source_arn == source]

    def _run(self, task: MoveTask) -> None:
        while True:
            with self._store.transaction():
                for _ in range(min(task.per_second or _IN_A_COMMIT, _IN_A_COMMIT)):
                    if task.status != "RUNNING" or not self._move_one(task):
                        return
            time.sleep(0.001 if task.per_second is None else min(1.0, _IN_A_COMMIT / task.per_second))

    def _move_one(self, task: MoveTask) -> bool:
        source = sqs._queue_by_arn(task.source_arn)
        message = source["messages"].first() if source and task.moved < task.to_move else None
        if source is None or message is None:
            task.status = "COMPLETED"
            return False
        arn = task.destination_arn or message["sys"].get("DeadLetterQueueSourceArn")
        target = sqs._queue_by_arn(arn) if arn else None
        if target is None:
            task.status = "FAILED"
            task.failure = (
                "AWS.SimpleQueueService.NonExistentQueue" if arn else "CouldNotDetermineMessageSource"
            )
            return False
        now = time.time()
        kept = {name: value for name, value in message["sys"].items() if name != "DeadLetterQueueSourceArn"}
        again = {
            **{name: value for name, value in message.items() if name != "enqueued_at"},
            **{"id": str(uuid.uuid4()), "receipt_handle": None, "receive_count": 0, "first_receive_at": None},
            **{"sent_at": now, "visible_at": now, "sys": {**kept, "SentTimestamp": str(int(now * 1000))}},
        }
        source["messages"].remove(message)
        target["messages"].append(again)
        task.moved += 1
        return True


def source_of(task_handle: str) -> str | None:
    """The ARN of the source queue that a task's handle contains, or None if it is not one."""
    try:
        found = json.loads(base64.b64decode(task_handle, validate=True))["sourceArn"]
    except (binascii.Error, ValueError, KeyError, TypeError):
        return None
    return found if isinstance(found, str) else None


def _messages(arn: str, parameter: str) -> QueuedMessages:
    queue = sqs._queue_by_arn(arn)
    if queue is None:
        raise sqs._Err(
            "ResourceNotFoundException",
            f"The resource that you specified for the {parameter} parameter doesn't exist.",
            404,
        )
    found: QueuedMessages = queue["messages"]
    return found
