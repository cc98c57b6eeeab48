"""A deployed video workflow: its progress, and the reason of a failure."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from scar_cli.aws.deployed import DeployedFunction, selected
from scar_cli.aws.session import client

_JOB_STATES = ("SUBMITTED", "PENDING", "RUNNABLE", "STARTING", "RUNNING", "SUCCEEDED", "FAILED")
NO_JOB = "not submitted"


@dataclass(frozen=True, slots=True)
class Progress:
    """Progress of the workflow."""

    job_state: str
    images: int
    results: int
    """Images for which both text and picture exist."""
    failures: int
    """Events in a failure queue after their last attempt."""

    @property
    def job_failed(self) -> bool:
        """Whether the split has used up its attempts."""
        return self.job_state == "FAILED"

    @property
    def at_rest(self) -> bool:
        """Whether the workflow has finished: the split has ended, and each of its images has a result."""
        return self.job_state == "SUCCEEDED" and self.images == self.results


class VideoWorkflow:
    """The stack of `scar-video-process.yaml`: a function that splits in Batch, one that detects in Lambda.

    Args:
        stack: Name of the stack.
    """

    def __init__(self, stack: str) -> None:
        self._s3, self._sqs = client("s3"), client("sqs")
        self._batch, self._logs = client("batch"), client("logs")
        functions = selected(None, None, stack)
        self.split = next(function for function in functions if function.job_queue)
        self.detect = next(function for function in functions if not function.job_queue)
        self._job_id, self._job_state = "", NO_JOB

    def progress(self) -> Progress:
        """Request the progress from AWS."""
        state = self.job_state()  # first: once the split has succeeded, all of its images exist
        images = self.keys(self.split.outputs[0])
        results = self.keys(self.detect.outputs[0])
        return Progress(
            job_state=state,
            images=len(images),
            results=len(complete_results(results)),
            failures=sum(self._queued(function) for function in (self.split, self.detect)),
        )

    def job_state(self) -> str:
        """State of the Batch job that splits the video. After its end, Batch is not called again."""
        if self._job_state in ("SUCCEEDED", "FAILED"):
            return self._job_state
        if not self._job_id:
            for state in _JOB_STATES:
                found = self._batch.list_jobs(jobQueue=self.split.job_queue, jobStatus=state)[
                    "jobSummaryList"
                ]
                if found:
                    self._job_id, self._job_state = str(found[0]["jobId"]), state
                    return self._job_state
            return NO_JOB
        (job,) = self._batch.describe_jobs(jobs=[self._job_id])["jobs"]
        self._job_state = str(job["status"])
        return self._job_state

    def keys(self, path: str) -> list[str]:
        """Keys in a folder, `bucket/folder`, without the folder marker."""
        bucket, _, folder = path.partition("/")
        pages = self._s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=f"{folder}/")
        keys = (entry["Key"] for page in pages for entry in page.get("Contents", []))
        return sorted(key for key in keys if not key.endswith("/"))

    def log_lines(self, function: DeployedFunction) -> Iterator[str]:
        """All log lines of a function, including those of its jobs."""
        for group in filter(None, (function.log_group, function.batch_log_group)):
            for page in self._logs.get_paginator("filter_log_events").paginate(logGroupName=group):
                yield from (str(event["message"]) for event in page["events"])

    def reason(self) -> str:
        """The last error that the runner logged, or an empty string."""
        said = ""
        for function in (self.split, self.detect):
            for line in self.log_lines(function):
                record = json_line(line)
                if record.get("level") == "ERROR" and record.get("error"):
                    said = f"{function.name}: {record['error']}"
        return said

    def _queued(self, function: DeployedFunction) -> int:
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        answer = self._sqs.get_queue_attributes(QueueUrl=function.failure_queue_url, AttributeNames=names)
        return sum(int(answer["Attributes"].get(name, 0)) for name in names)


def complete_results(keys: list[str]) -> list[str]:
    """Keys of texts in an output folder whose picture also exists."""
    pictures = {key.rpartition(".")[0] for key in keys if key.endswith((".png", ".jpg"))}
    return [key for key in keys if key.endswith(".out") and key.removesuffix(".out") in pictures]


def json_line(line: str) -> dict[str, Any]:
    """Parse a structured log line; anything else, such as a container's output, gives an empty dictionary."""
    if not line.startswith("{"):
        return {}
    try:
        record = json.loads(line)
    except ValueError:
        return {}
    return record if isinstance(record, dict) else {}
