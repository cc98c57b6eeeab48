"""Events that somebody made to break the runner: each is an error with a reason, and stops nothing else."""

from __future__ import annotations

import base64
import gzip
import json
import time
import zlib
from collections.abc import Callable
from typing import Any

import pytest

from containers.errors import ExplainedError
from runtime import job
from runtime.config import FunctionConfig
from runtime.delegation import event_of_job
from runtime.events.http_async import seconds_left
from runtime.events.invocation import event_json
from runtime.events.reading import read_event
from tests.unit.runtime.conftest import Function
from tests.unit.runtime.event_shapes import event_bridge, http_request, rest_request, s3_event, sqs

DEEP = "[" * 2048
HUGE = "9" * 5000


def notification(**changes: Any) -> dict[str, Any]:
    """An S3 notification for bucket/in/a; keys of `changes` are paths such as `bucket__name`."""
    event = s3_event("bucket", "in/a")
    for path, value in changes.items():
        place: Any = event["Records"][0]
        *folders, last = path.split("__")
        for folder in folders:
            place = place[folder]
        place[last] = value
    return event


POISON = {
    "a bucket that is a number": json.dumps(notification(s3__bucket__name=1)),
    "a bucket with half a character": json.dumps(notification(s3__bucket__name="\ud800")),
    "a key that is a list": json.dumps(notification(s3__object__key=[])),
    "an object that is a text": json.dumps(notification(s3__object="x")),
    "records that are no list": '{"Records": {"s3": 1}}',
    "brackets without end": DEEP,
    "braces without end": '{"Records":' * 2048,
    "a number without end": f'{{"Records": [{HUGE}]}}',
    "a number that is infinite": json.dumps(notification(s3__object__size=1)).replace(
        '"size": 1', '"size": 1e999'
    ),
    "no number": json.dumps(notification()).replace('"size": 7', '"size": NaN'),
    "a negative size": json.dumps(notification(s3__object__size=-1)),
    "a size that is a fraction": json.dumps(notification(s3__object__size=1.5)),
    "a size that no object has": json.dumps(notification(s3__object__size=10**30)),
    "a size that is true": json.dumps(notification(s3__object__size=True)),
    "a time far away": json.dumps(notification(eventTime="1000000000-01-01T00:00:00Z")),
    "a time that is a number": json.dumps(notification(eventTime=10**30)),
    "no JSON": "\x00",
}


@pytest.mark.parametrize("body", POISON.values(), ids=POISON)
def test_a_poisonous_message_does_not_hold_up_the_others(body: str, config: FunctionConfig) -> None:
    good = json.dumps(s3_event("bucket", "in/good"))
    work = read_event(sqs(good, body, good), config)
    assert [invocation.item for invocation in work.invocations] == ["m0", "m2"]
    ((item, error),) = work.unreadable
    assert item == "m1"
    assert error.kind == "BadEvent"
    assert 10 < len(str(error)) < 600


@pytest.mark.parametrize("record", [None, 1, "x", [], {}, {"eventSource": "aws:sqs", "body": 1}])
def test_a_record_of_no_known_shape_does_not_hold_up_the_others(record: Any, config: FunctionConfig) -> None:
    event = sqs(json.dumps(s3_event("bucket", "in/good")))
    event["Records"].append(record)
    work = read_event(event, config)
    assert len(work.invocations) == 1
    assert len(work.unreadable) == 1


def test_only_the_poisonous_message_is_given_back_to_the_queue(function: Function) -> None:
    function.bucket.put("in/good")
    function.deploy('echo ok > "$TMP_OUTPUT_DIR/good"')
    good = json.dumps(s3_event(function.bucket.name, "in/good"))
    answer = function.invoke(sqs(good, POISON["a bucket that is a number"], DEEP))
    assert answer == {"batchItemFailures": [{"itemIdentifier": "m1"}, {"itemIdentifier": "m2"}]}
    assert function.bucket.keys("out/") == ["out/good"]


def test_the_good_records_of_a_notification_run_beside_a_bad_one(function: Function) -> None:
    function.bucket.put("in/good")
    function.deploy('echo ok > "$TMP_OUTPUT_DIR/good"')
    event = s3_event(function.bucket.name, "in/good", "in/good")
    event["Records"][0]["s3"]["object"]["size"] = -1
    with pytest.raises(ExplainedError, match="The size in the event"):
        function.invoke(event)
    assert function.bucket.keys("out/") == ["out/good"]


def test_an_error_that_nobody_foresaw_fails_its_own_message_alone(
    function: Function, monkeypatch: pytest.MonkeyPatch, log_lines: Callable[[], list[dict[str, Any]]]
) -> None:
    function.deploy("true")
    runs = job.run_job

    def run_job(invocation: Any, setting: Any) -> Any:
        if invocation.item == "m0":
            raise KeyError("nobody foresaw this")
        return runs(invocation, setting)

    monkeypatch.setattr("runtime.handler.run_job", run_job)
    bodies = []
    for name in ("in/a", "in/b"):
        function.bucket.put(name)
        bodies.append(json.dumps(s3_event(function.bucket.name, name)))
    assert function.invoke(sqs(*bodies)) == {"batchItemFailures": [{"itemIdentifier": "m0"}]}
    assert any("nobody foresaw this" in line.get("traceback", "") for line in log_lines())


