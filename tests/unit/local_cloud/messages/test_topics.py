"""Filters of SNS on messages that are notifications of S3: AWS's own examples of filter policies."""

from __future__ import annotations

import json
from typing import Any

from tests.emulator_programs import result_of

RECORDS = {
    "Records": [
        {"s3": {"bucket": {"name": "pictures"}, "object": {"key": "raw/a.jpg"}}},
        {"s3": {"bucket": {"name": "pictures"}, "object": {"key": "small/b.jpg"}}},
    ]
}


def key(**condition: str) -> dict[str, Any]:
    return {"Records": {"s3": {"object": {"key": [condition]}}}}


def in_emulator(statements: str) -> object:
    """The `result` of a program in a process of its own, as our extensions change ministack for good."""
    program = f"""
import os, json
os.environ["GATEWAY_PORT"] = "4566"
from ministack.core.responses import request_scope
from ministack.services import sns
from ministack.services.cloudformation import provisioners
from local_cloud.messages import topics
topics.install()
handlers = provisioners._RESOURCE_HANDLERS["AWS::SNS::Subscription"]
{statements}
print(json.dumps(result))
"""
    found: object = result_of(program)
    return found


def test_filters_look_into_each_record_of_a_notification() -> None:
    cases: list[tuple[dict[str, Any], object, bool]] = [
        (key(prefix="raw/"), RECORDS, True),
        (key(prefix="small/"), RECORDS, True),
        (key(prefix="large/"), RECORDS, False),
        (key(suffix=".jpg"), RECORDS, True),
        ({"Records": {"s3": {"bucket": {"name": ["pictures"]}}}}, RECORDS, True),
        ({"Records": {"s3": {"bucket": {"name": ["words"]}}}}, RECORDS, False),
        ({"Records": {"s3": {"bucket": {"name": ["pictures"]}, "object": {"key": ["x"]}}}}, RECORDS, False),
        (key(prefix="raw/"), {"Records": []}, False),
        (key(prefix="raw/"), {"Event": "s3:TestEvent"}, False),
        (key(prefix="raw/"), {"Records": ["raw/"]}, False),
        ({"Event": ["s3:TestEvent"]}, {"Event": "s3:TestEvent"}, True),
        ({"tags": ["b"]}, {"tags": ["a", "b"]}, True),
        ({"store": {"name": ["x"]}}, {"store": {"name": "x"}}, True),
        ({"store": [{"exists": False}]}, {"store": None, "other": 1}, True),
        ({"store": [{"exists": True}]}, {"store": "x"}, True),
    ]
    subscriptions = [
        ({"attributes": {"FilterPolicyScope": "MessageBody", "FilterPolicy": json.dumps(policy)}}, body)
        for policy, body, _ in cases
    ]
    found = in_emulator(
        f"cases = {subscriptions!r}\n"
        "result = [sns._matches_filter_policy(sub, {}, json.dumps(body)) for sub, body in cases]"
    )
    assert found == [expected for _, _, expected in cases]


def test_stack_subscribes_to_a_topic_of_another_account_and_unsubscribes() -> None:
    topic, function = "arn:aws:sns:eu-west-1:123456789012:scenes", "arn:aws:lambda:us-east-1:1:function:f"
    found = in_emulator(f"""
with request_scope("123456789012", "eu-west-1"):
    sns._create_topic({{"Name": "scenes"}})
    topic = sns._topics.get({topic!r})
props = {{"TopicArn": {topic!r}, "Region": "eu-west-1", "Protocol": "lambda", "Endpoint": {function!r}}}
arn, attributes = handlers["create"]("id", {{**props, "FilterPolicy": {{"a": ["b"]}}}}, "stack")
before = list(topic["subscriptions"])
handlers["delete"](arn, props)
after = topic["subscriptions"]
result = [attributes["Arn"] == arn, before, after]
""")
    assert isinstance(found, list)
    is_arn, (subscription,), after = found
    assert is_arn
    assert (subscription["endpoint"], subscription["attributes"]["FilterPolicy"]) == (
        function,
        '{"a": ["b"]}',
    )
    assert after == []


def test_stack_does_not_subscribe_to_a_topic_that_is_not_there() -> None:
    found = in_emulator("""
try:
    handlers["create"]("id", {"TopicArn": "arn:aws:sns:us-east-1:123456789012:none"}, "stack")
except ValueError as error:
    result = str(error)
""")
    assert found == "Topic does not exist: arn:aws:sns:us-east-1:123456789012:none"
