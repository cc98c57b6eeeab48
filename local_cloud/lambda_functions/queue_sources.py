"""SQS queues as event sources of functions.

Source: "Using Lambda with Amazon SQS" in the guide of AWS Lambda. ministack receives up to 10 messages at a
time, ignores batching windows and the size of events, and invokes functions beside the queue of asynchronous
events. Here, the workers of that queue (`events.py`) take batches from here in turn with events, so that both
share `--parallel`.

- A batch is complete when it has `BatchSize` messages or 6 MB, or when its window has passed.
- A mapping has at most `MaximumConcurrency` batches in flight, or 5 without it. (AWS adds more with time.)
- Reserved concurrency throttles: a batch is tried again until the visibility timeout of its messages has
  passed. Then they are received again, which counts.
- What failed is visible again after 1 or 2 seconds. (AWS: when the visibility timeout has passed.)
- What is in flight when the cloud stops is received again, without counting.
"""

from __future__ import annotations

import json
import logging
import math
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from ministack.core.arn import ArnParseError, parse_arn
from ministack.core.responses import error_response_json, get_account_id, request_scope
from ministack.services import lambda_svc, sqs
from ministack.services.cloudformation import provisioners

from local_cloud.iam.policies import role_allows
from local_cloud.lambda_functions import loops
from local_cloud.messages import chains
from local_cloud.messages.queued_messages import Message, QueuedMessages
from local_cloud.patches import Original, replaces

Mapping = dict[str, Any]
VISIBLE_AGAIN_AFTER_S = (1.0, 2.0)
"""After the first failure, and after the others."""
_MOST_BYTES = 6 * 1024 * 1024
_ENVELOPE_BYTES = 100
"""Of an event, without its records."""
_WITHOUT_MAXIMUM = 5
_THROTTLED_FOR_S = 0.05
_ACTIONS = ("ReceiveMessage", "DeleteMessage", "GetQueueAttributes")
_MOST_OF_FIFO = 10
_WITHOUT_WINDOW = 10
"""The largest batch without a window."""
_MOST_IN_BATCH = 10_000
_MOST_WINDOW_S = 300
_CONFLICT = 409
_DEFAULTS: dict[str, Any] = {
    "BatchSize": 10,
    "MaximumBatchingWindowInSeconds": 0,
    "FunctionResponseTypes": [],
    "FilterCriteria": None,
    "ScalingConfig": None,
    "Enabled": True,
}
_log = logging.getLogger("queue-sources")


@dataclass
class MessageBatch:
    """Messages that were received together for one invocation."""

    mapping: Mapping
    account: str
    region: str
    queue: QueuedMessages
    records: list[dict[str, Any]]
    receipts: dict[str, str]
    """Receipt handles by message."""
    hidden_until: float
    """On the monotonic clock, as `again_at`."""
    chains: dict[str, dict[str, int]]
    """Of messages: the invocations that led to them (`messages/chains.py`)."""
    again_at: float = 0.0
    """When it was throttled."""
    received: int = 1
    """How often its most-received message was received."""


