"""Batch's records, in the shapes of the API's answers: new ones, and how they are found."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ministack.core.responses import request_scope
from ministack.services import batch as stub
from ministack.services import eventbridge

from local_cloud.batch.attempt import now_ms

Record = dict[str, Any]
"""A job as DescribeJobs gives it, or another record."""

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,127}")
"""What names of jobs and of job definitions look like."""


@dataclass(frozen=True)
class Scope:
    """Whose job it is: the emulator keeps every account's and region's resources apart."""

    account: str
    region: str


class ClientError(Exception):
    """The caller's mistake: answered as Batch's ClientException, status 400."""


def new_job(request: Record, queue: Record, definition: Record) -> Record:
    """The record of a job that is submitted by `request`."""
    job_id = str(uuid.uuid4())
    parameters = {**(definition.get("parameters") or {}), **(request.get("parameters") or {})}
    overrides = request.get("containerOverrides") or {}
    properties = definition["containerProperties"]
    container = {**json.loads(json.dumps(properties))}
    command = overrides.get("command") or properties.get("command") or []
    container["command"] = substitute(command, parameters)
    container["environment"] = list(_merged(properties, overrides, "environment", "name"))
    container["resourceRequirements"] = list(_merged(properties, overrides, "resourceRequirements", "type"))
    container.setdefault("volumes", [])
    container.setdefault("mountPoints", [])
    for key in ("vcpus", "memory"):
        if key in overrides:
            container[key] = overrides[key]
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
        "container": container,
        "tags": {**(definition.get("tags") or {}), **(request.get("tags") or {})},
        "platformCapabilities": definition.get("platformCapabilities") or ["EC2"],
        "isCancelled": False,
        "isTerminated": False,
    }
    timeout = request.get("timeout") or definition.get("timeout")
    if timeout:
        job["timeout"] = timeout
    return job


def _merged(properties: Record, overrides: Record, key: str, name: str) -> Iterator[Record]:
    by_name = {entry[name]: entry for entry in properties.get(key) or []}
    by_name.update({entry[name]: entry for entry in overrides.get(key) or []})
    yield from by_name.values()


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
    keys = ("jobArn", "jobId", "jobName", "createdAt", "status", "statusReason", "startedAt", "stoppedAt")
    told = {key: job[key] for key in keys if key in job}
    container: dict[str, Any] = {
        key: job["container"][key] for key in ("exitCode", "reason") if key in job["container"]
    }
    return {**told, "container": container}


def last_part(reference: str) -> str:
    """The name in an ARN, or the name that it is already; a job definition's keeps its `:revision`."""
    return reference.rpartition("/")[2]


def find_job(scope: Scope, job_id: str) -> Record | None:
    """The record of a job."""
    with request_scope(scope.account, scope.region):
        job: Record | None = stub._jobs.get(job_id)
        return job


def vcpus_of_environment(scope: Scope, job: Record) -> tuple[str, float] | None:
    """Name and maximum of vCPUs of the compute environment that can take a job; None while there is none."""
    with request_scope(scope.account, scope.region):
        queue = stub._job_queues.get(last_part(job["jobQueue"])) or {}
        order = sorted(queue.get("computeEnvironmentOrder", []), key=lambda entry: int(entry["order"]))
        for entry in order:
            environment = stub._compute_envs.get(last_part(entry["computeEnvironment"]))
            if environment and environment["state"] == "ENABLED":
                maximum = (environment.get("computeResources") or {}).get("maxvCpus", 256)
                return str(environment["computeEnvironmentName"]), float(maximum)
    return None


def emit_state_change(scope: Scope, job: Record) -> None:
    """Put `Batch Job State Change` on the account's default event bus."""
    entry = {
        "Source": "aws.batch",
        "DetailType": "Batch Job State Change",
        "Resources": [job["jobArn"]],
        "Detail": json.dumps(job),
    }
    with request_scope(scope.account, scope.region):
        eventbridge._put_events({"Entries": [entry]}, allow_aws_source=True)


def substitute(words: list[str], parameters: Mapping[str, str]) -> list[str]:
    """A command with its `Ref::name` words replaced by the job's parameters."""
    return [parameters.get(word[5:], word) if word.startswith("Ref::") else word for word in words]


def matches(value: str, pattern: str) -> bool:
    """Whether a value fits a pattern, which knows a `*` at its end alone; case does not matter."""
    value, pattern = value.lower(), pattern.lower()
    return value.startswith(pattern[:-1]) if pattern.endswith("*") else value == pattern
