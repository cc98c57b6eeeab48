"""Stacks that fail half-way, by CloudFormation itself: what stays, what goes, and that the next try works."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from tests.cloud.embedded import CloudUnderTest, Shell, make_function, until

pytestmark = pytest.mark.cloud

ANSWERS = """
import json, urllib.request
def handle(event, context):
    failing = event["RequestType"] != "Delete" and event["ResourceProperties"]["Fails"] == "yes"
    answer = {key: event[key] for key in ("StackId", "RequestId", "LogicalResourceId")}
    answer.update(Status="FAILED" if failing else "SUCCESS", Reason="as it was told", PhysicalResourceId="it")
    request = urllib.request.Request(event["ResponseURL"], json.dumps(answer).encode(), method="PUT")
    urllib.request.urlopen(request).close()
"""
KEPT = {"DeletionPolicy": "RetainExceptOnCreate", "UpdateReplacePolicy": "RetainExceptOnCreate"}


class Stack:
    """A stack of buckets, and at its end a resource that fails if it is told to."""

    def __init__(self, cloud: CloudUnderTest, name: str, code: str = ANSWERS) -> None:
        self.name = name
        self.cloudformation = cloud.client("cloudformation")
        self.s3 = cloud.client("s3")
        self.answers = make_function(cloud, f"answers-{name}", code, Timeout=30)

    def template(self, *buckets: str, fails: bool, policy: dict[str, str] = KEPT) -> str:
        resources: dict[str, Any] = {
            f"Bucket{number}": {
                "Type": "AWS::S3::Bucket",
                **policy,
                "Properties": {"BucketName": f"{self.name}-{name}"},
            }
            for number, name in enumerate(buckets)
        }
        resources["Last"] = {
            "Type": "Custom::Last",
            "DependsOn": list(resources),
            "Properties": {"ServiceToken": self.answers, "Fails": "yes" if fails else "no"},
        }
        return json.dumps({"Resources": resources})

    def create(self, *buckets: str, fails: bool = False, **more: Any) -> str:
        self.cloudformation.create_stack(
            StackName=self.name, TemplateBody=self.template(*buckets, fails=fails, **more)
        )
        return self.status()

    def update(self, *buckets: str, fails: bool = False) -> str:
        self.cloudformation.update_stack(
            StackName=self.name, TemplateBody=self.template(*buckets, fails=fails)
        )
        return self.status()

    def delete(self) -> None:
        self.cloudformation.delete_stack(StackName=self.name)
        until(lambda: self.name not in self.living())

    def status(self) -> str:
        def ask() -> str:
            return str(self.cloudformation.describe_stacks(StackName=self.name)["Stacks"][0]["StackStatus"])

        return str(until(ask, lambda status: not status.endswith("IN_PROGRESS")))

    def living(self) -> list[str]:
        return [
            entry["StackName"]
            for entry in self.cloudformation.list_stacks()["StackSummaries"]
            if entry["StackStatus"] != "DELETE_COMPLETE"
        ]

    def buckets(self) -> list[str]:
        names = [entry["Name"] for entry in self.s3.list_buckets()["Buckets"]]
        prefix = f"{self.name}-"
        return sorted(name.removeprefix(prefix) for name in names if name.startswith(prefix))


def test_a_create_that_fails_takes_back_what_is_kept_otherwise_and_the_next_try_works(
    cloud: CloudUnderTest,
) -> None:
    stack = Stack(cloud, "next-try")
    assert stack.create("data", fails=True) == "ROLLBACK_COMPLETE"
    assert stack.buckets() == []
    stack.delete()
    assert stack.create("data") == "CREATE_COMPLETE"
    assert stack.buckets() == ["data"]


def test_deleting_a_stack_keeps_it(cloud: CloudUnderTest) -> None:
    stack = Stack(cloud, "deleted")
    stack.create("data")
    stack.s3.put_object(Bucket="deleted-data", Key="precious", Body=b"precious")
    stack.delete()
    assert stack.s3.get_object(Bucket="deleted-data", Key="precious")["Body"].read() == b"precious"


def test_a_bucket_that_was_there_before_fails_the_stack_and_keeps_its_files(cloud: CloudUnderTest) -> None:
    """By a change set, as the cdk does it: CloudFormation finds it before it makes anything."""
    stack = Stack(cloud, "taken")
    stack.s3.create_bucket(Bucket="taken-data")
    stack.s3.put_object(Bucket="taken-data", Key="precious", Body=b"precious")
    cloudformation = stack.cloudformation
    change_set = {"StackName": "taken", "ChangeSetName": "first"}
    cloudformation.create_change_set(
        **change_set, ChangeSetType="CREATE", TemplateBody=stack.template("new", "data", fails=False)
    )
    cloudformation.get_waiter("change_set_create_complete").wait(**change_set, WaiterConfig={"Delay": 1})
    cloudformation.execute_change_set(**change_set)
    assert stack.status() == "ROLLBACK_COMPLETE"
    assert stack.buckets() == ["data"]
    assert stack.s3.get_object(Bucket="taken-data", Key="precious")["Body"].read() == b"precious"
    stack.delete()
    assert stack.create("data") == "ROLLBACK_COMPLETE"
    assert stack.s3.get_object(Bucket="taken-data", Key="precious")["Body"].read() == b"precious"


def test_taking_it_out_of_the_template_keeps_it(cloud: CloudUnderTest) -> None:
    stack = Stack(cloud, "taken-out")
    stack.create("data", "more")
    assert stack.update("data") == "UPDATE_COMPLETE"
    assert stack.buckets() == ["data", "more"]


def test_an_update_that_fails_takes_back_what_it_made_and_keeps_what_was_there(cloud: CloudUnderTest) -> None:
    stack = Stack(cloud, "failed-update")
    stack.create("data")
    stack.s3.put_object(Bucket="failed-update-data", Key="precious", Body=b"precious")
    assert stack.update("data", "more", fails=True) == "UPDATE_ROLLBACK_COMPLETE"
    assert stack.buckets() == ["data"]
    assert stack.update("data", "more") == "UPDATE_COMPLETE"
    assert stack.buckets() == ["data", "more"]


def test_plain_retain_is_kept_even_by_a_create_that_fails(cloud: CloudUnderTest) -> None:
    stack = Stack(cloud, "plain-retain")
    retain = {"DeletionPolicy": "Retain", "UpdateReplacePolicy": "Retain"}
    assert stack.create("data", fails=True, policy=retain) == "ROLLBACK_COMPLETE"
    assert stack.buckets() == ["data"]


def test_a_bucket_that_holds_something_fails_the_rollback_and_is_named(cloud: CloudUnderTest) -> None:
    """As on AWS, CloudFormation deletes no object: a bucket has to be empty."""
    stack = Stack(cloud, "full")
    template = json.loads(stack.template("data", fails=True))
    source = ANSWERS.replace(
        "    answer.update(",
        "    import boto3; boto3.client('s3').put_object(Bucket='full-data', Key='x', Body=b'')\n"
        "    answer.update(",
    )
    template["Resources"]["Last"]["Properties"]["ServiceToken"] = make_function(cloud, "fills-full", source)
    stack.cloudformation.create_stack(StackName="full", TemplateBody=json.dumps(template))
    assert stack.status() == "ROLLBACK_FAILED"
    assert stack.buckets() == ["data"]
    events = stack.cloudformation.describe_stack_events(StackName="full")["StackEvents"]
    reasons = [entry.get("ResourceStatusReason", "") for entry in events]
    assert any("not empty" in reason for reason in reasons)


def test_a_bucket_of_a_deleted_stack_is_gone_after_a_restart_too(shell: Shell) -> None:
    shell.json("local", "start")
    cloudformation = shell.client("cloudformation")
    bucket = {"Type": "AWS::S3::Bucket", "Properties": {"BucketName": "short-lived"}}
    cloudformation.create_stack(StackName="short", TemplateBody=json.dumps({"Resources": {"Bucket": bucket}}))
    until(lambda: "short-lived" in names(shell))
    cloudformation.delete_stack(StackName="short")
    until(lambda: "short-lived" not in names(shell))
    shell.scar("local", "stop")
    shell.json("local", "start")
    assert "short-lived" not in names(shell)


def test_a_short_change_has_ended_when_it_is_answered_and_a_long_one_goes_on(cloud: CloudUnderTest) -> None:
    """Clients that wait ask immediately, and then only every 5 s (the CDK CLI) or 30 s (boto3)."""
    source = ANSWERS.replace("    request = ", "    import time; time.sleep(6)\n    request = ")
    long = Stack(cloud, "long", source)
    template = {"Resources": {"Queue": {"Type": "AWS::SQS::Queue"}}}
    asked = time.monotonic()
    long.cloudformation.create_stack(StackName="short-change", TemplateBody=json.dumps(template))
    assert time.monotonic() - asked < 4
    (short,) = long.cloudformation.describe_stacks(StackName="short-change")["Stacks"]
    assert short["StackStatus"] == "CREATE_COMPLETE"
    long.cloudformation.delete_stack(StackName="short-change")
    assert "short-change" not in long.living()
    long.cloudformation.create_stack(StackName="long", TemplateBody=long.template(fails=False))
    (started,) = long.cloudformation.describe_stacks(StackName="long")["Stacks"]
    assert started["StackStatus"] == "CREATE_IN_PROGRESS"
    assert long.status() == "CREATE_COMPLETE"


def names(shell: Shell) -> list[str]:
    return [entry["Name"] for entry in shell.client("s3").list_buckets()["Buckets"]]


def dying(witness: Path, times: int) -> str:
    """The function, killed the first times."""
    return f"""
