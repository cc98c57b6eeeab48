"""IAM policies, enforced on every request of a role. Differences of ministack from AWS are corrected:

- It allows requests whose action it does not know, and services without policies. Here, roles may use only
  services whose actions are known (`roles.py`), and only `*` allows an unknown action.
- `*` in a policy did not match a newline in a key; a name without `*` matched a key with a newline at its
  end.
- `iam:PassRole` is not checked.
- `aws:SecureTransport` rejects all plain HTTP. Here, a request over loopback counts as secure.
- The ARN of an object lost the `/` at the end of its key, and one of two in `a//b`.
- Batch's calls, DescribeAccessPoints of EFS, and message move tasks of SQS had the resource `*` only. Here,
  they have those of AWS's Service Authorization Reference.
"""

from __future__ import annotations

import contextvars
import functools
import ipaddress
import json
import re
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import ministack.app
from ministack.core import iam_actions, iam_evaluator
from ministack.core.iam_evaluator import AuthError, EvalResult
from ministack.services import iam

from local_cloud.access import callers, roles
from local_cloud.batch.errors import ClientError
from local_cloud.batch.records import find_definition
from local_cloud.messages.move_tasks import source_of
from local_cloud.patches import Original, replaces

_also: contextvars.ContextVar[tuple[tuple[str, str], ...]] = contextvars.ContextVar(
    "also_checked", default=()
)
"""More actions and resources that the request being checked needs its right on."""
_action: contextvars.ContextVar[str] = contextvars.ContextVar("checked_action", default="")
_origin: contextvars.ContextVar[tuple[str, bool]] = contextvars.ContextVar(
    "request_origin", default=("127.0.0.1", True)
)
"""Address, and whether the transport is secure; without a request, the caller is a service."""


def install() -> None:
    """Take the place of ministack's view of requests."""
    _trust_loopback()
    iam_evaluator._fnmatch_compile = wildcard

    @replaces(iam_actions, "extract_iam_action")
    def extract_iam_action(find_action: Original, service: str, *request: Any) -> str:
        _also.set(())
        if _is_root():
            return "any:Action"  # the request is not inspected: that would take as long as serving it
        found = find_action(service, *request) if callers.current.get() is None else None
        _action.set(found or roles.action_of(service, *request))
        return _action.get()

    @replaces(iam_actions, "_s3_action")
    def s3_action(find_s3: Original, method: str, path: str, query_params: dict[str, Any]) -> str | None:
        caller = callers.current.get()
        if caller is None or caller.is_root or not caller.access_key_id:
            found: str | None = find_s3(method, path, query_params)
            return found
        return roles.s3_action(method, path, query_params) or roles.UNKNOWN

    @replaces(iam_actions, "extract_resource_arn")
    def extract_resource_arn(extract: Original, *request: Any) -> str:
        service, _method, path, headers, body, query_params, region, account = request
        if _is_root():
            return "*"
        needed = roles.also_needed(service, _action.get(), headers, body, query_params, account)
        _also.set(tuple(needed))
        if service == "s3" and (arn := object_arn(path)):
            return arn
        if service == "batch":
            first, *others = batch_resources(path, body, region, account) or ["*"]
            _also.set((*needed, *((_action.get(), arn) for arn in others)))
            return first
        if service == "elasticfilesystem" and (name := query_params.get("AccessPointId")):
            name = name[0] if isinstance(name, list) else name
            return f"arn:aws:elasticfilesystem:{region}:{account}:access-point/{name}"
        if service == "sqs" and (moved := moved_queues(_action.get(), body)):
            _also.set((*needed, *((action, arn) for arn, action in moved[1:])))
            return moved[0][0]
        found: str = extract(*request)
        return found

    @replaces(iam_actions, "s3_additional_checks")
    def s3_additional_checks(more: Original, method: str, path: str, *request: Any) -> list[tuple[str, str]]:
        if _is_root():
            return []
        cut = "arn:aws:s3:::" + "/".join(part for part in path.split("/") if part)
        return [
            (action, (object_arn(path) or arn) if arn == cut else arn)
            for action, arn in more(method, path, *request)
        ]

    @replaces(iam_evaluator, "enforce")
    def enforce_on_all(
        enforce: Original, access_key_id: str, iam_action: str, service: str, region: str, **given: Any
    ) -> Any:
        caller = callers.current.get()
        if caller is None:  # a service of the emulator itself
            return enforce(access_key_id, iam_action, service, region, **given)
        if not access_key_id and (
            (caller.to_endpoint and iam_action == "lambda:InvokeFunctionUrl")
            or (caller.to_form and iam_action == "s3:PutObject")
        ):
            return None  # the function URL, and the form's policy, decide who may; they are checked next
        failure = iam_evaluator.authenticate(access_key_id, callers.ACCOUNT)
        if isinstance(failure, AuthError):
            return failure
        if caller.is_root:
            return None
        if not roles.may_use(service):
            principal = iam_evaluator.resolve_principal(access_key_id, callers.ACCOUNT)
            return EvalResult("ImplicitDeny", principal_arn=principal.arn)
        denied = enforce(access_key_id, iam_action, service, region, **given)
        for action, arn in _also.get():
            also = {**given, "resource_arn": arn}
            denied = denied or enforce(access_key_id, action, action.partition(":")[0], region, **also)
        caller.allowed = not denied
        return denied

    @replaces(iam_actions, "request_tag_context")
    def request_tag_context(find_tags: Original, *request: Any) -> dict[str, Any]:
        found: dict[str, Any] = {} if _is_root() else find_tags(*request)
        return found

    ministack.app.SERVICE_HANDLERS.update(
        {
            service: _if_checked(service, handler)
            for service, handler in ministack.app.SERVICE_HANDLERS.items()
        }
    )


