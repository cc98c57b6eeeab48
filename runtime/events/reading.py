"""An event from Lambda or Batch → what to run, what to skip, what cannot be read.

| event | result |
|---|---|
| S3 notification | one invocation for each record; the key is URL-decoded (`+` is a space) |
| EventBridge "Object Created" | one invocation; its key is not encoded |
| SNS or SQS message that contains one of these, also SQS around SNS | the same, for each wrapped record |
| SQS message with Lambda's record of a failed invocation of one of these (a redrive) | the same |
| delegated event (`storage_provider`, `event`) that contains one of these | the same |
| API Gateway proxy request (payload 1.0 or 2.0), function URL, ALB | one invocation (`http_events`) |
| event of another service or storage (`unsupported`) | rejected |
| any other JSON value | a direct invocation, without an input file |

Skipped, with the reason: `s3:TestEvent`; events other than object creation; keys that end in `/`; **objects
of zero bytes** (consoles and tools create them as folder markers, and S3 has no way to tell a marker from an
empty file); objects that no input of the function accepts. The event of another service is rejected: a run
without an input would hide a misconfigured trigger.

A direct call may contain a `script` (base64) or `cmd_args` (a list, or its JSON), also next to `Records`.
Those inside a wrapped message or an HTTP request are ignored: publishing there does not include the right to
choose what runs. For the same reason, the body of an HTTP request cannot choose an object: it is always a
file, and a storage event in its place is rejected.
"""

from __future__ import annotations

import base64
import binascii
import math
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Literal
from urllib.parse import unquote_plus

from containers.bounded_json import JsonError, read_json
from containers.errors import ErrorKind, ExplainedError
from runtime.config import FunctionConfig
from runtime.events.http_events import is_http, read_request
from runtime.events.invocation import Invocation, iso_time
from runtime.events.unsupported import is_other_request, source_of
from runtime.storage.contract import StoredObject

EventKind = Literal["storage", "queue", "http", "direct"]

EXPECTED = (
    'Expected an S3 notification, an EventBridge "Object Created" event, an SNS or SQS message with one of '
    "them, an API Gateway proxy request, or a direct invocation with your own payload."
)
_ISO = "Expected, for example, 2026-01-31T12:00:00Z; years have four digits."
_SIZES_END = 1 << 63
_LONGEST_COUNT = 9
WRAPPINGS = 4
"""SQS around SNS around EventBridge is two; more than this is an attack or a mistake."""


@dataclass(frozen=True, slots=True)
class Skipped:
    """Acknowledged, but not run."""

    subject: str
    reason: str


@dataclass(slots=True)
class Work:
    """The work that one event asks for."""

    kind: EventKind
    """Determines the form of the answer."""
    invocations: list[Invocation] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    unreadable: list[tuple[str, ExplainedError]] = field(default_factory=list)
    """(SQS message id, or `event`; reason): an unreadable record does not prevent the others from running."""


def read_event(event: object, config: FunctionConfig) -> Work:
    """Find out what an event asks for.

    Raises `ExplainedError` of kind `BadEvent` for an event that is not supported, and of a kind in
    `http_events.CALLERS_FAULT` for an invalid HTTP request.
    """
    if (service := source_of(event)) is not None:
        raise _bad(f"Events from {service} are not supported")
    if is_http(event):
        return Work("http", [_request(event)])
    if is_other_request(event):
        raise _bad("The request is not from a REST API, an HTTP API, a function URL or a load balancer")
    if not (isinstance(event, dict) and _is_storage(event)):
        return Work("direct", [_direct(event)])
    records = event.get("Records")
    queue = isinstance(records, list) and any(_source(record) == "aws:sqs" for record in records)
    work = Work("queue" if queue else "storage")
    if queue:
        for message in records or []:
            _read_message(message, config, work)
        return work
    _read_records(event, config, work)
    script, arguments = _sent_along(event)
    if script is not None or arguments is not None:
        extra = {key: event[key] for key in ("script", "cmd_args") if key in event}
        work.invocations = [
            replace(one, script=script, arguments=arguments, event=_with(one.event, extra))
            for one in work.invocations
        ]
    return work


def _request(event: dict[str, Any]) -> Invocation:
    invocation = read_request(event)
    if (invocation.body or b"").lstrip()[:1] == b"{" and _is_storage_event(invocation.body or b""):
        raise ExplainedError(
            "The body of the request is a storage event, which an HTTP request cannot send",
            advice="Send the content of the object as the body, or upload it to an input folder.",
            kind=ErrorKind.BAD_REQUEST,
        )
    return invocation


def _is_storage_event(body: bytes) -> bool:
    try:
        found = read_json(body)
    except JsonError:
        return False
    if source_of(found) in ("dCache", "Rucio") or "TopicArn" in found or found.get("Event") == "s3:TestEvent":
        return True
    records = found.get("Records")
    sources = {_source(record) for record in records} if isinstance(records, list) else set()
    return _is_delegated(found) or bool(sources & {"aws:s3", "minio:s3", "OneTrigger"})


