"""Batch's records, in the shapes of the API's answers: new ones, and how they are found."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ministack.core.responses import request_scope
from ministack.services import batch as stub
from ministack.services import eventbridge

from local_cloud.batch import nodes
from local_cloud.batch.attempt import now_ms
from local_cloud.batch.errors import ClientError
from local_cloud.batch.properties import new_container
from local_cloud.batch.retries import check_strategy

Record = dict[str, Any]
"""A job as DescribeJobs gives it, or another record."""

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,127}")
"""What names of jobs and of job definitions look like."""


@dataclass(frozen=True)
class Scope:
    """Whose job it is: the emulator keeps every account's and region's resources apart."""

    account: str
    region: str


@dataclass(frozen=True)
class Environment:
    """A compute environment, as far as the scheduler needs to know it."""

    name: str
    vcpus: float
    """At most, at once."""
    is_fargate: bool


STATES = ("SUBMITTED", "PENDING", "RUNNABLE", "STARTING", "RUNNING", "SUCCEEDED", "FAILED")
_MOST_CHILDREN = 10_000
_MOST_DEPENDENCIES = 20


def new_jobs(request: Record, queue: Record, definition: Record) -> list[Record]:
    """The record of a job that `request` submits, and then those of its children or nodes.

    Raises:
        ClientError: AWS rejects the request.
    """
    job_id = str(uuid.uuid4())
    parameters = {**(definition.get("parameters") or {}), **(request.get("parameters") or {})}
    check_strategy(request.get("retryStrategy"))
    strategy = request.get("retryStrategy") or definition.get("retryStrategy") or {}
    job: Record = {
        "jobArn": stub._job_arn(job_id),
        "jobName": request["jobName"],
        "jobId": job_id,
        "jobQueue": queue["jobQueueArn"],
        "status": "NEW",
        "attempts": [],
        "createdAt": now_ms(),
        "retryStrategy": {"evaluateOnExit": [], **strategy, "attempts": int(strategy.get("attempts", 1))},
        "dependsOn": request.get("dependsOn") or [],
        "jobDefinition": definition["jobDefinitionArn"],
        "parameters": parameters,
        "tags": {**(definition.get("tags") or {}), **(request.get("tags") or {})},
        "platformCapabilities": definition.get("platformCapabilities") or ["EC2"],
        "isCancelled": False,
        "isTerminated": False,
    }
    timeout = request.get("timeout") or definition.get("timeout")
    if timeout:
        job["timeout"] = timeout
    if definition["type"] == "multinode":
        if "arrayProperties" in request or "containerOverrides" in request:
            raise ClientError("A multi-node job has neither arrayProperties nor containerOverrides")
        _check_dependencies(job)
        return nodes.with_nodes(job, definition["nodeProperties"], request.get("nodeOverrides") or {})
    if "nodeOverrides" in request:
        raise ClientError("nodeOverrides are for job definitions of type multinode")
    job["container"] = new_container(
        definition["containerProperties"], request.get("containerOverrides") or {}, parameters
    )
    size = (request.get("arrayProperties") or {}).get("size")
    if size is None:
        _check_dependencies(job)
        return [job]
    if not 2 <= int(size) <= _MOST_CHILDREN:  # noqa: PLR2004 (as AWS)
        raise ClientError(f"arrayProperties.size must be between 2 and {_MOST_CHILDREN}, and is {size}")
    _check_dependencies(job, int(size))
    return _with_children(job, int(size))


def _with_children(job: Record, size: int) -> list[Record]:
    """An array job and its children, which have the dependencies of the array, or those of their index."""
    template = json.dumps(job)
    job["arrayProperties"] = {"size": size, "statusSummary": dict.fromkeys(STATES, 0)}
    jobs = [job]
    for index in range(size):
        child: Record = json.loads(template)
        child["jobId"] = f"{job['jobId']}:{index}"
        child["jobArn"] = stub._job_arn(child["jobId"])
        child["arrayProperties"] = {"index": index}
        child["dependsOn"] = []
        for dependency in job["dependsOn"]:
            if dependency.get("type") == "SEQUENTIAL":
                if index:
                    child["dependsOn"].append({"jobId": f"{job['jobId']}:{index - 1}", "type": "SEQUENTIAL"})
            elif dependency.get("type") == "N_TO_N":
                child["dependsOn"].append({**dependency, "jobId": f"{dependency['jobId']}:{index}"})
            else:
                child["dependsOn"].append(dependency)
        jobs.append(child)
    return jobs


def _check_dependencies(job: Record, size: int | None = None) -> None:
    """Raise ClientError for dependencies that only an array job, or one of another size, can have."""
    if len(job["dependsOn"]) > _MOST_DEPENDENCIES:
        raise ClientError(f"A job can depend on at most {_MOST_DEPENDENCIES} jobs")
    for dependency in job["dependsOn"]:
        kind, job_id = dependency.get("type"), dependency.get("jobId")
        if kind is not None and size is None:
            raise ClientError(f"Only an array job can have a dependency of type {kind}")
        if kind == "SEQUENTIAL":
            if job_id:
                raise ClientError("A dependency of type SEQUENTIAL has no jobId")
        elif not job_id:
            raise ClientError("A dependency needs a jobId")
        elif kind == "N_TO_N":
            other = (stub._jobs.get(job_id) or {}).get("arrayProperties", {}).get("size")
            if other != size:
                raise ClientError(f"A dependency of type N_TO_N needs an array job of size {size}: {job_id}")


def find_queue(reference: str) -> Record:
    """A job queue, by name or ARN.

    Raises:
        ClientError: there is none.
    """
    queue: Record | None = stub._job_queues.get(last_part(reference))
    if queue is None or (reference.startswith("arn:") and reference != queue["jobQueueArn"]):
        raise ClientError(f"Job queue {reference} does not exist")
    return queue


def find_definition(reference: str) -> Record:
    """The newest active revision of a job definition, or the one that is named, by name or ARN.

    Raises:
        ClientError: there is none.
    """
    name, _colon, revision = last_part(reference).partition(":")
    active: list[Record] = [
        definition
        for definition in stub._job_definitions.get(name) or []
        if definition["status"] == "ACTIVE" and revision in ("", str(definition["revision"]))
    ]
    if not active:
        raise ClientError(f"JobDefinition {reference} not found or not ACTIVE")
    return active[-1]


def summary(job: Record) -> Record:
    """What ListJobs says about a job."""
    keys = (
        *("jobArn", "jobId", "jobName", "jobDefinition", "createdAt", "status", "statusReason"),
        *("startedAt", "stoppedAt"),
    )
    told = {key: job[key] for key in keys if key in job}
    if "arrayProperties" in job:
        told["arrayProperties"] = {k: v for k, v in job["arrayProperties"].items() if k in ("size", "index")}
    if "nodeProperties" in job:
        told["nodeProperties"] = {
            k: v for k, v in job["nodeProperties"].items() if k in ("numNodes", "nodeIndex", "isMainNode")
        }
    ended = job.get("container") or {}
    container: dict[str, Any] = {key: ended[key] for key in ("exitCode", "reason") if key in ended}
    return {**told, "container": container}


def parent_id(job_id: str) -> str:
    """The id of the array job or the multi-node job that a child or a node belongs to; else its own."""
    return re.split("[:#]", job_id, maxsplit=1)[0]


def last_part(reference: str) -> str:
    """The name in an ARN, or the name that it is already; a job definition's keeps its `:revision`."""
    return reference.rpartition("/")[2]


