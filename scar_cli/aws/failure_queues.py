"""Messages in failure queues, and their events."""

from __future__ import annotations

import base64
import binascii
import io
import json
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from gzip import GzipFile
from typing import Any
from urllib.parse import unquote_plus

from scar_cli.aws.deployed import DeployedFunction
from scar_cli.aws.session import explain, explained
from scar_cli.errors import UserError
from scar_cli.table import printable

AT_ONCE = 10
"""Maximum number of messages in one call to SQS."""
_HELD_S = 30
"""How long a message that was looked at stays invisible to others if `give_back` fails."""
_HANDLES_LIMIT = 10_000
_UNPACKED_LIMIT = 8 * 1024 * 1024
"""Events of Lambda have at most 6 MB."""


class UnreadableMessageError(ValueError):
    """The message contains no event; the text is the reason."""


def depth(sqs: Any, url: str) -> int:
    """Number of messages in a queue, including those that someone has received and not deleted.

    Raises:
        UserError: the call to AWS fails.
    """
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    with explained():
        told = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"]
    return sum(int(told[name]) for name in names)


def waiting(sqs: Any, url: str) -> int:
    """Number of messages in a queue that nobody has received.

    Raises:
        UserError: the call to AWS fails.
    """
    name = "ApproximateNumberOfMessages"
    with explained():
        return int(sqs.get_queue_attributes(QueueUrl=url, AttributeNames=[name])["Attributes"][name])


def in_input_queues(sqs: Any, function: DeployedFunction) -> int | None:
    """Files that wait for a function, as far as its queues can be read; None: it has no input queues.

    Raises:
        UserError: a call to AWS fails.
    """
    numbers = [] if function.input_queue_url is None else [waiting(sqs, function.input_queue_url)]
    for url in function.given_queue_urls:
        with suppress(UserError):
            numbers.append(waiting(sqs, url))
    return sum(numbers) if numbers else None


def looked_at(sqs: Any, url: str, number: int) -> Iterator[dict[str, Any]]:
    """Up to `number` messages of a queue, each once. All of them stay in the queue.

    Fewer are found if SQS does not return the others at the moment.

    Raises:
        UserError: AWS cannot be asked.
    """
    held: list[str] = []
    seen: set[str] = set()
    try:
        while len(seen) < number:
            with explained():
                answer = sqs.receive_message(
                    QueueUrl=url,
                    MaxNumberOfMessages=AT_ONCE,
                    VisibilityTimeout=_HELD_S,
                    AttributeNames=["SentTimestamp"],
                )
            fresh = [one for one in answer.get("Messages", []) if one["MessageId"] not in seen]
            held += [one["ReceiptHandle"] for one in answer.get("Messages", [])][: _HANDLES_LIMIT - len(held)]
            if not fresh:
                return
            seen |= {one["MessageId"] for one in fresh}
            yield from fresh
    finally:
        give_back(sqs, url, held)


def reason_of(body: str) -> str | None:
    """Why an event failed, as its message in the failure queue tells it."""
    try:
        message = json.loads(body)
        if message.get("detail-type") == "Batch Job State Change":
            detail = message["detail"]
            return str(detail.get("statusReason") or detail["container"]["reason"])
        answer = message["responsePayload"]
        return str(answer["errorMessage"] if isinstance(answer, dict) else answer)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def give_back(sqs: Any, url: str, handles: Sequence[str]) -> None:
    """Make received messages visible again now, instead of at the end of their visibility timeout."""
    from botocore.exceptions import BotoCoreError, ClientError

    for first in range(0, len(handles), AT_ONCE):
        entries = [
            {"Id": str(number), "ReceiptHandle": handle, "VisibilityTimeout": 0}
            for number, handle in enumerate(handles[first : first + AT_ONCE])
        ]
        with suppress(ClientError, BotoCoreError):
            sqs.change_message_visibility_batch(QueueUrl=url, Entries=entries)


Fetch = Callable[..., bytes]
"""Reads a stored event, or the given part of an object: `stored_event` with its client."""