def _direct(event: object) -> Invocation:
    script, arguments = _sent_along(event) if isinstance(event, dict) else (None, None)
    return Invocation(event=event, time=iso_time(), script=script, arguments=arguments)


def _with(event: object, extra: dict[str, object]) -> object:
    return {**event, **extra} if isinstance(event, dict) else event


def _is_storage(event: dict[str, Any]) -> bool:
    return (
        "Records" in event
        or "detail-type" in event
        or event.get("Event") == "s3:TestEvent"
        or _is_delegated(event)
    )


def _is_delegated(event: dict[str, Any]) -> bool:
    """OSCAR's form of an event that it passes on: `{"storage_provider": NAME, "event": JSON}`."""
    return "event" in event and "storage_provider" in event


def _source(record: object) -> str:
    if not isinstance(record, dict):
        return ""
    return str(record.get("eventSource") or record.get("EventSource") or "")


def _read_records(event: dict[str, Any], config: FunctionConfig, work: Work) -> None:
    records = event.get("Records")
    several = isinstance(records, list) and len(records) > 1
    for part in [{"Records": [record]} for record in records or ()] if several else [event]:
        try:
            for found in _unwrap(part, WRAPPINGS):
                _sort_in(found, config, work)
        except ExplainedError as error:
            if not several:
                raise
            work.unreadable.append(("event", error))


def _read_message(message: Any, config: FunctionConfig, work: Work) -> None:
    item = str(message.get("messageId", "")) if isinstance(message, dict) else ""
    own = Work("queue")
    try:
        for found in _unwrap({"Records": [message]}, WRAPPINGS):
            _sort_in(found, config, own)
    except ExplainedError as error:
        work.unreadable.append((item, error))
        return
    attempt = _times_received(message)
    work.invocations += [replace(one, item=item, attempt=attempt) for one in own.invocations]
    work.skipped += own.skipped


def _times_received(message: dict[str, Any]) -> int | None:
    attributes = message.get("attributes")
    times = attributes.get("ApproximateReceiveCount") if isinstance(attributes, dict) else None
    is_count = isinstance(times, str) and times.isdecimal() and len(times) <= _LONGEST_COUNT
    return int(str(times)) if is_count else None


def _unwrap(event: object, depth: int) -> Iterator[Invocation | Skipped]:
    if not isinstance(event, dict) or depth == 0:
        raise _bad("The wrapped message is not an S3 event")
    if event.get("Event") == "s3:TestEvent":
        yield Skipped(f"s3://{event.get('Bucket', '')}", "s3:TestEvent: S3 tests the notification")
    elif "detail-type" in event:
        yield _from_event_bridge(event)
    elif isinstance(event.get("Records"), list):
        for record in event["Records"]:
            yield from _from_record(record, depth)
    elif "requestPayload" in event and "requestContext" in event:
        # The failure queue contains these, and its messages can be moved to the input queue.
        yield from _unwrap(event["requestPayload"], depth - 1)
    elif isinstance(event.get("Message"), str) and "TopicArn" in event:
        yield from _unwrap(_parsed(event["Message"], "SNS"), depth - 1)
    elif _is_delegated(event):
        inner = event["event"]
        yield from _unwrap(_parsed(inner, "delegated") if isinstance(inner, str) else inner, depth - 1)
    else:
        raise _bad("The event has no list of `Records`")


def _from_record(record: object, depth: int) -> Iterator[Invocation | Skipped]:
    source = _source(record)
    if not isinstance(record, dict):
        raise _bad("A record of the event is not an object")
    if source == "aws:sqs":
        yield from _unwrap(_parsed(record.get("body"), "SQS"), depth - 1)
    elif source == "aws:sns":
        wrapped = record.get("Sns")
        yield from _unwrap(
            _parsed(wrapped.get("Message") if isinstance(wrapped, dict) else None, "SNS"), depth - 1
        )
    elif "s3" in record and source in ("", "aws:s3"):
        yield _from_s3(record)
    else:
        raise _bad(f"A record of the event is from {source or 'an unknown source'!r}, not from Amazon S3")


def _parsed(text: object, wrapper: str) -> object:
    if not isinstance(text, str):
        raise _bad(f"The {wrapper} message is not a string")
    try:
        return read_json(text)
    except JsonError as error:
        raise _bad(f"The {wrapper} message cannot be read: {error}") from None


