"""Jobs of AWS Batch of one function. Functions share queues, so jobs are found by job definition."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from scar_cli.aws.deployed import DeployedFunction
from scar_cli.aws.session import explained

_WAITING = ("SUBMITTED", "PENDING", "RUNNABLE", "STARTING")
_DESCRIBED_AT_ONCE = 100
_MOST_LISTED = 5000
"""In each state: five pages."""
_MOST_ARRAYS = 500


@dataclass
class Jobs:
    """Numbers of jobs by state; each job of an array counts."""

    queued: int = 0
    oldest_queued_ms: int | None = None
    """When the oldest of them was submitted, in milliseconds since 1970."""
    running: int = 0
    done: int = 0
    failed: list[dict[str, Any]] = field(default_factory=list)
    """As listed by Batch."""

    def add(self, state: str, count: int, submitted_ms: int, *, recent: bool) -> None:
        """Count jobs; those that succeeded only if they are `recent`."""
        if state in _WAITING and count:
            self.queued += count
            self.oldest_queued_ms = min(submitted_ms, self.oldest_queued_ms or submitted_ms)
        elif state == "RUNNING":
            self.running += count
        elif state == "SUCCEEDED" and recent:
            self.done += count


def jobs_of(batch: Any, function: DeployedFunction, start_ms: int) -> Jobs:
    """The jobs that wait or run now, and those that ended and were submitted since `start_ms`.

    Batch lists jobs for 7 days after their end.

    Raises:
        UserError: a call to AWS fails.
    """
    jobs, arrays = Jobs(), []
    name = _definition(str(function.job_definition))
    by_definition = [{"name": "JOB_DEFINITION", "values": [name]}]
    for job in _listed(batch, jobQueue=function.job_queue, filters=by_definition):
        recent = job["createdAt"] >= start_ms
        if "size" in job.get("arrayProperties", {}):
            arrays.append(job["jobId"])
        elif job["status"] == "FAILED" and recent:
            jobs.failed.append(job)
        else:
            jobs.add(job["status"], 1, job["createdAt"], recent=recent)
    for array in described(batch, arrays):
        recent = array["createdAt"] >= start_ms
        states = array["arrayProperties"].get("statusSummary", {})
        for state, count in states.items():
            jobs.add(state, count, array["createdAt"], recent=recent)
        if states.get("FAILED") and recent:
            jobs.failed += _listed(batch, arrayJobId=array["jobId"], jobStatus="FAILED")
    return jobs


def unfinished_jobs(
    batch: Any, queue: str, functions: Iterable[DeployedFunction]
) -> tuple[dict[str, Jobs], bool]:
    """The jobs in a queue that wait or run now, for each function by name, and whether there are more.

    The number of calls is bounded. Those that ended are not listed.

    Raises:
        UserError: a call to AWS fails.
    """
    found = {_definition(str(one.job_definition)): (one.name, Jobs()) for one in functions}
    arrays: dict[str, Jobs] = {}
    is_least = False
    for state in (*_WAITING, "RUNNING"):
        pages = batch.get_paginator("list_jobs").paginate(
            jobQueue=queue, jobStatus=state, PaginationConfig={"MaxItems": _MOST_LISTED}
        )
        with explained():
            for page in pages:
                for job in page["jobSummaryList"]:
                    _name, jobs = found.get(_definition(job.get("jobDefinition", "")), ("", None))
                    if jobs is None:
                        continue
                    if "size" in job.get("arrayProperties", {}):
                        arrays[job["jobId"]] = jobs
                    else:
                        jobs.add(state, 1, job["createdAt"], recent=False)
            is_least |= pages.resume_token is not None
    chosen = list(arrays)[:_MOST_ARRAYS]
    is_least |= len(chosen) < len(arrays)
    for array in described(batch, chosen):
        for state, count in array["arrayProperties"].get("statusSummary", {}).items():
            arrays[array["jobId"]].add(state, count, array["createdAt"], recent=False)
    return dict(found.values()), is_least


def _definition(arn: str) -> str:
    """The name of a job definition, without its revision."""
    return arn.rpartition("/")[2].partition(":")[0]


def _listed(batch: Any, **request: Any) -> Iterator[dict[str, Any]]:
    with explained():
        for page in batch.get_paginator("list_jobs").paginate(**request):
            yield from page["jobSummaryList"]


def described(batch: Any, ids: list[str]) -> Iterator[dict[str, Any]]:
    """All that Batch knows of some jobs.

    Raises:
        UserError: a call to AWS fails.
    """
    for first in range(0, len(ids), _DESCRIBED_AT_ONCE):
        with explained():
            yield from batch.describe_jobs(jobs=ids[first : first + _DESCRIBED_AT_ONCE])["jobs"]