def role_allows(role_arn: str, action: str, resource_arn: str) -> bool:
    """Whether a role may do this, by its own policies or the resource's."""
    parts = role_arn.split(":")
    account, name = parts[4] if len(parts) > 4 else "", role_arn.rpartition("/")[2]  # noqa: PLR2004 (an ARN)
    context = iam_evaluator.EvalContext(
        principal_arn=f"arn:aws:sts::{account}:assumed-role/{name}/check",
        principal_type="AssumedRole",
        principal_account=account,
        action=action,
        resource_arn=resource_arn,
        region=resource_arn.split(":")[3],
    )
    limits = iam_evaluator._permissions_boundary(iam._roles, name, account)
    found = iam_evaluator.evaluate(context, iam_evaluator._gather_role_policies(name, account), *limits)
    policy = iam_evaluator._resource_policy(resource_arn.split(":")[2], resource_arn)
    if policy is not None:
        found = iam_evaluator.combine_resource_policy(found, context, *policy, required=False, limits=limits)
    return bool(found.decision == "Allow")


def _trust_loopback() -> None:
    iam_evaluator._request_origin = _origin

    @replaces(ministack.app, "pin_request_origin")
    def pin_request_origin(pin: Original, source_ip: str, secure_transport: bool) -> None:
        pin(source_ip, secure_transport or _is_loopback(source_ip))


def _is_root() -> bool:
    caller = callers.current.get()
    return caller is not None and caller.is_root


def _if_checked(service: str, handler: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    """No service serves a request that no policy has allowed, regardless of its path."""

    async def handle(*request: Any) -> Any:
        caller = callers.current.get()
        if caller is None or caller.to_endpoint:
            return await handler(*request)
        # For example, a presigned upload with `Action=CreateUser` as its body is for S3 only.
        fits = service == "s3" or not (caller.for_s3 or caller.to_form)
        if fits and (caller.is_root or caller.allowed or caller.to_form):
            return await handler(*request)
        return iam_actions.access_denied_response(service, f"{service}:{roles.UNKNOWN}", "unknown", "")

    return handle


@functools.lru_cache(maxsize=4096)
def wildcard(pattern: str, ignore_case: bool) -> re.Pattern[str]:
    """The matches of a policy's pattern: `*` matches any characters, `?` one."""
    parts = {"*": ".*", "?": "."}
    regex = "".join(parts.get(character) or re.escape(character) for character in pattern)
    return re.compile(regex + r"\Z", re.DOTALL | (re.IGNORECASE if ignore_case else re.RegexFlag(0)))


def object_arn(path: str) -> str | None:
    """The ARN of the object at a path `/BUCKET/KEY`, or None if the path names no object."""
    bucket, _slash, key = path.lstrip("/").partition("/")
    return f"arn:aws:s3:::{bucket}/{key}" if bucket and key.strip("/") else None


def batch_resources(path: str, body: bytes, region: str, account: str) -> list[str]:
    """The resources of a call to Batch; none for DescribeJobs and similar calls."""
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


def moved_queues(action: str, body: bytes) -> list[tuple[str, str]]:
    """The queues of a call for message move tasks, each with the action that the caller needs on it."""
    try:
        request = json.loads(body or b"{}")
    except ValueError:
        return []
    name = action.partition(":")[2]
    if not isinstance(request, dict) or not name.endswith(("MessageMoveTask", "MessageMoveTasks")):
        return []
    source = request.get("SourceArn") or source_of(str(request.get("TaskHandle", ""))) or "*"
    if name == "ListMessageMoveTasks":
        return [(str(source), action)]
    # "Configure a dead-letter queue redrive" in the guide of Amazon SQS.
    reading = ("ReceiveMessage", "DeleteMessage", "GetQueueAttributes")
    found = [(str(source), action), *((str(source), f"sqs:{needed}") for needed in reading)]
    if isinstance(target := request.get("DestinationArn"), str):
        found.append((target, "sqs:SendMessage"))
    return found


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
"""Resource types that a call needs permission for, and where its request contains them."""


def _arn(kind: str, reference: str, region: str, account: str) -> str:
    if reference.startswith("arn:"):
        return reference
    if kind == "job-definition":
        # A name without a revision means the newest; policies name revisions.
        with suppress(ClientError):
            return str(find_definition(reference)["jobDefinitionArn"])
    return f"arn:aws:batch:{region}:{account}:{kind}/{reference}"


@functools.lru_cache(maxsize=64)
def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False