class QueueSources:
    """The event source mappings of all queues."""

    def __init__(self) -> None:
        self._in_flight: Counter[str] = Counter()
        """Batches of each mapping, with the throttled ones."""
        self._throttled: list[MessageBatch] = []
        self._nothing_until: dict[str, float] = {}
        """When to look at a queue again, on the monotonic clock."""
        self._turn: dict[str, int] = {}
        """When each mapping was served last."""
        self._served = 0

    def install(self) -> None:
        """Take the place of ministack's polling of queues, and check mappings as AWS does."""
        lambda_svc._poll_sqs = lambda: False
        _check_calls()
        _check_templates()

    def take(self, now: float) -> tuple[MessageBatch | None, float | None]:
        """A batch to invoke a function with, or else when to look again (None: after a change).

        The lock of the store is held.
        """
        wake_at: list[float] = []
        for held in self._throttled:
            if held.hidden_until <= now:
                self._throttled.remove(held)
                self._end(held)
                return self.take(now)
            if held.again_at <= now:
                self._throttled.remove(held)
                return held, None
            wake_at.append(held.again_at)
        scoped = []
        for (account, region, _id), mapping in list(lambda_svc._esms._data.items()):
            arn = mapping["EventSourceArn"]
            if (until := self._nothing_until.get(arn, 0.0)) > now:
                wake_at.append(until)
            elif mapping.get("Enabled", True) and ":sqs:" in arn:
                scoped.append((account, region, mapping))
        for _account, _region, mapping in scoped:
            self._nothing_until.pop(mapping["EventSourceArn"], None)
        for account, region, mapping in sorted(scoped, key=lambda one: self._turn.get(one[2]["UUID"], 0)):
            batch, at = self._batch_of(account, region, mapping, now)
            if batch is not None:
                return batch, None
            arn = mapping["EventSourceArn"]
            self._nothing_until[arn] = min(at or math.inf, self._nothing_until.get(arn, math.inf))
            wake_at.append(self._nothing_until[arn])
        first = min(wake_at, default=math.inf)
        return None, None if first == math.inf else first

    def look_again(self, queue_arn: str) -> None:
        """Look at a queue, or at all without an ARN: it has changed. The lock of the store is held."""
        if queue_arn:
            self._nothing_until.pop(queue_arn, None)
        else:
            self._nothing_until.clear()

    def run(self, batch: MessageBatch) -> Callable[[], None]:
        """Invoke the function once. Returns what must be done afterwards, in one transaction."""
        mapping = batch.mapping
        with request_scope(batch.account, batch.region):
            record, config, name = lambda_svc._get_func_record_for_ref(mapping["FunctionArn"])
            if not record or not config:
                return partial(self._finish, batch, set(batch.receipts), "PROBLEM: Function not found")
            function = lambda_svc._execution_record_for_config(record, config)
            in_loop = {message for message, chain in batch.chains.items() if loops.is_loop(chain, function)}
            records = [record for record in batch.records if record["messageId"] not in in_loop]
            chain = chains.current.set(_merged(batch.chains, in_loop))
            try:
                result = (
                    lambda_svc._execute_function(function, {"Records": records})
                    if records
                    else loops.stopped(function)
                )
            except Exception as error:
                _log.exception("invocation of %s", name)
                result = {"error": True, "body": {"errorMessage": str(error)}}
            finally:
                chains.current.reset(chain)
        if result.get("throttle"):
            return partial(self._hold, batch)
        if result.get("error"):
            _log.warning("%d messages for %s failed: %s", len(batch.records), name, result.get("body"))
            return partial(self._finish, batch, set(batch.receipts), "PROBLEM: Function call failed")
        failed = in_loop
        if "ReportBatchItemFailures" in (mapping.get("FunctionResponseTypes") or []):
            failed = in_loop | failed_items(result.get("body"), set(batch.receipts) - in_loop)
            if failed:
                _log.info("%d of %d messages for %s failed", len(failed), len(batch.records), name)
        return partial(self._finish, batch, failed, "OK")

    def give_back(self, batch: MessageBatch) -> None:
        """Make the messages of a batch visible again, because it could not be run."""
        self._finish(batch, set(batch.receipts), "PROBLEM: Function call failed")

    def forget_all(self) -> None:
        """Drop what is held."""
        self._throttled.clear()
        self._in_flight.clear()

    def _batch_of(
        self, account: str, region: str, mapping: Mapping, now: float
    ) -> tuple[MessageBatch | None, float | None]:
        queue = sqs._queue_by_arn(mapping["EventSourceArn"])
        if queue is None or self._in_flight[mapping["UUID"]] >= _most_in_flight(mapping, queue):
            return None, None  # the end of a batch is a change
        messages: QueuedMessages = queue["messages"]
        size = int(mapping.get("BatchSize") or _DEFAULTS["BatchSize"])
        count, total_bytes, since, next_at = messages.available()
        if since is None:
            return None, next_at
        complete_at = since + float(mapping.get("MaximumBatchingWindowInSeconds") or 0)
        most_bytes = _MOST_BYTES - _ENVELOPE_BYTES
        if count < size and total_bytes < most_bytes and now < complete_at:
            return None, complete_at
        visibility_s = float(queue["attributes"].get("VisibilityTimeout", "30"))
        received = messages.receive(size, visibility_s, most_bytes=most_bytes, in_memory=True)
        records = [record_of(message, mapping["EventSourceArn"], region) for message in received]
        wanted = lambda_svc._apply_filter_criteria(records, mapping)
        if len(wanted) < len(records):
            names = {record["messageId"] for record in wanted}
            for message in received:
                if message["id"] not in names:
                    messages.delete(message["receipt_handle"])
        if not wanted:
            return (None, next_at) if not received else (None, now)
        self._served += 1
        self._turn[mapping["UUID"]] = self._served
        self._in_flight[mapping["UUID"]] += 1
        return MessageBatch(
            mapping=mapping,
            account=account,
            region=region,
            queue=messages,
            records=wanted,
            receipts={record["messageId"]: record["receiptHandle"] for record in wanted},
            hidden_until=now + visibility_s,
            chains={message["id"]: message["chain"] for message in received if message.get("chain")},
            received=max(int(message["receive_count"]) for message in received),
        ), None

    def _hold(self, batch: MessageBatch) -> None:
        batch.again_at = time.monotonic() + _THROTTLED_FOR_S
        self._throttled.append(batch)

    def _finish(self, batch: MessageBatch, failed: set[str], result: str) -> None:
        after_s = VISIBLE_AGAIN_AFTER_S[min(batch.received, len(VISIBLE_AGAIN_AFTER_S)) - 1]
        for message, receipt in batch.receipts.items():
            if message in failed:
                batch.queue.change_visibility(receipt, after_s)
            else:
                batch.queue.delete(receipt)
        batch.mapping["LastProcessingResult"] = result
        self._end(batch)

    def _end(self, batch: MessageBatch) -> None:
        self.look_again(batch.mapping["EventSourceArn"])
        self._in_flight[batch.mapping["UUID"]] -= 1
        if self._in_flight[batch.mapping["UUID"]] <= 0:
            del self._in_flight[batch.mapping["UUID"]]