def event_of(body: str, fetch: Fetch) -> object:
    """The event in a message of a failure queue.

    In a destination record of Lambda it is `requestPayload`. In a state change of a Batch job it is in the
    environment of the job: `SCAR_EVENT`, compressed in `SCAR_EVENT_GZ`, or in the S3 object `SCAR_EVENT_URI`,
    which `fetch` reads. The event of a job of an array is its line of `SCAR_EVENTS_URI`. A message from the
    input queue, or one that EventBridge or SNS could not deliver, is the event itself.

    Raises:
        UnreadableMessageError: the message is none of these.
    """
    try:
        message = json.loads(body)
    except (ValueError, RecursionError):
        raise UnreadableMessageError("it is not JSON") from None
    if not isinstance(message, dict):
        raise UnreadableMessageError("it is not a JSON object")
    payload = message.get("requestPayload", message)
    if isinstance(payload, dict) and payload.get("detail-type") == "Batch Job State Change":
        return _event_of_job(payload, fetch)  # also of the function that submits the next size
    if "requestPayload" in message:
        return payload
    from_s3 = isinstance(message.get("Records"), list) or message.get("Event") == "s3:TestEvent"
    if from_s3 or (message.get("source") == "aws.s3" and "detail" in message):
        return message
    if message.get("Type") == "Notification" and "Message" in message:
        return {"Records": [{"EventSource": "aws:sns", "EventVersion": "1.0", "Sns": message}]}
    raise UnreadableMessageError("it contains no event")


def subject_of(event: object) -> str:
    """A short description of the event for people: the object that it is about."""
    try:
        entry = event["Records"][0]["s3"]  # type: ignore[index]
        return f"{entry['bucket']['name']}/{unquote_plus(entry['object']['key'])}"
    except (KeyError, TypeError, IndexError, AttributeError):
        pass
    try:
        detail = event["detail"]  # type: ignore[index]
        return f"{detail['bucket']['name']}/{detail['object']['key']}"
    except (KeyError, TypeError):
        return "an event without a file"


def _event_of_job(message: dict[str, Any], fetch: Fetch) -> object:
    try:
        job = message["detail"]
        nodes = job.get("nodeProperties")
        pairs = (nodes["nodeRangeProperties"][0] if nodes else job)["container"]["environment"]
        variables = {str(pair["name"]): str(pair["value"]) for pair in pairs}
        index = job.get("arrayProperties", {}).get("index", variables.get("SCAR_EVENTS_INDEX"))
    except (KeyError, TypeError, IndexError, AttributeError):
        raise UnreadableMessageError("the job has no environment") from None
    try:
        if "SCAR_EVENTS_URI" in variables:
            width = int(variables["SCAR_EVENTS_WIDTH"])
            first = int(index) * width
            return json.loads(fetch(variables["SCAR_EVENTS_URI"], f"bytes={first}-{first + width - 1}"))
        if "SCAR_EVENT_URI" in variables or "SCAR_EVENT_GZ" in variables:
            uri = variables.get("SCAR_EVENT_URI")
            packed = fetch(uri) if uri else base64.b64decode(variables["SCAR_EVENT_GZ"], validate=True)
            with GzipFile(fileobj=io.BytesIO(packed)) as file:
                return json.loads(file.read(_UNPACKED_LIMIT))
        return json.loads(variables["SCAR_EVENT"])
    except KeyError:
        raise UnreadableMessageError("the job's environment contains no event") from None
    except (ValueError, TypeError, OSError, EOFError, zlib.error, binascii.Error, RecursionError):
        raise UnreadableMessageError("the event in the job's environment is invalid") from None


def stored_event(s3: Any, uri: str, part: str | None = None) -> bytes:
    """The content of `s3://bucket/key`, or a part of it (`bytes=0-99`): an event that was too long for the
    environment of its job, or the events of an array job.

    Raises:
        UnreadableMessageError: it cannot be read.
    """
    from botocore.exceptions import BotoCoreError, ClientError

    bucket, _, key = uri.removeprefix("s3://").partition("/")
    try:
        some = {"Range": part} if part is not None else {}
        content: bytes = s3.get_object(Bucket=bucket, Key=key, **some)["Body"].read(_UNPACKED_LIMIT)
    except (ClientError, BotoCoreError) as error:
        told = explain(error)
        raise UnreadableMessageError(
            f"its event {printable(uri)} cannot be read: {told.cause if told is not None else error}"
        ) from None
    return content
