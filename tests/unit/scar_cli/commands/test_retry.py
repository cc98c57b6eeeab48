"""The event in a message of a failure queue, whichever service has put it there."""

from __future__ import annotations

import base64
import gzip
import json
from typing import Any

import pytest

from scar_cli.aws.deployed import DeployedFunction
from scar_cli.aws.failure_queues import UnreadableMessageError, event_of, subject_of
from scar_cli.commands.retry import _messages, _send

EVENT = {"Records": [{"s3": {"bucket": {"name": "b"}, "object": {"key": "in/a+b%2B.txt"}}}]}


def job(**environment: str) -> str:
    pairs = [{"name": name, "value": value} for name, value in environment.items()]
    return json.dumps(
        {"detail-type": "Batch Job State Change", "detail": {"container": {"environment": pairs}}}
    )


def child(array: dict[str, int], **environment: str) -> str:
    message = json.loads(job(**environment))
    message["detail"]["arrayProperties"] = array
    return json.dumps(message)


def on_nodes(**environment: str) -> str:
    message = json.loads(job(**environment))
    container = message["detail"].pop("container")
    message["detail"]["nodeProperties"] = {"nodeRangeProperties": [{"container": container}]}
    return json.dumps(message)


def stored(uri: str, part: str | None = None) -> bytes:
    if uri == "s3://events/launches/1":
        assert part == "bytes=1400-1599"
        return json.dumps(EVENT).encode().ljust(199) + b"\n"
    assert (uri, part) == ("s3://events/key", None)
    return gzip.compress(json.dumps(EVENT).encode())


def packed(content: bytes) -> str:
    return base64.b64encode(gzip.compress(content)).decode()


@pytest.mark.parametrize(
    "body",
    [
        json.dumps({"version": "1.0", "requestPayload": EVENT, "responsePayload": {}}),
        job(OTHER="x", SCAR_EVENT=json.dumps(EVENT)),
        job(SCAR_EVENT_GZ=packed(json.dumps(EVENT).encode())),
        job(SCAR_EVENT_URI="s3://events/key"),
        child({"index": 7}, SCAR_EVENTS_URI="s3://events/launches/1", SCAR_EVENTS_WIDTH="200"),
        job(SCAR_EVENTS_URI="s3://events/launches/1", SCAR_EVENTS_WIDTH="200", SCAR_EVENTS_INDEX="7"),
        json.dumps({"requestPayload": json.loads(job(SCAR_EVENT=json.dumps(EVENT))), "responsePayload": {}}),
        on_nodes(SCAR_EVENT=json.dumps(EVENT)),
        json.dumps(EVENT),
    ],
)
def test_the_event_is_found(body: str) -> None:
    assert event_of(body, stored) == EVENT
    assert subject_of(event_of(body, stored)) == "b/in/a b+.txt"


def test_what_event_bridge_and_sns_could_not_deliver_is_the_event() -> None:
    bridge = {
        "source": "aws.s3",
        "detail-type": "Object Created",
        "detail": {"bucket": {"name": "b"}, "object": {"key": "k"}},
    }
    assert event_of(json.dumps(bridge), stored) == bridge
    assert subject_of(bridge) == "b/k"
    notification = {"Type": "Notification", "Message": json.dumps(EVENT), "TopicArn": "arn:t"}
    assert event_of(json.dumps(notification), stored) == {
        "Records": [{"EventSource": "aws:sns", "EventVersion": "1.0", "Sns": notification}]
    }


@pytest.mark.parametrize(
    "body",
    [
        "no JSON",
        "[1]",
        "{}",
        job(),
        job(SCAR_EVENT="{"),
        child({"size": 9}, SCAR_EVENTS_URI="s3://events/launches/1", SCAR_EVENTS_WIDTH="200"),
        job(SCAR_EVENTS_URI="s3://events/launches/1", SCAR_EVENTS_INDEX="7"),
        job(SCAR_EVENT_GZ="%%%"),
        job(SCAR_EVENT_GZ=packed(b"{")),
        job(SCAR_EVENT_GZ=packed(b'"' + b"x" * (9 << 20) + b'"')),
        job(SCAR_EVENT_GZ=base64.b64encode(gzip.compress(b"{}")[:-9]).decode()),
        json.dumps({"detail-type": "Batch Job State Change", "detail": {"container": None}}),
        "[" * 100_000,
    ],
)
def test_a_message_without_an_event_is_said_to_be_one(body: str) -> None:
    with pytest.raises(UnreadableMessageError):
        event_of(body, stored)


@pytest.mark.parametrize("event", [{}, [], None, {"Records": []}, {"Records": [{"s3": 1}]}, {"cmd_args": []}])
def test_an_event_without_a_file_is_called_so(event: object) -> None:
    assert subject_of(event) == "an event without a file"


class Queue:
    """SQS as it answers: some of its hosts are asked, so that an answer may be empty, or repeat a message."""

    def __init__(self, count: int, *answers: str) -> None:
        self.count = count
        self.answers = list(answers)
        self.asked: list[int] = []

    def get_queue_attributes(self, **_asked: Any) -> dict[str, Any]:
        return {"Attributes": {"ApproximateNumberOfMessages": str(self.count)}}

    def receive_message(self, **asked: Any) -> dict[str, Any]:
        self.asked.append(asked["MaxNumberOfMessages"])
        answer = self.answers.pop(0) if self.answers else ""
        return {"Messages": [{"MessageId": one} for one in answer]} if answer else {}


def received(queue: Queue, limit: int | None = None) -> str:
    return "".join(one["MessageId"] for messages in _messages(queue, "url", limit) for one in messages)


def test_each_message_is_taken_once_and_an_empty_answer_is_not_the_end() -> None:
    assert received(Queue(4, "ab", "", "", "bc", "", "", "d")) == "abcd"


def test_a_queue_that_others_empty_is_given_up() -> None:
    queue = Queue(4, "a")
    assert received(queue) == "a"
    assert len(queue.asked) == 4


@pytest.mark.parametrize(
    ("limit", "taken", "asked"), [(1, "a", [1]), (3, "abc", [3, 1]), (None, "abcd", [4, 2])]
)
def test_no_more_is_taken_than_the_limit(limit: int | None, taken: str, asked: list[int]) -> None:
    """What is taken is hidden from others for a while."""
    answers = ("a",) if limit == 1 else ("ab", "c") if limit == 3 else ("ab", "cd")
    queue = Queue(4, *answers)
    assert (received(queue, limit), queue.asked) == (taken, asked)


class Aws:
    """Lambda and SQS, which accept everything."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, object]] = []

    def invoke(self, **request: Any) -> None:
        self.sent.append((request["FunctionName"], json.loads(request["Payload"])))

    def send_message(self, **request: Any) -> None:
        self.sent.append((request["QueueUrl"], json.loads(request["MessageBody"])))


@pytest.mark.parametrize(
    ("event", "queue_url", "receiver"),
    [
        (EVENT, "http://input", "http://input"),
        ({"source": "aws.s3", "detail": {}}, "http://input", "http://input"),
        (EVENT, None, "f"),
        ({**EVENT, "script": "IyEvYmluL3No"}, "http://input", "f"),
        ({"hello": "world"}, "http://input", "f"),
        ([1], "http://input", "f"),
    ],
)
def test_the_input_queue_gets_what_the_function_accepts_from_it(
    event: object, queue_url: str | None, receiver: str
) -> None:
    aws = Aws()
    function = DeployedFunction("f", "s", "r", "lambda", "/aws/lambda/f", "q", input_queue_url=queue_url)
    assert _send(aws, aws, function, event) is None
    assert aws.sent == [(receiver, event)]
