"""SQS's calls on our queues, in ministack: each in a process of its own, as it is changed for good."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.emulator_programs import result_in_block

START = """
import asyncio, json, os, sys, time
from pathlib import Path
os.environ.update(GATEWAY_PORT="4566", AUTH="true")
from ministack.core.responses import request_scope
from ministack.services import sqs
from ministack.services.cloudformation import provisioners
from local_cloud.messages.move_tasks import MoveTasks
from local_cloud.messages.queues import QueueMessages
from local_cloud.state.store import Store
store = Store(Path(sys.argv[1]) / "state.db")
messages = QueueMessages(store, lambda _arn: None)
messages.install()
MoveTasks(store).install()
def call(action, **data):
    return asyncio.run(sqs._dispatch(action, data, data.get("QueueUrl", "")))
def refused(action, **data):
    try:
        call(action, **data)
    except sqs._Err as error:
        return [error.code, error.message]
def arn(name):
    return "arn:aws:sqs:us-east-1:000000000000:" + name
def count(url):
    names = ["ApproximateNumberOfMessages"]
    return int(call("GetQueueAttributes", QueueUrl=url, AttributeNames=names)["Attributes"][names[0]])
def wait_for(reached):
    until = time.monotonic() + 20
    while not reached():
        assert time.monotonic() < until
        time.sleep(0.01)
with request_scope("000000000000", "us-east-1"):
"""


def in_emulator(folder: Path, statements: str) -> Any:
    return result_in_block(START, statements, str(folder))


def test_messages_of_all_calls_come_back_after_a_restart(tmp_path: Path) -> None:
    in_emulator(
        tmp_path,
        """
url = call("CreateQueue", QueueName="q")["QueueUrl"]
call("SendMessage", QueueUrl=url, MessageBody="one")
call("SendMessageBatch", QueueUrl=url, Entries=[{"Id": n, "MessageBody": n} for n in ("two", "three")])
gone = call("ReceiveMessage", QueueUrl=url)["Messages"]
call("DeleteMessageBatch", QueueUrl=url, Entries=[{"Id": "x", "ReceiptHandle": gone[0]["ReceiptHandle"]}])
store.put("state", "sqs", json.dumps(list(sqs.get_state()["queues"].all_values())))
result = None
""",
    )
    again = in_emulator(
        tmp_path,
        """
(queue,) = json.loads(store.items("state")[0][1])
sqs._queues[queue["url"]] = queue
sqs._queue_name_to_url["q"] = queue["url"]
messages.restore()
found = call("ReceiveMessage", QueueUrl=queue["url"], MaxNumberOfMessages=10)["Messages"]
result = [queue["messages"] is not None and len(queue["messages"]), [one["Body"] for one in found]]
""",
    )
    assert again == [2, ["two", "three"]]


REDRIVE = """
dead = call("CreateQueue", QueueName="dead")["QueueUrl"]
policy = json.dumps({"maxReceiveCount": 1, "deadLetterTargetArn": arn("dead")})
attributes = {"RedrivePolicy": policy, "VisibilityTimeout": "0"}
url = call("CreateQueue", QueueName="q", Attributes=attributes)["QueueUrl"]
for number in range(250):
    call("SendMessage", QueueUrl=url, MessageBody=str(number))
while call("ReceiveMessage", QueueUrl=url, MaxNumberOfMessages=10):
    pass
assert (count(url), count(dead)) == (0, 250)
"""


SCENARIOS = {
    "a_message_that_was_deleted_before_is_not_an_error": """
url = call("CreateQueue", QueueName="q")["QueueUrl"]
call("SendMessage", QueueUrl=url, MessageBody="one")
(message,) = call("ReceiveMessage", QueueUrl=url)["Messages"]
receipt = message["ReceiptHandle"]
result = [call("DeleteMessage", QueueUrl=url, ReceiptHandle=receipt) for _ in range(2)]
result.append(refused("DeleteMessage", QueueUrl=url, ReceiptHandle="x")[0])
result.append(refused("ChangeMessageVisibility", QueueUrl=url, ReceiptHandle=receipt)[0])
""",
    "a_stack_does_not_replace_a_queue_that_exists": """
