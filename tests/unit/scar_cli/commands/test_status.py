"""`scar status`: what it counts, and the reasons of failures."""

from __future__ import annotations

import json
import re
import time
from dataclasses import replace
from typing import Any

import pytest
from click.testing import CliRunner

from scar_cli.aws.deployed import DeployedFunction
from scar_cli.commands import status
from scar_cli.main import scar
from scar_cli.runs import reading

REPORT = (
    "REPORT RequestId: {}\tDuration: 9.5 ms\tBilled Duration: 10 ms\tMemory Size: 512 MB\t"
    "Max Memory Used: 99 MB"
)
ARN = "arn:aws:batch:us-east-1:1:job-definition"
LAMBDA = DeployedFunction("f", "stack", "us-east-1", "lambda", "/aws/lambda/f", "http://queue")
BATCH = replace(
    LAMBDA,
    name="b",
    mode="batch",
    job_queue="queue",
    job_definition=f"{ARN}/b:3",
    batch_log_group="/aws/batch/b",
)


STATES = ("SUBMITTED", "PENDING", "RUNNABLE", "STARTING", "RUNNING", "SUCCEEDED", "FAILED")


def own(request: str, message: str, **more: object) -> str:
    return json.dumps({"scar": 1, "level": "INFO", "message": message, "request_id": request, **more})


def done(request: str, **more: object) -> str:
    return own(request, "summary", status="done", total_ms=5, **more)


def failed(request: str, **more: object) -> list[str]:
    """The two lines of the runner."""
    return [own(request, "summary", status="failed", **more), own(request, "failed", **more)]


class Aws:
    """CloudWatch Logs, Batch and SQS, with lines of log groups and jobs by state."""

    def __init__(
        self, logs: dict[str, list[str]], jobs: dict[str, list[dict[str, Any]]] | None = None
    ) -> None:
        self.logs = logs
        self.jobs = jobs or {}

    def filter_log_events(self, **request: Any) -> dict[str, Any]:
        now = int(time.time() * 1000)
        found = [
            {"timestamp": now, "logStreamName": "s", "message": line}
            for line in self.logs.get(request["logGroupName"], [])
            if any(words in line for words in re.findall(r'\?"([^"]+)"', request["filterPattern"]))
        ]
        return {"events": found}

    def describe_log_streams(self, **_request: Any) -> dict[str, Any]:
        return {"logStreams": []}

    def get_queue_attributes(self, **_request: Any) -> dict[str, Any]:
        return {
            "Attributes": {
                "ApproximateNumberOfMessages": "1",
                "ApproximateNumberOfMessagesNotVisible": "0",
            }
        }

    def get_paginator(self, _operation: str) -> Aws:
        return self

    def paginate(self, **request: Any) -> list[dict[str, Any]]:
        """As AWS Batch: by queue without the jobs of arrays, with a filter in any state."""
        if "arrayJobId" in request:
            children = self.jobs.get(request["arrayJobId"], [])
            return [{"jobSummaryList": [one for one in children if one["status"] == request["jobStatus"]]}]
        assert request["jobQueue"] == "queue"
        assert request["filters"] == [{"name": "JOB_DEFINITION", "values": ["b"]}]
        return [
            {"jobSummaryList": [{**job, "status": state}]}
            for state in STATES
            for job in self.jobs.get(state, [])
        ]

    def describe_jobs(self, jobs: list[str]) -> dict[str, Any]:
        everything = [job for state in STATES for job in self.jobs.get(state, [])]
        return {"jobs": [job for job in everything if job["jobId"] in jobs]}


def shown(monkeypatch: pytest.MonkeyPatch, aws: Aws, function: DeployedFunction, *words: str) -> str:
    monkeypatch.setattr(status, "selected", lambda **_choice: [function])
    monkeypatch.setattr(reading, "client", lambda *_words, **_more: aws)
    monkeypatch.setattr(status, "kept_queues_of", lambda *_words, **_more: [])
    result = CliRunner().invoke(scar, ["status", *words], catch_exceptions=False, standalone_mode=False)
    assert result.return_value == 1, "the failure queue is not empty"
    return result.stdout


def counted(monkeypatch: pytest.MonkeyPatch, aws: Aws, function: DeployedFunction) -> dict[str, Any]:
    (found,) = json.loads(shown(monkeypatch, aws, function, "-j"))["functions"]
    return dict(found)


def test_runs_of_lambda_are_counted_with_the_reasons_of_failures(monkeypatch: pytest.MonkeyPatch) -> None:
    """By kind and first sentence, whatever object it was about; and those that Lambda has killed."""

    def missing(key: str) -> list[str]:
        error = f"The input s3://bucket/{key} does not exist. It was deleted"
        return failed("2", kind="InputMissing", error=error, subject=f"s3://bucket/{key}")

    lines = [
        done("1"),
        *missing("a"),
        *missing("b c"),
        own("4", "failed", kind="ScriptFailed", error="The container exited with code 7.\nOutput"),
        "2026-01-01T00:00:00Z 5 Task timed out after 3.00 seconds",
        "RequestId: 6 Error: Runtime exited with error: signal: killed\nRuntime.ExitError",
        "the script says: Runtime exited, and failed",
    ]
    found = counted(monkeypatch, Aws({LAMBDA.log_group: lines}), LAMBDA)
    assert (found["done"], found["failed"]) == (1, 5)
    assert found["reasons"] == {
        "InputMissing: The input … does not exist": 2,
        "ScriptFailed: The container exited with code 7": 1,
        "Task timed out after 3.00 seconds": 1,
        "Runtime exited with error: signal: killed": 1,
    }


