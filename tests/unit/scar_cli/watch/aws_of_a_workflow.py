"""CloudWatch Logs, SQS and AWS Batch with the logs, queues and jobs of a workflow."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from botocore.exceptions import ClientError

from local_cloud.logs.patterns import matcher

GROUP = "/aws/lambda/detect"


def refusal(code: str, status: int = 400) -> ClientError:
    response: Any = {"Error": {"Code": code, "Message": ""}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(response, "FilterLogEvents")


@dataclass
class Clock:
    """Passes when someone sleeps, and a little with each call."""

    seconds: float = 1000.0

    def __call__(self) -> float:
        return self.seconds

    def sleep(self, seconds: float) -> None:
        self.seconds += seconds


@dataclass
class Aws:
    """CloudWatch Logs, SQS and Batch, with their calls."""

    clock: Clock = field(default_factory=Clock)
    lines: dict[str, list[tuple[int, str, str]]] = field(default_factory=dict)
    """By group: time, stream and text."""
    depths: dict[str, int] = field(default_factory=dict)
    """Messages by the URL of their queue."""
    jobs: list[dict[str, Any]] = field(default_factory=list)
    page: int = 10_000
    refusals: list[Exception] = field(default_factory=list)
    calls: list[tuple[str, float, Any]] = field(default_factory=list)

    def write(self, at_ms: int, *texts: str, group: str = GROUP, stream: str = "s") -> None:
        self.lines.setdefault(group, []).extend((at_ms, stream, text) for text in texts)

    def invocation(self, request: str, at_ms: int, group: str = GROUP, stream: str = "s") -> None:
        self.write(at_ms - 50, f"START RequestId: {request} Version: 1", group=group, stream=stream)
        self.write(at_ms, summary(request), report(request), group=group, stream=stream)

    def get(self, service: str, region: str) -> Aws:
        assert region == "us-east-1"
        return self

    def filter_log_events(self, **request: Any) -> dict[str, Any]:
        self.calls.append(("logs", self.clock(), request))
        if self.refusals:
            raise self.refusals.pop(0)
        matches = matcher(request["filterPattern"])
        lines = [
            one
            for one in sorted(self.lines.get(request["logGroupName"], []), key=lambda line: line[0])
            if one[0] >= request["startTime"] and matches(one[2])
        ]
        first = int(request.get("nextToken", 0))
        events = [
            {"timestamp": at, "logStreamName": stream, "message": text}
            for at, stream, text in lines[first : first + self.page]
        ]
        more = {"nextToken": str(first + self.page)} if first + self.page < len(lines) else {}
        return {"events": events, **more}

    def get_queue_attributes(self, **request: Any) -> dict[str, Any]:
        url = request["QueueUrl"]
        self.calls.append(("sqs", self.clock(), url))
        depth = {"ApproximateNumberOfMessages": str(self.depths.get(url, 0))}
        return {"Attributes": dict.fromkeys(request["AttributeNames"], "0") | depth}

    def get_paginator(self, operation: str) -> Any:
        assert operation == "list_jobs"
        return self

    def paginate(self, **request: Any) -> Pages:
        self.calls.append(("jobs", self.clock(), request["jobStatus"]))
        assert request["jobQueue"] == "jobs"
        found = [job for job in self.jobs if job["status"] == request["jobStatus"]]
        return Pages(found, request["PaginationConfig"]["MaxItems"])

    def describe_jobs(self, jobs: list[str]) -> dict[str, Any]:
        return {"jobs": [job for job in self.jobs if job["jobId"] in jobs]}

    def started(self) -> list[int]:
        return [int(request["startTime"]) for service, _at, request in self.calls if service == "logs"]


class Pages:
    def __init__(self, jobs: list[dict[str, Any]], most: int) -> None:
        self._jobs = jobs[:most]
        self.resume_token = "more" if len(jobs) > most else None

    def __iter__(self) -> Any:
        yield {"jobSummaryList": self._jobs}


def summary(request: str, **more: object) -> str:
    content = {"scar": 1, "level": "INFO", "message": "summary", "request_id": request, "status": "done"}
    return json.dumps({**content, "subject": f"s3://b/{request}", **more})


def report(request: str) -> str:
    return (
        f"REPORT RequestId: {request}\tDuration: 1 ms\tBilled Duration: 2 ms\tMemory Size: 128 MB\t"
        "Max Memory Used: 64 MB"
    )
