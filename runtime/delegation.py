"""Handing an invocation over to AWS Batch: all of them in mode `batch`, those whose time is up in
`lambda-batch`.

The event of the one invocation (one record, its key still URL-encoded as S3 sent it) travels in the job's
environment: `SCAR_EVENT` as JSON, or `SCAR_EVENT_GZ` (base64 of gzip) where it is long. Batch refuses
requests over 30 KiB, so an event that is still too long is an error that says so.
"""

from __future__ import annotations

import base64
import gzip
import re
import zlib
from collections.abc import Mapping

from runtime import aws
from runtime.bounded_json import JsonError, read_json
from runtime.config import FunctionConfig
from runtime.errors import RunnerError
from runtime.invocation import Invocation, event_json

PLAIN_LIMIT = 7 * 1024
PACKED_LIMIT = 20 * 1024
UNPACKED_LIMIT = 8 * 1024 * 1024
"""No event of Lambda is longer than 6 MB."""
NAME_LIMIT = 128


def submit(invocation: Invocation, config: FunctionConfig, environ: Mapping[str, str]) -> str:
    """Submit it to the function's queue; return the job's id. Raises `RunnerError`."""
    from boto3.exceptions import Boto3Error
    from botocore.exceptions import BotoCoreError, ClientError

    queue, definition = environ.get("SCAR_JOB_QUEUE"), environ.get("SCAR_JOB_DEFINITION")
    if not queue or not definition:
        raise RunnerError(
            f"Function {config.name} runs in mode {config.execution_mode}, but SCAR_JOB_QUEUE or "
            "SCAR_JOB_DEFINITION is not set",
            advice="Deploy the function again.",
            kind="Misconfigured",
        )
    name, value = _variable(invocation)
    try:
        answer = aws.client("batch").submit_job(
            jobName=job_name(config.name, invocation),
            jobQueue=queue,
            jobDefinition=definition,
            containerOverrides={"environment": [{"name": name, "value": value}]},
        )
    except (ClientError, BotoCoreError, Boto3Error) as error:
        raise RunnerError(
            f"AWS Batch did not take the job of {invocation.subject}: {error}",
            advice="The event will be retried; look at the job queue's state and at the function's role.",
            kind="SubmitFailed",
        ) from None
    return str(answer["jobId"])


def event_of_job(environ: Mapping[str, str]) -> object:
    """The event that `submit` put into a job's environment. Raises `RunnerError` of kind `Misconfigured`."""
    text = environ.get("SCAR_EVENT")
    packed = environ.get("SCAR_EVENT_GZ")
    if text is None and packed is None:
        raise _unreadable("The job has neither SCAR_EVENT nor SCAR_EVENT_GZ in its environment")
    try:
        if packed is not None:
            text = _unpacked(base64.b64decode(packed, validate=True))
        return read_json(text or "")
    except JsonError as error:
        raise _unreadable(f"The event in the job's environment cannot be read: {error}") from None
    except (ValueError, OSError, EOFError, zlib.error):
        raise _unreadable("The event in the job's environment is damaged: it cannot be unpacked") from None


def job_name(function: str, invocation: Invocation) -> str:
    """Function and object, in the characters that Batch allows; names of jobs need not be unique."""
    subject = invocation.source.base_name if invocation.source is not None else "direct"
    safe = re.sub(r"[^A-Za-z0-9_-]+", "-", subject).strip("-")
    return f"{function}-{safe}"[:NAME_LIMIT].strip("-_") or "job"


def _variable(invocation: Invocation) -> tuple[str, str]:
    text = event_json(invocation.event)
    if len(text) <= PLAIN_LIMIT:
        return "SCAR_EVENT", text
    packed = base64.b64encode(gzip.compress(text.encode(), mtime=0)).decode()
    if len(packed) <= PACKED_LIMIT:
        return "SCAR_EVENT_GZ", packed
    raise RunnerError(
        f"The event of {invocation.subject} has {len(text)} bytes, {len(packed)} when packed, and a Batch "
        f"job takes {PACKED_LIMIT}",
        advice="Upload large data to an input folder, and send only its name.",
        kind="EventTooLarge",
    )


def _unpacked(data: bytes) -> str:
    import io

    with gzip.open(io.BytesIO(data)) as file:
        return file.read(UNPACKED_LIMIT).decode()


def _unreadable(cause: str) -> RunnerError:
    return RunnerError(
        cause, advice="Jobs of this queue are submitted by the function.", kind="Misconfigured"
    )