import os, pathlib
{ANSWERS.replace("def handle", "def answer")}
def handle(event, context):
    witness = pathlib.Path({str(witness)!r})
    with witness.open("a") as file:
        file.write(event["RequestType"] + " ")
    if event["RequestType"] == "Create" and len(witness.read_text().split()) <= {times}:
        os.kill(os.getpid(), 9)
    answer(event, context)
"""


def test_a_custom_resource_whose_function_is_killed_is_invoked_again(
    cloud: CloudUnderTest, tmp_path: Path
) -> None:
    stack = Stack(cloud, "killed-twice", dying(tmp_path / "witness", 2))
    assert stack.create() == "CREATE_COMPLETE"
    assert (tmp_path / "witness").read_text().split() == ["Create"] * 3


def test_a_custom_resource_whose_function_is_always_killed_fails_with_the_reason(
    cloud: CloudUnderTest, tmp_path: Path
) -> None:
    stack = Stack(cloud, "always-killed", dying(tmp_path / "witness", 9))
    assert stack.create() == "ROLLBACK_COMPLETE"
    events = stack.cloudformation.describe_stack_events(StackName=stack.name)["StackEvents"]
    (reason,) = [
        event["ResourceStatusReason"] for event in events if event["ResourceStatus"] == "CREATE_FAILED"
    ]
    assert reason.startswith("The function answers-always-killed failed 3 times without an answer: ")
    stack.delete()