url = call("CreateQueue", QueueName="q")["QueueUrl"]
call("SendMessage", QueueUrl=url, MessageBody="one")
create = provisioners._RESOURCE_HANDLERS["AWS::SQS::Queue"]["create"]
try:
    create("Queue", {"QueueName": "q"}, "stack")
    result = []
except ValueError as error:
    result = [str(error), count(url)]
kept, _attributes = create("Queue", {}, "stack")
call("SendMessage", QueueUrl=kept, MessageBody="one")
again, _attributes = create("Queue", {}, "stack")
result += [again != kept, count(kept), count(again)]
update = provisioners._RESOURCE_HANDLERS["AWS::SQS::Queue"]["update"]
result.append(update(again, {}, {"VisibilityTimeout": 60}, "stack", "Queue")[0] == again)
""",
    "a_dead_letter_queue_is_redriven_to_the_source": f"""
{REDRIVE}
handle = call("StartMessageMoveTask", SourceArn=arn("dead"))["TaskHandle"]
wait_for(lambda: call("ListMessageMoveTasks", SourceArn=arn("dead"))["Results"][0]["Status"] != "RUNNING")
(task,) = call("ListMessageMoveTasks", SourceArn=arn("dead"), MaxResults=10)["Results"]
moved = call("ReceiveMessage", QueueUrl=url, AttributeNames=["All"])["Messages"][0]["Attributes"]
result = [task["Status"], task["ApproximateNumberOfMessagesMoved"], count(dead)]
result += [len(sqs._queues[url]["messages"])]
result += [moved["ApproximateReceiveCount"], "DeadLetterQueueSourceArn" in moved]
result.append(refused("CancelMessageMoveTask", TaskHandle=handle)[0])
""",
    "a_redrive_is_slowed_down_and_canceled": f"""
{REDRIVE}
other = call("CreateQueue", QueueName="other")["QueueUrl"]
start = dict(SourceArn=arn("dead"), DestinationArn=arn("other"))
handle = call("StartMessageMoveTask", MaxNumberOfMessagesPerSecond=1, **start)["TaskHandle"]
wait_for(lambda: count(other))
again = refused("StartMessageMoveTask", **start)[0]
cancelled = call("CancelMessageMoveTask", TaskHandle=handle)["ApproximateNumberOfMessagesMoved"]
status = call("ListMessageMoveTasks", SourceArn=arn("dead"))["Results"][0]["Status"]
result = [status, cancelled, count(dead), again]
""",
    "a_redrive_that_is_not_possible_is_rejected": """
call("CreateQueue", QueueName="q")
result = [refused("StartMessageMoveTask", SourceArn=arn(name)) for name in ("q", "missing")]
""",
    "a_message_without_a_source_queue_needs_a_destination": f"""
{REDRIVE}
call("PurgeQueue", QueueUrl=dead)
call("SendMessage", QueueUrl=dead, MessageBody="sent by Lambda")
call("StartMessageMoveTask", SourceArn=arn("dead"))
wait_for(lambda: call("ListMessageMoveTasks", SourceArn=arn("dead"))["Results"][0]["Status"] != "RUNNING")
(task,) = call("ListMessageMoveTasks", SourceArn=arn("dead"))["Results"]
result = [task["Status"], task["FailureReason"], count(dead)]
""",
    "services_send_to_a_queue_only_if_its_policy_allows_the_source": """
from ministack.services import eventbridge, s3, sns
from local_cloud.iam import policies
from local_cloud.messages import rule_targets
policies._trust_loopback()
rule_targets.install()
url = call("CreateQueue", QueueName="q")["QueueUrl"]
def allow(service, source, account="000000000000"):
    condition = {"ArnLike": {"aws:SourceArn": source}, "StringEquals": {"aws:SourceAccount": account}}
    deny = {"Effect": "Deny", "Principal": {"AWS": "*"}, "Action": "sqs:*", "Resource": arn("q")}
    deny["Condition"] = {"Bool": {"aws:SecureTransport": "false"}}
    statement = {"Effect": "Allow", "Principal": {"Service": service + ".amazonaws.com"}}
    statement.update(Action="sqs:SendMessage", Condition=condition, Resource=arn("q"))
    text = json.dumps({"Version": "2012-10-17", "Statement": [deny, statement]})
    call("SetQueueAttributes", QueueUrl=url, Attributes={"Policy": text})