def _merged(led: dict[str, dict[str, int]], without: set[str]) -> dict[str, int]:
    """The chain of an invocation with several messages."""
    merged: dict[str, int] = {}
    for message, chain in led.items():
        if message not in without:
            merged |= {name: max(count, merged.get(name, 0)) for name, count in chain.items()}
    return merged


def _most_in_flight(mapping: Mapping, queue: dict[str, Any]) -> int:
    if queue.get("is_fifo"):
        return 1
    return int((mapping.get("ScalingConfig") or {}).get("MaximumConcurrency") or _WITHOUT_MAXIMUM)


def record_of(message: Message, queue_arn: str, region: str) -> dict[str, Any]:
    """A message in an event of Lambda."""
    sys = message["sys"]
    attributes = {
        "ApproximateReceiveCount": str(message["receive_count"]),
        "SentTimestamp": str(sys.get("SentTimestamp") or int(message["sent_at"] * 1000)),
        "SenderId": sys.get("SenderId", get_account_id()),
        "ApproximateFirstReceiveTimestamp": str(int(message["first_receive_at"] * 1000)),
        "AWSTraceHeader": sys.get("AWSTraceHeader"),
        "DeadLetterQueueSourceArn": sys.get("DeadLetterQueueSourceArn"),
        "MessageGroupId": message["group_id"],
        "MessageDeduplicationId": message["dedup_id"],
        "SequenceNumber": message["seq"],
    }
    return {
        "messageId": message["id"],
        "receiptHandle": message["receipt_handle"],
        "body": message["body"],
        "attributes": {name: value for name, value in attributes.items() if value},
        "messageAttributes": lambda_svc._sqs_message_attributes_to_camel_case(message["message_attributes"]),
        "md5OfBody": message["md5_body"],
        "eventSource": "aws:sqs",
        "eventSourceARN": queue_arn,
        "awsRegion": region,
    }


