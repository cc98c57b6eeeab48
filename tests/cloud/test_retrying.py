"""`scar retry`: what it sends, what it leaves, and what others see of the queues meanwhile."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.cloud.embedded import CloudUnderTest, make_function, until
from tests.cloud.scar_command import Scar

pytestmark = pytest.mark.cloud

FUNCTIONS = ("retry-one", "retry-two", "retry-gone")
"""The last one is not there: Lambda takes no event for it."""


@pytest.fixture(scope="module")
def input_url(cloud: CloudUnderTest) -> str:
    """The input queue of `retry-two`."""
    tags = {"scar:failures-of": "retry-two"}
    url: str = cloud.client("sqs").create_queue(QueueName="retry-input", tags=tags)["QueueUrl"]
    return url


@pytest.fixture(scope="module")
def urls(cloud: CloudUnderTest, input_url: str) -> dict[str, str]:
    """The failure queues of the functions of the stack `retrying`."""
    urls = {name: cloud.client("sqs").create_queue(QueueName=name)["QueueUrl"] for name in FUNCTIONS}
    more = {"retry-two": {"input_queue_url": input_url}}
    for name in FUNCTIONS[:2]:
        make_function(cloud, name, "def handle(event, context):\n    print(event)\n")
    told = {
        "functions": [
            {"name": name, "mode": "lambda", "log_group": f"/aws/lambda/{name}", "failure_queue_url": url}
            | more.get(name, {})
            for name, url in urls.items()
        ],
        "buckets": [],
    }
    template = {
        "Resources": {"Unused": {"Type": "AWS::SQS::Queue"}},
        "Outputs": {"ScarWorkflow": {"Value": json.dumps(told)}},
    }
    cloudformation = cloud.client("cloudformation")
    cloudformation.create_stack(StackName="retrying", TemplateBody=json.dumps(template))
    cloudformation.get_waiter("stack_create_complete").wait(StackName="retrying")
    return urls


@pytest.fixture
def scar(cloud: CloudUnderTest, urls: dict[str, str]) -> Scar:
    """The command; the queues are empty."""
    for url in urls.values():
        cloud.client("sqs").purge_queue(QueueUrl=url)
    return Scar(cloud)


def fail(cloud: CloudUnderTest, url: str, *words: str) -> None:
    for word in words:
        body = json.dumps({"requestPayload": {"word": word}})
        cloud.client("sqs").send_message(QueueUrl=url, MessageBody=body)


def seen(cloud: CloudUnderTest, urls: dict[str, str]) -> list[int]:
    """How many messages of each queue others see now."""

    def count(url: str) -> int:
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        told = cloud.client("sqs").get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"]
        assert told[names[1]] == "0", "messages are held"
        return int(told[names[0]])

    return [count(urls[name]) for name in FUNCTIONS]


def log(cloud: CloudUnderTest, name: str) -> str:
    logs = cloud.client("logs")
    groups = logs.describe_log_groups(logGroupNamePrefix=f"/aws/lambda/{name}")["logGroups"]
    events: list[Any] = (
        logs.filter_log_events(logGroupName=groups[0]["logGroupName"])["events"] if groups else []
    )
    return "".join(event["message"] for event in events)


def sent(answer: Any) -> dict[str, int]:
    return {one["function"]: len(one["events"]) for one in answer["functions"]}


def test_a_limit_counts_for_all_functions_together(
    cloud: CloudUnderTest, scar: Scar, urls: dict[str, str]
) -> None:
    fail(cloud, urls["retry-one"], "a", "b", "c")
    fail(cloud, urls["retry-two"], "d", "e")
    assert sent(scar.json("retry", "--stack", "retrying", "--limit", "2")) == {"retry-one": 2}
    assert seen(cloud, urls) == [1, 2, 0]
    assert sent(scar.json("retry", "--stack", "retrying", "--limit", "2")) == {"retry-one": 1, "retry-two": 1}
    assert seen(cloud, urls) == [0, 1, 0]


@pytest.fixture
def kept(cloud: CloudUnderTest) -> Iterator[dict[str, str]]:
    """Failure queues with an event each that no stack contains any longer: of a function that is deployed
    again, of one that has another name now, and an empty one."""
    sqs = cloud.client("sqs")
    urls = {}
    for function in ("retry-two", "renamed", "idle"):
        name = f"failed-{function}-0a1b2c3d"
        tags = {"scar:failures-of": function, "createdby": "scar"}
        urls[function] = sqs.create_queue(QueueName=name, tags=tags)["QueueUrl"]
    fail(cloud, urls["retry-two"], "early")
    fail(cloud, urls["renamed"], "former")
    yield urls
    for url in urls.values():
        sqs.delete_queue(QueueUrl=url)


def test_events_of_earlier_deployments_are_shown_and_sent_too(
    cloud: CloudUnderTest, scar: Scar, urls: dict[str, str], kept: dict[str, str]
) -> None:
    fail(cloud, urls["retry-two"], "late")
    status = scar("status", code=1).stdout
    assert "retry-two: 1 event of an earlier deployment. To send again: scar retry" in status
    assert f"renamed, which is not deployed any longer: 1 event in {kept['renamed']}." in status
    assert "idle" not in status
    answer = sent(scar.json("retry"))  # of all stacks: other tests may have some, too
    assert {name: answer[name] for name in FUNCTIONS} == {"retry-one": 0, "retry-two": 2, "retry-gone": 0}
    assert "retry-two" not in [one["function"] for one in scar.json("status", code=1)["kept_queues"]]


def test_events_of_files_are_sent_to_the_input_queue(
    cloud: CloudUnderTest, scar: Scar, urls: dict[str, str], input_url: str
) -> None:
    sqs = cloud.client("sqs")
    event = json.dumps({"Records": [{"s3": {"bucket": {"name": "b"}, "object": {"key": "in/a"}}}]})
    sqs.send_message(QueueUrl=urls["retry-two"], MessageBody=event)
    (answer,) = scar.json("retry", "-n", "retry-two")["functions"]
    assert answer["events"] == ["b/in/a"]
    status = scar.json("status", "--stack", "retrying")
    assert [one["queued"] for one in status["functions"]] == [None, 1, None]
    (message,) = sqs.receive_message(QueueUrl=input_url, WaitTimeSeconds=5)["Messages"]
    assert message["Body"] == event


def test_events_of_a_former_function_are_sent_to_the_selected_one(scar: Scar, kept: dict[str, str]) -> None:
    assert sent(scar.json("retry", "-n", "retry-one", "--from", "renamed")) == {"retry-one": 1}
    again = scar("retry", "-n", "retry-one", "--from", "renamed", code=2).stderr
    assert "No events of a former function renamed were found" in again
    deployed = scar("retry", "-n", "retry-one", "--from", "retry-gone", code=2).stderr
    assert "No events of a former function retry-gone were found" in deployed


def test_what_is_not_accepted_stays_and_others_see_it_at_once(
    cloud: CloudUnderTest, scar: Scar, urls: dict[str, str]
) -> None:
    fail(cloud, urls["retry-gone"], "x", "y")
    cloud.client("sqs").send_message(QueueUrl=urls["retry-one"], MessageBody="no event")
    fail(cloud, urls["retry-one"], "z")
    answer = scar.json("retry", "--stack", "retrying", code=1)
    assert sent(answer) == {"retry-one": 1, "retry-two": 0, "retry-gone": 0}
    assert [len(one["kept"]) for one in answer["functions"]] == [1, 0, 2]
    assert seen(cloud, urls) == [1, 0, 2]


def test_a_dry_run_sends_nothing_and_holds_nothing(
    cloud: CloudUnderTest, scar: Scar, urls: dict[str, str]
) -> None:
    fail(cloud, urls["retry-two"], "of a dry run")
    assert sent(scar.json("retry", "--stack", "retrying", "--dry-run"))["retry-two"] == 1
    assert seen(cloud, urls) == [0, 1, 0]
    # What comes later has arrived: so would have what came before.
    fail(cloud, urls["retry-one"], "marker")
    scar("retry", "-n", "retry-one")
    until(lambda: "marker" in log(cloud, "retry-one"))
    assert "of a dry run" not in log(cloud, "retry-two")