def find_job(scope: Scope, job_id: str) -> Record | None:
    """The record of a job."""
    with request_scope(scope.account, scope.region):
        job: Record | None = stub._jobs.get(job_id)
        return job


def environments_of(scope: Scope, queue_arn: str) -> list[Environment]:
    """The compute environments of a queue that can take jobs now, in the queue's order."""
    with request_scope(scope.account, scope.region):
        queue = stub._job_queues.get(last_part(queue_arn)) or {}
        found = []
        order = sorted(queue.get("computeEnvironmentOrder", []), key=lambda entry: int(entry["order"]))
        for entry in order:
            environment = stub._compute_envs.get(last_part(entry["computeEnvironment"]))
            if environment and environment["state"] == "ENABLED":
                resources = environment.get("computeResources") or {}
                found.append(
                    Environment(
                        str(environment["computeEnvironmentName"]),
                        float(resources.get("maxvCpus", 256)),
                        str(resources.get("type", "")).startswith("FARGATE"),
                    )
                )
    return found


def time_limit_actions(scope: Scope, queue_arn: str) -> list[Record]:
    """The actions of a queue for jobs that stay in a state for too long."""
    with request_scope(scope.account, scope.region):
        queue = stub._job_queues.get(last_part(queue_arn)) or {}
    return list(queue.get("jobStateTimeLimitActions") or [])


STATE_CHANGE, BLOCKED = "Batch Job State Change", "Batch Job Queue Blocked"


def emit(scope: Scope, job: Record, kind: str) -> None:
    """Put an event about a job on the account's default event bus."""
    entry = {
        "Source": "aws.batch",
        "DetailType": kind,
        "Resources": [job["jobArn"]] if kind == STATE_CHANGE else [job["jobArn"], job["jobQueue"]],
        "Detail": json.dumps(job),
    }
    with request_scope(scope.account, scope.region):
        eventbridge._put_events({"Entries": [entry]}, allow_aws_source=True)


def passes(job: Record, filters: Mapping[str, list[str]]) -> bool:
    """Whether a job is in the answer of ListJobs with these filters."""
    return all(any(_FILTERS[name](job, value) for value in values) for name, values in filters.items())


def _has_definition(job: Record, value: str) -> bool:
    """Case-sensitive: an ARN with its revision, or a name, which may end with `*`, in any revision."""
    if value.startswith("arn:"):
        return bool(job["jobDefinition"] == value)
    name = last_part(job["jobDefinition"]).partition(":")[0]
    return name.startswith(value[:-1]) if value.endswith("*") else name == value


def _has_name(job: Record, value: str) -> bool:
    """Not case-sensitive; the value may end with `*`."""
    name, value = job["jobName"].lower(), value.lower()
    return bool(name.startswith(value[:-1]) if value.endswith("*") else name == value)


_FILTERS: Mapping[str, Callable[[Record, str], bool]] = {
    "JOB_NAME": _has_name,
    "JOB_DEFINITION": _has_definition,
    "BEFORE_CREATED_AT": lambda job, value: int(job["createdAt"]) < int(value),
    "AFTER_CREATED_AT": lambda job, value: int(job["createdAt"]) > int(value),
}
FILTERS = frozenset(_FILTERS)
