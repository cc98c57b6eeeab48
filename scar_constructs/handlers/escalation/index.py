"""Handles each failed Batch job of a function with `batch.retry`.

If it ran out of memory or time, its event is submitted again with the next size. Otherwise, or if there is no
larger size, the state change goes to the failure queue, as for functions without `batch.retry`.
"""

import json
import os
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

# Batch accepts 50 calls a second in an account, and thousands of jobs may fail at once.
batch = boto3.client("batch", config=Config(retries={"mode": "standard", "total_max_attempts": 20}))
sqs = boto3.client("sqs")

ENDS = {124: "TimedOut", 137: "OutOfMemory"}
"""Exit codes of the runner."""


def handler(event: dict[str, Any], context: object) -> None:
    """Submit the next size or keep the event."""
    job = event["detail"]
    sizes = json.loads(os.environ["SIZES"])
    variables = {pair["name"]: pair["value"] for pair in container_of(job).get("environment", ())}
    number, end = int(variables.get("SCAR_SIZE", 0)) + 1, end_of(job)
    if end is not None and number <= len(sizes):
        try:
            submitted = batch.submit_job(**request(job, variables, number, sizes[number - 1], end))
        except ClientError as error:
            print(f"{job['jobId']}: {end}, but the next size cannot be submitted: {error}")
        else:
            print(f"{job['jobId']}: {end}, continues as {submitted['jobId']} with size {number}")
            return
    sqs.send_message(QueueUrl=os.environ["FAILURE_QUEUE"], MessageBody=json.dumps(event))


def end_of(job: dict[str, Any]) -> str | None:
    """Why a larger size may succeed; None: it would not."""
    last = (job.get("attempts") or [{}])[-1]
    container = job.get("container") or last.get("container") or {}
    reasons = [str(one.get("statusReason", "")) for one in (job, *([] if "container" in job else [last]))]
    if job.get("isTerminated") or job.get("isCancelled"):
        return None
    if str(container.get("reason", "")).startswith("OutOfMemory"):
        return "OutOfMemory"
    if any("exceeded timeout" in reason for reason in reasons):
        return "TimedOut"
    # A stopped job, or one whose host was taken back, may have exit code 137, too.
    if not any(reason.startswith("Essential container") for reason in reasons):
        return None
    return ENDS.get(container.get("exitCode", 0))


def container_of(job: dict[str, Any]) -> dict[str, Any]:
    """The submitted container: of all nodes, if there are several."""
    ranges = job.get("nodeProperties", {}).get("nodeRangeProperties")
    return dict(ranges[0].get("container", {}) if ranges else job.get("container", {}))


def request(
    job: dict[str, Any], variables: dict[str, str], number: int, size: dict[str, Any], end: str
) -> dict[str, Any]:
    """Arguments of SubmitJob."""
    kept = {name: value for name, value in variables.items() if name.startswith("SCAR_EVENT")}
    index = job.get("arrayProperties", {}).get("index")
    if index is not None:
        kept["SCAR_EVENTS_INDEX"] = str(index)
    kept |= {"SCAR_SIZE": str(number), "SCAR_PREVIOUS_JOB": job["jobId"], "SCAR_PREVIOUS_END": end}
    kept |= {"SCAR_TIMEOUT": str(size["timeout_s"]), "SCAR_MEMORY_MIB": str(size["memory_mib"])}
    needs = {one["type"]: one["value"] for one in container_of(job).get("resourceRequirements", ())}
    needs |= {"MEMORY": str(size["memory_mib"]), "VCPU": f"{size['vcpus']:g}"}
    overrides = {
        "environment": [{"name": name, "value": value} for name, value in kept.items()],
        "resourceRequirements": [{"type": name, "value": value} for name, value in needs.items()],
    }
    nodes = {"nodePropertyOverrides": [{"targetNodes": "0:", "containerOverrides": overrides}]}
    return {
        "jobName": job["jobName"],
        "jobQueue": os.environ["JOB_QUEUE"],
        "jobDefinition": os.environ["JOB_DEFINITION"],
        "timeout": {"attemptDurationSeconds": size["timeout_s"]},
        **({"nodeOverrides": nodes} if "nodeProperties" in job else {"containerOverrides": overrides}),
    }