def received():
    found = count(url)
    call("PurgeQueue", QueueUrl=url)
    return found
eventbridge._ensure_default_bus()
rule = json.loads(eventbridge._put_rule({"Name": "r", "EventPattern": '{"source": ["mine"]}'})[2])["RuleArn"]
eventbridge._put_targets({"Rule": "r", "Targets": [{"Id": "q", "Arn": arn("q")}]})
topic = "arn:aws:sns:us-east-1:000000000000:t"
sns._topics[topic] = {"arn": topic, "attributes": {}, "subscriptions": [], "tags": {}}
s3._buckets["b"] = {"name": "b", "region": "us-east-1", "owner": "000000000000"}
def by_rule():
    eventbridge._put_events({"Entries": [{"Source": "mine", "DetailType": "t", "Detail": "{}"}]})
def by_topic():
    sns._deliver_to_sqs(arn("q"), "text", False, "text", topic_arn=topic)
def by_bucket():
    s3._deliver_event_to_sqs(arn("q"), {"Records": []}, "us-east-1", bucket_name="b")
result = []
for service, source, send in (
    ("events", rule, by_rule),
    ("sns", topic, by_topic),
    ("s3", "arn:aws:s3:::b", by_bucket),
):
    for allowed in ((service, source), (service, source + "x"), (service, source, "1" * 12), ("ec2", source)):
        allow(*allowed)
        send()
        result.append(received())
result.append(len(eventbridge._events_log_list()))
""",
}


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The result of each scenario, all in one process."""
    statements = ["results = {}"]
    for name, scenario in SCENARIOS.items():
        statements += ["sqs.reset()", scenario.strip(), f"results[{name!r}] = result"]
    return in_emulator(tmp_path_factory.mktemp("state"), "\n".join([*statements, "result = results"]))


def test_a_message_that_was_deleted_before_is_not_an_error(found: Any) -> None:
    assert found["a_message_that_was_deleted_before_is_not_an_error"] == [
        {},
        {},
        "ReceiptHandleIsInvalid",
        "ReceiptHandleIsInvalid",
    ]


def test_a_stack_does_not_replace_a_queue_that_exists(found: Any) -> None:
    assert found["a_stack_does_not_replace_a_queue_that_exists"] == [
        "Resource of type 'AWS::SQS::Queue' with identifier 'q' already exists.",
        1,
        True,
        1,
        0,
        True,
    ]


def test_a_dead_letter_queue_is_redriven_to_the_source(found: Any) -> None:
    assert found["a_dead_letter_queue_is_redriven_to_the_source"] == [
        "COMPLETED",
        250,
        0,
        250,
        "1",
        False,
        "ResourceNotFoundException",
    ]


def test_a_redrive_is_slowed_down_and_canceled(found: Any) -> None:
    status, cancelled, left, again = found["a_redrive_is_slowed_down_and_canceled"]
    assert (status, again) == ("CANCELLED", "UnsupportedOperation")
    assert 1 <= cancelled < 250
    assert left == 250 - cancelled


def test_a_redrive_that_is_not_possible_is_rejected(found: Any) -> None:
    assert found["a_redrive_that_is_not_possible_is_rejected"] == [
        ["InvalidParameterValue", "Source queue must be configured as a Dead Letter Queue."],
        [
            "ResourceNotFoundException",
            "The resource that you specified for the SourceArn parameter doesn't exist.",
        ],
    ]


def test_a_message_without_a_source_queue_needs_a_destination(found: Any) -> None:
    assert found["a_message_without_a_source_queue_needs_a_destination"] == [
        "FAILED",
        "CouldNotDetermineMessageSource",
        1,
    ]


def test_services_send_to_a_queue_only_if_its_policy_allows_the_source(found: Any) -> None:
    assert found["services_send_to_a_queue_only_if_its_policy_allows_the_source"] == [*[1, 0, 0, 0] * 3, 0]