TIMES = [10**9 * 31_556_952_000, 10**400, -1, -1e300, 1e300, float("nan"), float("inf"), "soon", [], True]


@pytest.mark.parametrize("time", TIMES, ids=range(len(TIMES)))
@pytest.mark.parametrize("place", ["requestTimeEpoch", "timeEpoch"])
def test_request_of_no_possible_time_is_the_callers_fault(function: Function, time: Any, place: str) -> None:
    function.deploy("true")
    event = rest_request() if place == "requestTimeEpoch" else http_request()
    event["requestContext"][place] = time
    event["requestContext"]["apiId"] = "api"
    answer = function.invoke(event)
    assert answer["statusCode"] == 400
    assert "Expected milliseconds since 1970" in json.loads(answer["body"])["message"]


@pytest.mark.parametrize("context", [{"http": 1}, {"http": {"method": []}}, {"http": {}}])
def test_request_without_a_method_is_the_callers_fault(function: Function, context: dict[str, Any]) -> None:
    function.deploy("true")
    answer = function.invoke({"httpMethod": "", "requestContext": context})
    assert answer["statusCode"] in (400, 405)


@pytest.mark.parametrize("value", [[[]], {"a": 1}, [None], 10**5000], ids=["list", "object", "null", "huge"])
def test_query_parameter_that_is_no_text_is_the_callers_fault(function: Function, value: Any) -> None:
    function.deploy("true")
    event = rest_request()
    event["queryStringParameters"] = {"a": value}
    assert function.invoke(event)["statusCode"] == 400


@pytest.mark.parametrize("moment", TIMES, ids=range(len(TIMES)))
def test_time_that_a_gateway_waits_is_bounded_whatever_the_request_says(moment: Any) -> None:
    event = rest_request()
    event["requestContext"] |= {"requestTimeEpoch": moment, "apiId": "api"}
    with pytest.raises(ExplainedError, match="of the request is invalid"):
        seconds_left(event)


@pytest.mark.parametrize(("ago_s", "left_s"), [(0, 27), (10, 17), (86_400, 27), (-86_400, 27)])
def test_time_that_a_gateway_waits_is_its_own_where_the_clocks_differ(ago_s: int, left_s: int) -> None:
    event = rest_request()
    event["requestContext"] |= {"requestTimeEpoch": int((time.time() - ago_s) * 1000), "apiId": "api"}
    assert left_s - 5 < (seconds_left(event) or 0) <= left_s + 0.01


@pytest.mark.parametrize("event", [event_bridge("bucket", "in/a"), s3_event("bucket", "in/a")])
def test_time_of_an_event_is_a_time(event: dict[str, Any], config: FunctionConfig) -> None:
    (event if "time" in event else event["Records"][0])["time" if "time" in event else "eventTime"] = (
        "x" * 999
    )
    with pytest.raises(ExplainedError, match="not in ISO 8601 format") as caught:
        read_event(event, config)
    assert caught.value.kind == "BadEvent"


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize("event", [nested(100_000), {"x": float("inf")}], ids=["deep", "infinite"])
def test_event_that_no_json_can_carry_is_an_error(event: Any) -> None:
    with pytest.raises(ExplainedError) as caught:
        event_json(event)
    assert caught.value.kind == "BadEvent"


@pytest.mark.parametrize("arguments", [DEEP, "1e999", "NaN", HUGE], ids=["deep", "infinite", "nan", "huge"])
def test_arguments_that_are_no_json_are_one_argument(arguments: str, config: FunctionConfig) -> None:
    (invocation,) = read_event({"cmd_args": arguments}, config).invocations
    assert invocation.arguments == (arguments,)


@pytest.mark.parametrize("arguments", [[10**5000], [float("nan")], [[]]], ids=["huge", "nan", "list"])
def test_arguments_that_no_program_takes_are_an_error(arguments: Any, config: FunctionConfig) -> None:
    with pytest.raises(ExplainedError, match="cmd_args"):
        read_event({"cmd_args": arguments}, config)


def packed(content: bytes) -> str:
    return base64.b64encode(content).decode()


@pytest.mark.parametrize(
    "environment",
    [
        {"SCAR_EVENT": DEEP},
        {"SCAR_EVENT": "1e999"},
        {"SCAR_EVENT": HUGE},
        {"SCAR_EVENT_GZ": packed(gzip.compress(DEEP.encode()))},
        {"SCAR_EVENT_GZ": packed(gzip.compress(b" " * (9 * 1024 * 1024) + b"{}"))},
        {"SCAR_EVENT_GZ": packed(gzip.compress(b"{}")[:10] + zlib.compress(b"x"))},
        {"SCAR_EVENT_GZ": packed(gzip.compress(b"\xff"))},
    ],
    ids=range(7),
)
def test_event_of_a_job_that_cannot_be_read_is_an_error(environment: dict[str, str]) -> None:
    with pytest.raises(ExplainedError, match="in the job's environment"):
        event_of_job(environment)