def failed_items(answer: Any, messages: set[str]) -> set[str]:
    """The messages that failed, by a partial batch response. An invalid one means all of them."""
    if isinstance(answer, str):
        try:
            answer = json.loads(answer) if answer else {}
        except ValueError:
            return messages
    if answer is None:
        return set()
    if not isinstance(answer, dict):
        return messages
    items = answer.get("batchItemFailures") or []
    if not isinstance(items, list):
        return messages
    failed: set[Any] = {item.get("itemIdentifier") if isinstance(item, dict) else None for item in items}
    return failed if failed <= messages else messages


def problem_of(mapping: Mapping) -> str | None:  # noqa: PLR0911 (one for each rule)
    """Why AWS would reject an event source mapping of a queue, in its words; None if it would not."""
    source = mapping["EventSourceArn"]
    is_fifo = source.endswith(".fifo")
    size, window = int(mapping["BatchSize"]), int(mapping["MaximumBatchingWindowInSeconds"])
    most = _MOST_OF_FIFO if is_fifo else _MOST_IN_BATCH
    if not 1 <= size <= most:
        return f"Batch size must be between 1 and {most}."
    if not 0 <= window <= _MOST_WINDOW_S:
        return f"Maximum batch window in seconds must be between 0 and {_MOST_WINDOW_S}."
    if is_fifo and window:
        return "Batching window is not supported for FIFO queues"
    if size > _WITHOUT_WINDOW and not window:
        return (
            "Maximum batch window in seconds must be greater than 0 if maximum batch size is greater than "
            f"{_WITHOUT_WINDOW}"
        )
    record, config, _name = lambda_svc._get_func_record_for_ref(mapping["FunctionArn"])
    if not record or not config:
        return f"Function not found: {mapping['FunctionArn']}"
    for action in _ACTIONS:
        if not role_allows(str(config.get("Role", "")), f"sqs:{action}", source):
            return f"The provided execution role does not have permissions to call {action} on SQS"
    queue = sqs._queue_by_arn(source)
    if queue is None:
        return (
            "Error occurred while ReceiveMessage. SQS Error Code: AWS.SimpleQueueService.NonExistentQueue. "
            "SQS Error Message: The specified queue does not exist."
        )
    visibility_s, timeout_s = int(queue["attributes"]["VisibilityTimeout"]), int(config.get("Timeout") or 3)
    if visibility_s < timeout_s:
        return (
            f"Queue visibility timeout: {visibility_s} seconds is less than Function timeout: {timeout_s} "
            "seconds"
        )
    return None


def _is_queue(arn: str) -> bool:
    try:
        return bool(parse_arn(arn).service == "sqs")
    except ArnParseError:
        return False


def _mapping_like(settings: dict[str, Any], function: str) -> Mapping:
    """The settings of a call or a template with Lambda's defaults."""
    given = {name: value for name, value in settings.items() if value is not None}
    return {**_DEFAULTS, **given, "FunctionArn": function}


def _existing(source: str, function: str) -> Mapping | None:
    for mapping in lambda_svc._esms.values():
        if mapping["EventSourceArn"] == source and mapping["FunctionArn"] == function:
            found: Mapping = mapping
            return found
    return None


def _already_exists(mapping: Mapping) -> str:
    return (
        f'An event source mapping with SQS arn (" {mapping["EventSourceArn"]} ") and function '
        f'(" {mapping["FunctionName"]} ") already exists. Please update or delete the existing mapping with '
        f"UUID {mapping['UUID']}"
    )


