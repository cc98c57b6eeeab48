"""What has to be put right in the emulator before it can enforce IAM policies on a workflow.

ministack checks a request by `enforce(key, action, …, resource_arn)`, after `extract_resource_arn` has made
the resource's ARN out of the request. Three things differ there from AWS, and each would refuse what AWS
allows:

- Buckets and queues that may be reached over TLS only (`aws:SecureTransport`) refuse all of plain HTTP. Here
  that never leaves the machine, and there is nothing else to be had, so a request over loopback counts as
  secure, and what one service of the emulator asks of another too.
- An object's ARN is put together from the parts of its key, so that the `/` at the end of `input/` is lost,
  and the second of `a//b`. It is taken from the path as it is.
- Batch's calls have no resource but `*`, which a policy that names a queue or a definition does not match.
  Here they have those that AWS's Service Authorization Reference lists: SubmitJob both of them.

Installed whether policies are enforced or not: without AUTH nothing calls what is replaced.
"""

from __future__ import annotations

import contextvars
import ipaddress
import json
from contextlib import suppress
from typing import Any

import ministack.app
from ministack.core import iam_actions, iam_evaluator

from local_cloud.batch_records import ClientError, find_definition

_also: contextvars.ContextVar[tuple[str, ...]] = contextvars.ContextVar("also_checked", default=())
"""More resources that the request being checked needs its right on."""
_origin: contextvars.ContextVar[tuple[str, bool]] = contextvars.ContextVar(
    "request_origin", default=("127.0.0.1", True)
)
"""Address, and whether the transport is secure; without a request, it is a service that asks."""


def install() -> None:
    """Take the place of ministack's view of requests."""
    pin, extract, more = (
        ministack.app.pin_request_origin,
        iam_actions.extract_resource_arn,
        iam_actions.s3_additional_checks,
    )
    enforce = iam_evaluator.enforce

    def pin_request_origin(source_ip: str, secure_transport: bool) -> None:
        pin(source_ip, secure_transport or _is_loopback(source_ip))

    def extract_resource_arn(*request: Any) -> str:
        service, _method, path, _headers, body, _query_params, region, account = request
        _also.set(())
        if service == "s3" and (arn := object_arn(path)):
            return arn
        if service == "batch":
            first, *others = batch_resources(path, body, region, account) or ["*"]
            _also.set(tuple(others))
            return first
        found: str = extract(*request)
        return found

    def s3_additional_checks(
        method: str, path: str, headers: dict[str, str], body: bytes, query_params: dict[str, Any]
    ) -> list[tuple[str, str]]:
        cut = "arn:aws:s3:::" + "/".join(part for part in path.split("/") if part)
        return [
            (action, (object_arn(path) or arn) if arn == cut else arn)
            for action, arn in more(method, path, headers, body, query_params)
        ]

    def enforce_on_all(access_key_id: str, iam_action: str, service: str, region: str, **given: Any) -> Any:
        denied = enforce(access_key_id, iam_action, service, region, **given)
        others = _also.get() if service == "batch" else ()
        for arn in others:
            denied = denied or enforce(
                access_key_id, iam_action, service, region, **{**given, "resource_arn": arn}
            )
        return denied

    iam_evaluator._request_origin = _origin
    ministack.app.pin_request_origin = pin_request_origin
    iam_actions.extract_resource_arn = extract_resource_arn
    iam_actions.s3_additional_checks = s3_additional_checks
    iam_evaluator.enforce = enforce_on_all


def object_arn(path: str) -> str | None:
    """The ARN of the object at a path `/BUCKET/KEY`, or None if the path names no object."""
    bucket, _slash, key = path.lstrip("/").partition("/")
    return f"arn:aws:s3:::{bucket}/{key}" if bucket and key.strip("/") else None


def batch_resources(path: str, body: bytes, region: str, account: str) -> list[str]:
    """What a call to Batch needs a right on; none for DescribeJobs and its like, which have no resource."""
    try:
        request = json.loads(body or b"{}")
    except ValueError:
        return []
    call = path.rstrip("/").lower().removeprefix("/v1/")
    return [
        _arn(kind, request[field], region, account)
        for kind, field in _RESOURCES.get(call, ())
        if isinstance(request, dict) and isinstance(request.get(field), str)
    ]


_RESOURCES = {
    "submitjob": (("job-queue", "jobQueue"), ("job-definition", "jobDefinition")),
    "terminatejob": (("job", "jobId"),),
    "canceljob": (("job", "jobId"),),
    "registerjobdefinition": (("job-definition", "jobDefinitionName"),),
    "deregisterjobdefinition": (("job-definition", "jobDefinition"),),
    "createjobqueue": (("job-queue", "jobQueueName"),),
    "updatejobqueue": (("job-queue", "jobQueue"),),
    "deletejobqueue": (("job-queue", "jobQueue"),),
    "createcomputeenvironment": (("compute-environment", "computeEnvironmentName"),),
    "updatecomputeenvironment": (("compute-environment", "computeEnvironment"),),
    "deletecomputeenvironment": (("compute-environment", "computeEnvironment"),),
}
"""Kinds of resource that a call needs a right on, and where it names them."""


def _arn(kind: str, reference: str, region: str, account: str) -> str:
    if reference.startswith("arn:"):
        return reference
    if kind == "job-definition":
        # A name without a revision means the newest; policies name revisions.
        with suppress(ClientError):
            return str(find_definition(reference)["jobDefinitionArn"])
    return f"arn:aws:batch:{region}:{account}:{kind}/{reference}"


def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False
