"""Queues that an FDL file names: what is checked before a deployment."""

from __future__ import annotations

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError

from scar_cli.deployment import given_queues
from scar_cli.deployment.cdk import SynthesizedStack
from scar_cli.errors import UserError

ARN = "arn:aws:sqs:eu-west-1:123456789012:theirs"
TEMPLATE = {
    "Resources": {
        "Function": {
            "Type": "AWS::Lambda::Function",
            "Properties": {"FunctionName": "f", "Timeout": 60},
        },
        "Theirs": {
            "Type": "AWS::Lambda::EventSourceMapping",
            "Properties": {"FunctionName": {"Ref": "Function"}, "EventSourceArn": ARN},
        },
        "Ours": {
            "Type": "AWS::Lambda::EventSourceMapping",
            "Properties": {
                "FunctionName": {"Ref": "Function"},
                "EventSourceArn": {"Fn::GetAtt": ["Queue", "Arn"]},
            },
        },
    }
}


class Sqs:
    """SQS with one queue, or an error."""

    def __init__(self, visible_again_s: int = 360, tries: int | None = 5, error: str | None = None) -> None:
        self.error = error
        self.attributes = {"VisibilityTimeout": str(visible_again_s)}
        if tries is not None:
            self.attributes["RedrivePolicy"] = json.dumps({"maxReceiveCount": tries})

    def get_queue_url(self, **request: Any) -> dict[str, Any]:
        assert request == {"QueueName": "theirs", "QueueOwnerAWSAccountId": "123456789012"}
        if self.error is not None:
            raise ClientError({"Error": {"Code": self.error, "Message": "no"}}, "GetQueueUrl")
        return {"QueueUrl": "http://theirs"}

    def get_queue_attributes(self, **_request: Any) -> dict[str, Any]:
        return {"Attributes": self.attributes}


def check(monkeypatch: pytest.MonkeyPatch, sqs: Sqs) -> None:
    monkeypatch.setattr(given_queues, "client", lambda *_words, **_more: sqs)
    given_queues.check_given_queues([SynthesizedStack("workflow", "eu-west-1", (), TEMPLATE)])


@pytest.mark.parametrize(
    ("sqs", "note"),
    [
        (Sqs(), ""),
        (Sqs(visible_again_s=60), ""),
        (Sqs(tries=None), "has no redrive policy: an event of f that cannot be processed is tried until"),
        (Sqs(tries=1), "moves an event away after 1 attempts"),
        (Sqs(error="AccessDenied"), f"The queue {ARN} was not checked"),
    ],
)
def test_a_queue_that_may_lose_events_or_cannot_be_checked_is_mentioned(
    sqs: Sqs, note: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    check(monkeypatch, sqs)
    errors = capsys.readouterr().err
    assert note in errors
    assert bool(errors) is bool(note)


@pytest.mark.parametrize(
    ("sqs", "message"),
    [
        (Sqs(visible_again_s=30), r"theirs \(30 s\) is less than the timeout of the function f \(60 s\)"),
        (Sqs(error="QueueDoesNotExist"), "theirs does not exist"),
    ],
)
def test_a_queue_that_lambda_would_reject_stops_the_deployment(
    sqs: Sqs, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UserError, match=message):
        check(monkeypatch, sqs)