def _arn_of(function: str) -> str:
    _record, config, _name = lambda_svc._get_func_record_for_ref(function)
    return str((config or {}).get("FunctionArn") or function)


def _check_calls() -> None:
    @replaces(lambda_svc, "_create_esm")
    def create_mapping(create: Original, data: dict[str, Any]) -> Any:
        if not _is_queue(data.get("EventSourceArn", "")):
            return create(data)
        function = _arn_of(data.get("FunctionName", ""))
        if (existing := _existing(data["EventSourceArn"], function)) is not None:
            return error_response_json("ResourceConflictException", _already_exists(existing), _CONFLICT)
        if problem := problem_of(_mapping_like(data, function)):
            return error_response_json("InvalidParameterValueException", problem, 400)
        return create(data)

    @replaces(lambda_svc, "_update_esm")
    def update_mapping(update: Original, mapping_id: str, data: dict[str, Any]) -> Any:
        mapping = lambda_svc._esms.get(mapping_id)
        if mapping is not None and _is_queue(mapping["EventSourceArn"]):
            function = _arn_of(data.get("FunctionName") or mapping["FunctionArn"])
            if problem := problem_of(_mapping_like({**mapping, **data}, function)):
                return error_response_json("InvalidParameterValueException", problem, 400)
        answer = update(mapping_id, data)
        lambda_svc._ensure_poller()  # wakes the workers
        return answer


def _check_templates() -> None:
    handlers = provisioners._RESOURCE_HANDLERS["AWS::Lambda::EventSourceMapping"]
    create, update = handlers["create"], handlers["update"]

    def checked(props: dict[str, Any]) -> dict[str, Any]:
        """The properties, with the types of the call."""
        typed = dict(props)
        for name in ("BatchSize", "MaximumBatchingWindowInSeconds"):
            if name in typed:
                typed[name] = int(typed[name])
        if "MaximumConcurrency" in (typed.get("ScalingConfig") or {}):
            typed["ScalingConfig"] = {"MaximumConcurrency": int(typed["ScalingConfig"]["MaximumConcurrency"])}
        typed["Enabled"] = str(typed.get("Enabled", True)).lower() == "true"
        refused = lambda_svc._validate_scaling_config(typed, typed["EventSourceArn"])
        problem = json.loads(refused[2])["message"] if refused else None
        problem = problem or problem_of(_mapping_like(typed, _arn_of(typed.get("FunctionName", ""))))
        if problem:
            raise ValueError(f"Invalid request provided: {problem}")
        return typed

    def create_mapping(logical_id: str, props: dict[str, Any], stack: str) -> Any:
        if not _is_queue(props.get("EventSourceArn", "")):
            return create(logical_id, props, stack)
        typed = checked(props)
        existing = _existing(typed["EventSourceArn"], _arn_of(typed["FunctionName"]))
        if existing is not None:
            raise ValueError(_already_exists(existing))
        made = create(logical_id, typed, stack)
        mapping = lambda_svc._esms[made[0]]
        mapping["State"] = "Enabled" if typed["Enabled"] else "Disabled"
        mapping.pop("StartingPosition", None)  # of streams only
        return made

    def update_mapping(physical_id: str, old: dict[str, Any], new: dict[str, Any], stack: str) -> Any:
        if not _is_queue(new.get("EventSourceArn", "")) or old.get("EventSourceArn") != new["EventSourceArn"]:
            return update(physical_id, old, new, stack)
        # ministack leaves a removed property as it was.
        defaults = {name: value for name, value in _DEFAULTS.items() if name in old}
        made = update(physical_id, old, {**defaults, **checked(new)}, stack)
        lambda_svc._ensure_poller()  # wakes the workers
        return made

    handlers.update(create=create_mapping, update=update_mapping)