@pytest.mark.parametrize(
    ("function", "queued", "waiting"),
    [
        (LAMBDA, None, None),
        (replace(LAMBDA, input_queue_url="http://input"), 1, 1),
        (replace(LAMBDA, given_queue_urls=("http://theirs", "http://others")), 2, 2),
        (replace(BATCH, input_queue_url="http://input"), 2, 1),
    ],
)
def test_files_that_wait_in_input_queues_are_queued(
    function: DeployedFunction, queued: int | None, waiting: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    aws = Aws({}, {"RUNNABLE": [{"jobId": "1", "createdAt": 1, "jobDefinition": f"{ARN}/b:3"}]})
    found = counted(monkeypatch, aws, function)
    assert (found["queued"], found["input_queue"]) == (queued, waiting)


def test_runs_of_lambda_that_have_not_ended_are_running(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the container writes. A stream has one run after another."""
    lines = [
        "START RequestId: 1-2 Version: $LATEST",
        REPORT.format("1-2"),
        "START RequestId: 1-2 Version: $LATEST",
        REPORT.format("1-2"),
        "START RequestId: 3 Version: $LATEST",
        "START RequestId: ",
        "x START RequestId: 4",
    ]
    assert counted(monkeypatch, Aws({LAMBDA.log_group: lines}), LAMBDA)["running"] == 1


def test_jobs_of_batch_are_counted_with_what_waits_longest(monkeypatch: pytest.MonkeyPatch) -> None:
    now = int(time.time() * 1000)

    def job(name: str, age_s: int = 0, **more: Any) -> dict[str, Any]:
        return {"jobId": name, "createdAt": now - age_s * 1000, **more}

    jobs = {
        "RUNNABLE": [job("1", 30), job("2", 3 * 3600 + 60)],
        "STARTING": [job("3")],
        "RUNNING": [job("4")],
        "FAILED": [
            job("7"),
            job("8", statusReason="Essential container in task exited", container={"reason": "OutOfMemory"}),
            job("9", statusReason="Host EC2 terminated"),
        ],
    }
    duplicate = own("10", "summary", status="duplicate")
    # Job 7 has failed in two attempts.
    error = {"kind": "ScriptFailed", "error": "The container exited with code 1. Look"}
    lines = [*failed("7", **error), *failed("7", **error), done("5"), done("6"), duplicate]
    aws = Aws({"/aws/batch/b": lines}, jobs)
    found = counted(monkeypatch, aws, BATCH)
    assert (found["queued"], found["running"], found["done"], found["failed"]) == (3, 1, 2, 4)
    assert found["oldest_queued_s"] == pytest.approx(3 * 3600 + 60, abs=5)
    assert found["reasons"] == {
        "ScriptFailed: The container exited with code 1": 2,
        "OutOfMemory": 1,
        "Host EC2 terminated": 1,
    }
    text = shown(monkeypatch, aws, BATCH)
    assert " 3h " in text.splitlines()[1]
    assert "b         2       ScriptFailed: The container exited with code 1" in text


def test_each_job_of_an_array_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    now = int(time.time() * 1000)

    def array(name: str, age_s: int, **states: int) -> dict[str, Any]:
        properties = {"size": sum(states.values()), "statusSummary": states}
        return {"jobId": name, "createdAt": now - age_s * 1000, "arrayProperties": properties}

    failed: dict[str, Any] = {
        "status": "FAILED",
        "statusReason": "Task failed to start",
        "createdAt": now,
    }
    jobs: dict[str, list[dict[str, Any]]] = {
        "PENDING": [array("a", 60, RUNNABLE=7, RUNNING=3, SUCCEEDED=20, FAILED=2)],
        "FAILED": [array("old", 3 * 86_400, SUCCEEDED=1000, FAILED=1)],
        "a": [{"jobId": "a:1", **failed}, {"jobId": "a:2", **failed}, {"jobId": "a:3", "status": "RUNNING"}],
        "old": [{"jobId": "old:1", **failed}],
    }
    lines = [own("a:1", "failed", kind="InputMissing", error="It is gone")]
    found = counted(monkeypatch, Aws({"/aws/batch/b": lines}, jobs), BATCH)
    assert (found["queued"], found["running"], found["failed"]) == (7, 3, 2)
    assert found["oldest_queued_s"] == pytest.approx(60, abs=5)
    assert found["reasons"] == {"InputMissing: It is gone": 1, "Task failed to start": 1}


def test_jobs_of_a_larger_size_are_counted_once_for_all_attempts(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [own(job, "next size", size="1", kind="OutOfMemory") for job in ("1", "1", "2")]
    aws = Aws({"/aws/batch/b": lines})
    assert counted(monkeypatch, aws, BATCH)["larger"] == 2
    assert "b: 2 jobs continued with the next size of `batch.retry`" in shown(monkeypatch, aws, BATCH)


def test_the_most_frequent_reasons_are_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [
        own(f"{n}-{i}", "failed", kind=f"Kind{n}", error="x\x1b") for n in range(8) for i in range(n + 1)
    ]
    rows = shown(monkeypatch, Aws({LAMBDA.log_group: lines}), LAMBDA).splitlines()[4:]
    assert rows[0] == "f         8       Kind7: x\\x1b"
    assert rows[-1] == "f         6       (3 other reasons)"
    assert len(rows) == 6
