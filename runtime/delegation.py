"""Submits invocations to AWS Batch: all of them in `batch` mode, those that run out of time or memory in
`lambda-batch`.

The event of the invocation (one record, its key URL-encoded as S3 sent it) is passed in the job's
environment: `SCAR_EVENT` as JSON, or `SCAR_EVENT_GZ` (base64 of gzip) if it is long. The overrides of a job
are limited to 8 192 characters, including those that AWS adds. An event that does not fit is stored in the
stack's bucket of events (`SCAR_EVENT_BUCKET`), and `SCAR_EVENT_URI` names the object.

The files that an input queue delivers together become one array job, as do those of `scar-launch`: AWS Batch
accepts 50 calls of SubmitJob a second in an account. The events of an array job are the lines of one object
in the bucket of events: `SCAR_EVENTS_URI` names it, and each line has `SCAR_EVENTS_WIDTH` bytes, so that a
job reads only its own. The index of the line is the job's index in the array or, in a single job,
`SCAR_EVENTS_INDEX`.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import re
import zlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from containers import aws
from containers.bounded_json import JsonError, read_json
from containers.errors import ErrorKind, ExplainedError
from runtime import trace
from runtime.config import FunctionConfig
from runtime.events.invocation import Invocation, event_json

INLINE_LIMIT = 4 * 1024
"""Characters of an event in a job's environment: half of the maximum of Batch."""
UNPACKED_LIMIT = 8 * 1024 * 1024
"""No event of Lambda is longer than 6 MB."""
NAME_LIMIT = 128
ARRAY_LIMIT = 10_000
"""Maximum size of an array job."""


def together(invocations: Sequence[Invocation], config: FunctionConfig) -> Iterator[Sequence[Invocation]]:
    """The invocations in groups, of which `submit` makes one job each.

    A job on several nodes cannot be part of an array. An event that is too long for a job's environment is
    not part of one either, because it would make the lines of all others as long.
    """
    some: list[Invocation] = []
    for invocation in invocations:
        if (config.batch is not None and config.batch.multi_node) or not _is_short(invocation):
            yield [invocation]
            continue
        some.append(invocation)
        if len(some) == ARRAY_LIMIT:
            yield some
            some = []
    if some:
        yield some


def submit(
    invocations: Sequence[Invocation], config: FunctionConfig, environ: Mapping[str, str], request_id: str
) -> str:
    """Submit one job for all of them, of the groups of `together`, to the function's queue; return its id.

    `request_id` is that of the event; a job without an input object is in the same trace.

    Raises `ExplainedError`: nothing was submitted, or it is unknown whether it was.
    """
    from boto3.exceptions import Boto3Error
    from botocore.exceptions import BotoCoreError, ClientError

    queue, definition = environ.get("SCAR_JOB_QUEUE"), environ.get("SCAR_JOB_DEFINITION")
    if not queue or not definition:
        raise ExplainedError(
            f"Function {config.name} runs in {config.execution_mode} mode, but SCAR_JOB_QUEUE or "
            "SCAR_JOB_DEFINITION is not set",
            advice="Deploy the function again.",
            kind=ErrorKind.MISCONFIGURED,
        )
    try:
        several = len(invocations) > 1
        answer = aws.client("batch").submit_job(
            jobQueue=queue,
            jobDefinition=definition,
            **_array(invocations, config, environ)
            if several
            else _single(invocations[0], config, environ, request_id),
        )
    except (ClientError, BotoCoreError, Boto3Error) as error:
        raise ExplainedError(
            f"The job of {subject(invocations)} could not be submitted: {error}",
            advice="The event will be retried; check the state of the job queue and the role of the "
            "function.",
            kind=ErrorKind.SUBMIT_FAILED,
        ) from None
    return str(answer["jobId"])


def subject(invocations: Sequence[Invocation]) -> str:
    """The name of a group for people."""
    return invocations[0].subject if len(invocations) == 1 else f"{len(invocations)} files"


def event_of_job(environ: Mapping[str, str]) -> object:
    """The event that `submit` put into a job's environment.

    Raises `ExplainedError` of kind `Misconfigured`.
    """
    text = environ.get("SCAR_EVENT")
    packed = environ.get("SCAR_EVENT_GZ")
    uri = environ.get("SCAR_EVENT_URI")
    lines = environ.get("SCAR_EVENTS_URI")
    if text is None and packed is None and uri is None and lines is None:
        raise _unreadable(
            "The job's environment has none of SCAR_EVENT, SCAR_EVENT_GZ, SCAR_EVENT_URI and SCAR_EVENTS_URI"
        )
    try:
        if lines is not None:
            text = _line(lines, environ)
        if uri is not None:
            text = _unpacked(_stored(uri))
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