def _from_s3(record: dict[str, Any]) -> Invocation | Skipped:
    try:
        bucket = record["s3"]["bucket"]["name"]
        entry = record["s3"]["object"]
        key = unquote_plus(entry["key"], errors="strict")
        source = _object(bucket, key, entry, entry.get("versionId"), entry.get("eTag"))
    except (KeyError, TypeError, AttributeError):
        raise _bad("A record of the S3 notification has no s3.bucket.name or no s3.object.key") from None
    except UnicodeDecodeError:
        raise _bad("The key in a record of the S3 notification is not URL-encoded UTF-8") from None
    name = str(record.get("eventName", "ObjectCreated"))
    if not name.startswith("ObjectCreated"):
        return Skipped(str(source), f"the event {name} is not about a new object")
    return Invocation({"Records": [record]}, _time(record.get("eventTime")), source)


def _from_event_bridge(event: dict[str, Any]) -> Invocation | Skipped:
    if event.get("source") != "aws.s3":
        raise _bad(
            f"The EventBridge event {event['detail-type']!r} is from {event.get('source')!r}, not from S3"
        )
    try:
        detail = event["detail"]
        entry = detail["object"]
        source = _object(
            detail["bucket"]["name"], entry["key"], entry, entry.get("version-id"), entry.get("etag")
        )
    except (KeyError, TypeError, AttributeError):
        raise _bad("The EventBridge event has no detail.bucket.name or no detail.object.key") from None
    if event["detail-type"] != "Object Created":
        return Skipped(str(source), f"the event {event['detail-type']!r} is not about a new object")
    return Invocation(event, _time(event.get("time")), source)


def _object(
    bucket: object, key: object, entry: dict[str, Any], version: object, etag: object
) -> StoredObject:
    size, sequencer = entry.get("size"), entry.get("sequencer")
    if size is not None and not (type(size) is int and 0 <= size < _SIZES_END):
        raise _bad("The size in the event is not a valid object size in bytes")
    return StoredObject(
        _name(bucket, "bucket"),
        _name(key, "key"),
        size,
        _word(version),
        _word(etag),
        sequencer=_word(sequencer),
    )


def _name(value: object, what: str) -> str:
    if not isinstance(value, str):
        raise _bad(f"The {what} in the event is not a string")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise _bad(f"The {what} in the event is not valid Unicode") from None
    if "\0" in value:
        raise _bad(
            f"The {what} in the event contains a NUL character, which is invalid in file names and variables"
        )
    return value


def _word(value: object) -> str | None:
    """A version id, ETag or sequencer; one that S3 would not send is ignored."""
    return value if isinstance(value, str) and value.isascii() and value.isprintable() else None


def _time(value: object) -> str:
    """ISO 8601, as in the event; the current time if the event has none."""
    if value is None:
        return iso_time()
    try:
        datetime.fromisoformat(value)  # type: ignore[arg-type]
    except (ValueError, TypeError):
        raise _bad("The time of the event is not in ISO 8601 format", _ISO) from None
    return str(value)


def _sort_in(found: Invocation | Skipped, config: FunctionConfig, work: Work) -> None:
    if isinstance(found, Invocation) and (reason := _reason_to_skip(found.source, config)):
        found = Skipped(found.subject, reason)
    if isinstance(found, Skipped):
        work.skipped.append(found)
    else:
        work.invocations.append(found)


EMPTY = "the object is empty (0 bytes), as folder markers are"


def _reason_to_skip(source: StoredObject | None, config: FunctionConfig) -> str | None:
    if source is None:
        return None
    if source.key.endswith("/") or not source.key:
        return "the key ends in `/`, as those of folder markers do"
    if source.size == 0:
        return EMPTY
    inputs = [entry for entry in config.inputs if entry.contains(source.provider, source.bucket, source.key)]
    if not inputs:
        known = ", ".join(map(str, config.inputs)) or "none"
        return f"the object is not in an input of the function ({known})"
    if not any(entry.accepts(source.base_name) for entry in inputs):
        return "the name does not match the prefix and suffix filters of the function's input"
    return None


def _sent_along(event: dict[str, Any]) -> tuple[bytes | None, tuple[str, ...] | None]:
    script = None
    if event.get("script") is not None:
        try:
            script = base64.b64decode(event["script"], validate=True)
        except (binascii.Error, ValueError, TypeError):
            raise _bad("`script` is not valid base64", "Send the script encoded in base64.") from None
    arguments = event.get("cmd_args")
    if isinstance(arguments, str):
        try:
            arguments = read_json(arguments)
        except JsonError:
            arguments = [arguments]
    if arguments is None:
        return script, None
    if not isinstance(arguments, list):
        arguments = [arguments]
    return script, tuple(map(_argument, arguments))


def _argument(value: object) -> str:
    is_number = isinstance(value, int) or (isinstance(value, float) and math.isfinite(value))
    if isinstance(value, str) or is_number:
        with suppress(ValueError):  # an integer with more digits than Python writes
            text = str(value)
            if "\0" not in text:
                return text
    raise _bad("`cmd_args` is not a list of strings", 'Send, for example, ["-v", "file.txt"].')


def _bad(cause: str, advice: str = EXPECTED) -> ExplainedError:
    return ExplainedError(cause, advice=advice, kind=ErrorKind.BAD_EVENT)
