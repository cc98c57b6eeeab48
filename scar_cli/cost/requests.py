"""Requests for one file, besides its run: to S3, queues, DynamoDB, Lambda and logs."""

from __future__ import annotations

import math
from typing import Final

from fdl_schemas.model import ExecutionMode, Function
from fdl_schemas.prices.table import lambda_compute
from scar_cli.cost.compute import Compute

MIB: Final = 1024 * 1024
GIB: Final = 1024 * MIB
PARALLEL_READ_BYTES: Final = 32 * MIB
"""As in `runtime/storage/s3.py`: one HEAD, and parts of 16 MiB."""
_READ_PART_BYTES: Final = 16 * MIB
PARTS_BYTES: Final = 16 * MIB
"""As in `runtime/storage/s3_upload.py`: beginning, parts of 8 MiB, completion."""
_WRITE_PART_BYTES: Final = 8 * MIB
LOG_BYTES: Final = 4096
"""Lines of the runner and of Lambda for one run, with the metrics in its summary. The output of the script is
not included."""
_LOG_BYTES_OF_LAMBDA: Final = 512
"""Lambda's own lines, without those of the runner."""
COMPRESSED: Final = 0.15
"""Part of the bytes of a log for which CloudWatch charges storage, in AWS's own examples
(https://aws.amazon.com/cloudwatch/pricing/)."""
_BEAT_S: Final = 5.0
"""As in `runtime/once.py`."""
_WRITES_OF_A_CLAIM: Final = 3
_CLAIM_BYTES: Final = 400
SUBMISSION_S: Final = 0.2
"""Run time of the Lambda function that submits jobs, for each call of SubmitJob."""
_MESSAGES_AT_ONCE: Final = 10
METRICS: Final = 13
"""Custom metrics of a function that has runs."""


def writes(size: int) -> int:
    """Requests of an upload."""
    return 1 if size < PARTS_BYTES else 2 + math.ceil(size / _WRITE_PART_BYTES)


def reads(size: int) -> int:
    """Requests of a download."""
    return 1 if size < PARALLEL_READ_BYTES else 1 + math.ceil(size / _READ_PART_BYTES)


def writes_of_claim(seconds: float) -> float:
    """Writes to the table of claims for a run of so many seconds: the claim, and its signs of life."""
    return _WRITES_OF_A_CLAIM + seconds // _BEAT_S


def of_storage(function: Function, size: int, *, uploaded: bool) -> dict[str, float]:
    """Reading the input and writing one output of the same size to each output.

    `uploaded`: the input is written from outside the workflow, so that the upload and its storage for a
    month are added.
    """
    usage = {"s3_put": 0.0, "s3_get": 0.0, "s3_gb_month": 0.0, "transfer_gb": 0.0}
    if any(entry.provider == "s3" for entry in function.inputs):
        usage["s3_get"] += reads(size)
        if uploaded:
            usage["s3_put"] += writes(size)
            usage["s3_gb_month"] += size / GIB
    for entry in function.outputs:
        if entry.provider == "s3":
            usage["s3_put"] += writes(size)
            usage["s3_gb_month"] += size / GIB
        else:
            usage["transfer_gb"] += size / GIB
    return usage


def of_queue(function: Function, compute: Compute) -> dict[str, float]:
    """Messages of an input queue: sent, received and deleted, the latter two in groups for jobs."""
    if all(entry.queue is None for entry in function.inputs):
        return {}
    return {"sqs_request": 1 + 2 / _events_at_once(function, compute)}


def of_invocation(function: Function, compute: Compute) -> dict[str, float]:
    """The request to Lambda; for a job, the run of the function that submits it."""
    usage = {"api_request": 1.0} if function.api_gateway is not None and not function.inputs else {}
    if compute.on_lambda or function.execution_mode is ExecutionMode.LAMBDA_BATCH:
        return {**usage, "lambda_request": 1.0}
    at_once = _events_at_once(function, compute)
    gb_s = SUBMISSION_S * function.memory_mib / 1024
    return {**usage, "lambda_request": 1 / at_once, lambda_compute(function.architecture): gb_s / at_once}


def of_once(function: Function, seconds: float) -> dict[str, float]:
    """The claim of a run: taken, confirmed and done, and its signs of life."""
    if not function.once or not function.inputs:
        return {}
    return {
        "dynamodb_write": writes_of_claim(seconds),
        "dynamodb_gb_month": _CLAIM_BYTES / GIB,
    }


def of_logs(function: Function) -> dict[str, float]:
    """The lines of a run, and their storage until the retention ends."""
    gb = (LOG_BYTES if function.log_level in ("DEBUG", "INFO") else _LOG_BYTES_OF_LAMBDA) / GIB
    return {"logs_gb": gb, "logs_gb_month": gb * COMPRESSED * function.log_retention_days / 30}


def _events_at_once(function: Function, compute: Compute) -> int:
    """Events of one invocation: several only if they come from a queue and become jobs."""
    queued = any(entry.queue is not None for entry in function.inputs)
    runs_there = compute.on_lambda or function.execution_mode is ExecutionMode.LAMBDA_BATCH
    return _MESSAGES_AT_ONCE if queued and not runs_there else 1