def _single(
    invocation: Invocation, config: FunctionConfig, environ: Mapping[str, str], request_id: str
) -> dict[str, Any]:
    variables = dict([_variable(invocation, environ)])
    if invocation.source is None:
        variables[trace.VARIABLE] = trace.id_of_request(request_id)
    overrides = _environment(variables)
    in_nodes = config.batch is not None and config.batch.multi_node
    return {
        "jobName": job_name(config.name, invocation),
        **(_for_all_nodes(overrides) if in_nodes else {"containerOverrides": overrides}),
    }


def _array(
    invocations: Sequence[Invocation], config: FunctionConfig, environ: Mapping[str, str]
) -> dict[str, Any]:
    lines = [event_json(invocation.event).encode() for invocation in invocations]
    width = max(map(len, lines)) + 1
    content = b"".join(line.ljust(width - 1) + b"\n" for line in lines)
    digest, uri = _store(content, "jsonl", "application/jsonl", subject(invocations), environ)
    variables = {"SCAR_EVENTS_URI": uri, "SCAR_EVENTS_WIDTH": str(width)}
    return {
        "jobName": f"{config.name}-{digest[:16]}",
        "arrayProperties": {"size": len(invocations)},
        "containerOverrides": _environment(variables),
    }


def _environment(variables: Mapping[str, str]) -> dict[str, object]:
    return {"environment": [{"name": name, "value": value} for name, value in variables.items()]}


def _is_short(invocation: Invocation) -> bool:
    try:
        return len(event_json(invocation.event)) <= INLINE_LIMIT
    except ExplainedError:
        return False  # `submit` raises it for this invocation only


def _for_all_nodes(overrides: object) -> dict[str, object]:
    node_overrides = [{"targetNodes": "0:", "containerOverrides": overrides}]
    return {"nodeOverrides": {"nodePropertyOverrides": node_overrides}}


def _variable(invocation: Invocation, environ: Mapping[str, str]) -> tuple[str, str]:
    text = event_json(invocation.event)
    if len(text) <= INLINE_LIMIT:
        return "SCAR_EVENT", text
    content = gzip.compress(text.encode(), mtime=0)
    packed = base64.b64encode(content).decode()
    if len(packed) <= INLINE_LIMIT:
        return "SCAR_EVENT_GZ", packed
    return "SCAR_EVENT_URI", _store(content, "json.gz", "application/gzip", invocation.subject, environ)[1]


def _store(
    content: bytes, ending: str, content_type: str, what: str, environ: Mapping[str, str]
) -> tuple[str, str]:
    """Store events in the bucket of events; return their digest and URI."""
    bucket = environ.get("SCAR_EVENT_BUCKET")
    if not bucket:
        raise ExplainedError(
            f"The event of {what} is too long for a job's environment, and SCAR_EVENT_BUCKET is not set",
            advice="Deploy the function again.",
            kind=ErrorKind.MISCONFIGURED,
        )
    # Named after their content: retried events are stored only once.
    digest = hashlib.sha256(content).hexdigest()
    key = f"{digest}.{ending}"
    aws.client("s3").put_object(Bucket=bucket, Key=key, Body=content, ContentType=content_type)
    return digest, f"s3://{bucket}/{key}"


def _line(uri: str, environ: Mapping[str, str]) -> str:
    """The job's own line of the events at `s3://bucket/key`."""
    index = environ.get("SCAR_EVENTS_INDEX") or environ.get("AWS_BATCH_JOB_ARRAY_INDEX", "")
    width = environ.get("SCAR_EVENTS_WIDTH", "")
    if not (index.isdecimal() and width.isdecimal()):
        raise _unreadable("The job's environment does not have both SCAR_EVENTS_WIDTH and an array index")
    first = int(index) * int(width)
    return _stored(uri, Range=f"bytes={first}-{first + int(width) - 1}").decode()


def _stored(uri: str, **part: str) -> bytes:
    """The object at `s3://bucket/key`, or a part of it."""
    from botocore.exceptions import BotoCoreError, ClientError

    bucket, _, key = uri.removeprefix("s3://").partition("/")
    try:
        body = aws.client("s3").get_object(Bucket=bucket, Key=key, **part)["Body"]
        content: bytes = body.read(UNPACKED_LIMIT)
    except (ClientError, BotoCoreError) as error:
        raise ExplainedError(
            f"The event at {uri} cannot be read: {error}",
            advice="Events are kept for 30 days. Send the event again from its source.",
            kind=ErrorKind.EVENT_UNAVAILABLE,
        ) from None
    return content


def _unpacked(data: bytes) -> str:
    import io

    with gzip.open(io.BytesIO(data)) as file:
        return file.read(UNPACKED_LIMIT).decode()


def _unreadable(cause: str) -> ExplainedError:
    return ExplainedError(
        cause,
        advice="Submit jobs with the function or `scar-launch`, not by hand.",
        kind=ErrorKind.MISCONFIGURED,
    )
