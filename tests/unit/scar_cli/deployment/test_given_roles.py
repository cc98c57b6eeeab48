"""Roles that an FDL file names: the policy that they need, and what is missing."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import ClientError

from scar_cli.deployment import given_roles
from scar_cli.deployment.cdk import SynthesizedStack
from scar_cli.errors import UserError

ROLE = "arn:aws:iam::123456789012:role/team/theirs"
OBJECTS = {"Fn::Join": ["", ["arn:", {"Ref": "AWS::Partition"}, ":s3:::pictures/in/*"]]}
STORED = {"Fn::Join": ["", [{"Fn::GetAtt": ["Events", "Arn"]}, "/*"]]}
NEEDED = {
    "Version": "2012-10-17",
    "Statement": [
        {"Effect": "Allow", "Action": "sqs:SendMessage", "Resource": {"Fn::GetAtt": ["Queue", "Arn"]}},
        {"Effect": "Allow", "Action": ["s3:GetObject", "s3:GetObjectVersion"], "Resource": OBJECTS},
        {"Effect": "Allow", "Action": "s3:PutObject", "Resource": STORED},
        {
            "Effect": "Allow",
            "Action": "batch:SubmitJob",
            "Resource": [{"Fn::GetAtt": ["JobQueue", "JobQueueArn"]}, {"Ref": "Job"}],
        },
        {"Effect": "Deny", "Action": "ec2:DescribeSubnets", "Resource": "*"},
    ],
}
TEMPLATE = {
    "Resources": {
        "Function": {
            "Type": "AWS::Lambda::Function",
            "Properties": {"FunctionName": "f", "Role": ROLE},
            "Metadata": {"scar:permissions": NEEDED},
        },
        "Queue": {
            "Type": "AWS::SQS::Queue",
            "Properties": {},
        },
        "Events": {"Type": "AWS::S3::Bucket", "Properties": {}},
        "JobQueue": {"Type": "AWS::Batch::JobQueue", "Properties": {}},
        "Job": {"Type": "AWS::Batch::JobDefinition", "Properties": {}},
    }
}
MADE = [SynthesizedStack("workflow", "eu-west-1", (), TEMPLATE)]
REGION = "eu-west-1:123456789012"


class Aws:
    """CloudFormation and IAM, with a role that allows some actions."""

    class meta:  # noqa: N801 (as boto3 calls it)
        region_name = "eu-west-1"

    def __init__(self, *allowed: str, queue: str | None = None, refusal: str | None = None) -> None:
        self.allowed = allowed
        self.queue = queue
        self.refusal = refusal
        self.asked: list[tuple[str, str]] = []

    def get_paginator(self, operation: str) -> Aws:
        assert operation == "list_stack_resources"
        return self

    def paginate(self, **_request: Any) -> list[dict[str, Any]]:
        if self.queue is None:
            raise ClientError({"Error": {"Code": "ValidationError"}}, "ListStackResources")
        queue = {"LogicalResourceId": "Queue", "PhysicalResourceId": f"https://sqs/123456789012/{self.queue}"}
        return [{"StackResourceSummaries": [queue]}]

    def get_role(self, **_request: Any) -> dict[str, Any]:
        if self.refusal is not None:
            raise ClientError({"Error": {"Code": self.refusal, "Message": "no"}}, "GetRole")
        return {}

    def simulate_principal_policy(self, **request: Any) -> dict[str, Any]:
        assert request["PolicySourceArn"] == ROLE
        (resource,) = request["ResourceArns"]
        self.asked += [(action, resource) for action in request["ActionNames"]]
        return {
            "EvaluationResults": [
                {
                    "EvalActionName": action,
                    "EvalDecision": "allowed" if action in self.allowed else "implicitDeny",
                    "MissingContextValues": ["aws:SourceVpc"] if action == "s3:GetObjectVersion" else [],
                }
                for action in request["ActionNames"]
            ]
        }


def check(monkeypatch: pytest.MonkeyPatch, aws: Aws) -> None:
    monkeypatch.setattr(given_roles, "client", lambda *_words, **_more: aws)
    given_roles.check_given_roles(MADE)


def test_only_resources_with_known_names_are_simulated(monkeypatch: pytest.MonkeyPatch) -> None:
    aws = Aws("sqs:SendMessage", "s3:GetObject")
    check(monkeypatch, aws)
    assert aws.asked == [
        ("sqs:SendMessage", f"arn:aws:sqs:{REGION}:workflow-Queue-0"),
        ("s3:GetObject", "arn:aws:s3:::pictures/in/*"),
        ("s3:GetObjectVersion", "arn:aws:s3:::pictures/in/*"),
    ]


def test_the_queue_of_a_deployed_stack_has_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    aws = Aws("sqs:SendMessage", "s3:GetObject", queue="workflow-Queue-51AF3DC0")
    check(monkeypatch, aws)
    assert aws.asked[0] == ("sqs:SendMessage", f"arn:aws:sqs:{REGION}:workflow-Queue-51AF3DC0")


def test_a_missing_permission_is_reported_with_the_whole_policy(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(UserError) as caught:
        check(monkeypatch, Aws("s3:GetObject"))
    assert caught.value.cause == (
        f"The role {ROLE} lacks permissions that the function f needs: "
        f"sqs:SendMessage on arn:aws:sqs:{REGION}:workflow-Queue-0"
    )
    assert f'"Resource": "arn:aws:sqs:{REGION}:workflow*"' in capsys.readouterr().err


def test_the_policy_has_a_star_for_each_generated_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(given_roles, "client", lambda *_words, **_more: Aws())
    (given,) = given_roles.given_roles(MADE[0])
    assert (given.function, given.role) == ("f", ROLE)
    assert [statement["Resource"] for statement in given.policy["Statement"]] == [
        f"arn:aws:sqs:{REGION}:workflow*",
        "arn:aws:s3:::pictures/in/*",
        "arn:aws:s3:::workflow*/*",
        [f"arn:aws:batch:{REGION}:job-queue/*", f"arn:aws:batch:{REGION}:job-definition/*"],
        "*",
    ]


@pytest.mark.parametrize("refusal", ["AccessDenied", "NoSuchEntity"])
def test_what_cannot_be_checked_is_said(
    refusal: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    check(monkeypatch, Aws(refusal=refusal))
    said = capsys.readouterr().err
    assert said.startswith(f"scar: The permissions of {ROLE} were not checked: ")
    assert "To see the policy that it needs: scar diff --json" in said


def test_a_stack_without_given_roles_asks_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(given_roles, "client", None)
    given_roles.check_given_roles([SynthesizedStack("workflow", None, ())])
