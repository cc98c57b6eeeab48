"""The action that a request of a role needs, parsed so strictly that it is unambiguous.

ministack reads the action from several places (the `Action` parameter, `X-Amz-Target`, the path), and its
handlers from others: `PUT /2015-03-31/functions/f/code?Action=InvokeFunction` changed a function's code with
permission to invoke it. Here, the action of each service is read from one place.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs

from ministack.core import iam_actions

UNKNOWN = "UnknownOperation"
_PROTOCOLS = {
    "apigateway": "rest",
    "batch": "rest",
    "cloudformation": "query",
    "dynamodb": "target",
    "ec2": "query",
    "ecr": "target",
    "elasticfilesystem": "rest",
    "events": "target",
    "iam": "query",
    "kms": "target",
    "lambda": "rest",
    "logs": "target",
    "monitoring": "query",
    "s3": "rest",
    "secretsmanager": "target",
    "sns": "query",
    "sqs": "target",
    "ssm": "target",
    "states": "target",
    "sts": "query",
}
"""The services that roles may use, by where the action is. Other services of the emulator run programs, or
read files, without checking permissions."""
_S3_SUBRESOURCES = frozenset().union(
    iam_actions._S3_QUERY_ACTIONS,
    iam_actions._S3_BUCKET_QUERY_ACTIONS,
    iam_actions._S3_OBJECT_QUERY_ACTIONS,
)
_S3_PARAMETERS = {
    *("list-type", "prefix", "delimiter", "max-keys", "continuation-token", "start-after", "fetch-owner"),
    *("encoding-type", "marker", "key-marker", "version-id-marker", "upload-id-marker", "max-uploads"),
    *("max-parts", "part-number-marker", "partNumber", "versionId", "x-id", "max-buckets", "bucket-region"),
    *("annotationName", "select-type"),
}
_s3_action = iam_actions._s3_action
_LAMBDA_ACTIONS = {"Invoke": "InvokeFunction", "InvokeAsync": "InvokeFunction"} | {
    "InvokeWithResponseStream": "InvokeFunction",
    "ListTags": "ListTags",
}
_UNCHECKED = {
    "cloudformation": ("Describe", "List", "Get", "Validate", "Estimate", "Detect"),
    # Others could start instances.
    "ec2": ("Describe",),
    "states": (
        "Describe",
        "List",
        "Get",
        "Start",
        "Stop",
        "Send",
        "Redrive",
        "Validate",
        "Tag",
        "Untag",
        "Delete",
    ),
    "events": (
        "Describe",
        "List",
        "PutEvents",
        "Test",
        "Delete",
        "Remove",
        "Enable",
        "Disable",
        "Tag",
        "Untag",
    ),
}
"""All actions without these prefixes make the emulator act without checking permissions."""
_EVENT_SOURCES = ("lambda:CreateEventSourceMapping", "lambda:UpdateEventSourceMapping")
_NO_ROLES_PASSED = ("iam", "sts", "s3", "logs", "sqs", "sns", "dynamodb")


def may_use(service: str) -> bool:
    """Whether roles may use this service of the emulator at all."""
    return service in _PROTOCOLS


def action_of(  # noqa: PLR0917 (as ministack gives it)
    service: str, method: str, path: str, headers: dict[str, str], body: bytes, query: dict[str, Any]
) -> str:
    """The only IAM action that the request needs, or one that only `*` allows."""
    namespace = iam_actions.SERVICE_TO_IAM_NAMESPACE.get(service, service)
    target = headers.get("x-amz-target", "")
    is_form = headers.get("content-type", "").startswith("application/x-www-form-urlencoded")
    protocol = _PROTOCOLS.get(service)
    # Handlers of such services read a form with any content type.
    read_form = is_form or protocol == "query"
    in_form = parse_qs(body.decode("utf-8", "replace")).get("Action", []) if read_form else []
    # `query` may contain the form, too
    in_query = [one for one in query.get("Action", []) if one not in in_form]
    found: str | None = None
    if protocol == "query" and not target:
        named = [*in_query, *in_form]
        found = named[0] if len(named) == 1 else None
    elif protocol == "target" and not in_query and not in_form and method == "POST":
        found = target.rpartition(".")[2]
    elif protocol == "rest" and not (target or in_query or in_form):
        found = _rest_action(service, method, path, query)
    return f"{namespace}:{found or UNKNOWN}"


def also_needed(  # noqa: PLR0917 (as ministack gives it)
    service: str, action: str, headers: dict[str, str], body: bytes, query: dict[str, Any], account: str
) -> list[tuple[str, str]]:
    """More actions, each with a resource, that the request needs its right on."""
    name = action.partition(":")[2]
    if (service in _UNCHECKED and not name.startswith(_UNCHECKED[service])) or action in _EVENT_SOURCES:
        # The emulator does not check permissions for the actions of a stack or a state machine: only callers
        # with all permissions may use them. Otherwise, cloudformation:CreateStack would be equivalent to
        # root.
        return [("*:*", "*"), ("iam:PassRole", "*")]
    if service in _NO_ROLES_PASSED or name.startswith("Invoke"):
        return []
    # Who may create a function, but not pass a role to it, must not get that role's rights so.
    return [
        ("iam:PassRole", role if role.startswith("arn:") else f"arn:aws:iam::{account}:role/{role}")
        for role in sorted(set(_roles_in(_content(headers, body, query))))
    ]


def _rest_action(service: str, method: str, path: str, query: dict[str, Any]) -> str | None:
    if service == "apigateway":
        return method
    if service == "s3":
        return s3_action(method, path, query)
    if service == "lambda":
        iam_actions._BOTOCORE_SERVICE_MAP.setdefault("lambda", ["lambda"])
    operation = iam_actions._match_rest_action(service, method, path, query)
    return _LAMBDA_ACTIONS.get(operation, operation) if operation else None


def s3_action(method: str, path: str, query: dict[str, Any]) -> str | None:
    """S3's action, without its prefix; None if the query could be read as two."""
    subresources = _S3_SUBRESOURCES.intersection(query)
    others = [name for name in query if name not in _S3_SUBRESOURCES | _S3_PARAMETERS]
    signing = ("x-amz-", "response-")  # parts of a signature, and headers of the answer
    if len(subresources) > 1 or not all(name.lower().startswith(signing) for name in others):
        return None
    found = _s3_action(method, path, query)
    return str(found) if found else None


def _content(headers: dict[str, str], body: bytes, query: dict[str, Any]) -> Any:
    if headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
        return {**query, **parse_qs(body.decode("utf-8", "replace"))}
    try:
        return [query, json.loads(body or b"{}")]
    except (ValueError, RecursionError):
        return query


def _roles_in(content: Any) -> Iterator[str]:
    """Values of all fields named `Role`, `jobRoleArn` and so on, however deep."""
    waiting = [content]
    while waiting:
        one = waiting.pop()
        if isinstance(one, list):
            waiting.extend(one)
        elif isinstance(one, dict):
            for name, value in one.items():
                values = value if isinstance(value, list) else [value]
                if name.lower().endswith(("role", "rolearn")):
                    yield from (text for text in values if isinstance(text, str) and text)
                waiting.append(value)
