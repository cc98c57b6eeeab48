"""What a policy's patterns match, and on which resources a request needs a right."""

from __future__ import annotations

import json

import pytest

from local_cloud.iam.policies import batch_resources, moved_queues, object_arn, wildcard
from local_cloud.messages.move_tasks import MoveTask

QUEUE = "arn:aws:batch:us-east-1:000000000000:job-queue/q"
DEFINITION = "arn:aws:batch:us-east-1:000000000000:job-definition/d:3"


@pytest.mark.parametrize(
    ("pattern", "text", "matches"),
    [
        ("a/*", "a/b", True),
        ("a/*", "a/b\nc", True),
        ("a/*", "b/a/c", False),
        ("a/b", "a/b", True),
        ("a/b", "a/bc", False),
        ("a/b", "a/b\n", False),
        ("a/?", "a/b", True),
        ("a/?", "a/", False),
        ("a.[b]", "a.[b]", True),
        ("a.[b]", "axb", False),
    ],
)
def test_stars_and_question_marks_of_a_policy(pattern: str, text: str, matches: bool) -> None:
    assert (wildcard(pattern, False).match(text) is not None) == matches


def test_case_counts_where_a_policy_says_so() -> None:
    assert wildcard("s3:Get*", True).match("S3:getobject")
    assert not wildcard("s3:Get*", False).match("s3:getobject")


@pytest.mark.parametrize(
    ("path", "arn"),
    [
        ("/b/input/", "arn:aws:s3:::b/input/"),
        ("/b/a//b", "arn:aws:s3:::b/a//b"),
        ("/b/k", "arn:aws:s3:::b/k"),
        ("/b/", None),
        ("/b", None),
        ("/b//", None),
    ],
)
def test_an_objects_arn_has_its_key_as_it_is(path: str, arn: str | None) -> None:
    assert object_arn(path) == arn


def needed(call: str, **request: object) -> list[str]:
    return batch_resources(f"/v1/{call}", json.dumps(request).encode(), "us-east-1", "000000000000")


def test_submitting_a_job_needs_a_right_on_its_queue_and_on_its_definition() -> None:
    assert needed("submitjob", jobQueue=QUEUE, jobDefinition=DEFINITION) == [QUEUE, DEFINITION]
    assert needed("submitjob", jobQueue="q", jobDefinition="d:3") == [QUEUE, DEFINITION]


def test_ending_a_job_needs_a_right_on_it_and_looking_at_jobs_on_nothing() -> None:
    arn = "arn:aws:batch:us-east-1:000000000000:job/1234"
    assert needed("terminatejob", jobId="1234") == needed("canceljob", jobId="1234") == [arn]
    assert needed("describejobs", jobs=["1234"]) == []
    assert batch_resources("/v1/submitjob", b"no JSON", "us-east-1", "000000000000") == []


def test_moving_messages_needs_rights_on_both_queues() -> None:
    source, target = "arn:aws:sqs:us-east-1:000000000000:dead", "arn:aws:sqs:us-east-1:000000000000:q"

    def moved(call: str, **request: object) -> list[tuple[str, str]]:
        return moved_queues(f"sqs:{call}", json.dumps(request).encode())

    reading = [(source, f"sqs:{name}") for name in ("ReceiveMessage", "DeleteMessage", "GetQueueAttributes")]
    start = moved("StartMessageMoveTask", SourceArn=source, DestinationArn=target)
    assert start == [(source, "sqs:StartMessageMoveTask"), *reading, (target, "sqs:SendMessage")]
    assert moved("ListMessageMoveTasks", SourceArn=source) == [(source, "sqs:ListMessageMoveTasks")]
    handle = MoveTask(source, None, None, 0).handle
    assert moved("CancelMessageMoveTask", TaskHandle=handle)[0] == (source, "sqs:CancelMessageMoveTask")
    assert moved("CancelMessageMoveTask", TaskHandle="?")[0] == ("*", "sqs:CancelMessageMoveTask")
    assert moved("SendMessage", QueueUrl="q") == []
