"""Services that a template trusts: roles that they assume, and queues, images and functions that they use."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

_SOURCES = {"aws:sourceaccount", "aws:sourcearn"}
_WITHOUT_SOURCE = {
    "ec2.amazonaws.com": (
        "EC2 assumes the role of an instance profile for an instance of its own account, and sends no source."
    ),
    "apigateway.amazonaws.com": (
        "AWS documents no source for the role with which API Gateway writes the logs of an account, and a "
        "role can only be passed within its account."
    ),
}
"""Services that assume a role without telling the resource for which they do so → why this is accepted."""


def unconditional_trusts(template: dict[str, Any]) -> Iterator[str]:
    """Each trust that a service could use for a resource of another account."""
    for name, resource in template["Resources"].items():
        properties = resource.get("Properties", {})
        if resource["Type"] == "AWS::Lambda::Permission":
            service = properties["Principal"]
            given = {f"aws:{key.lower()}" for key in ("SourceAccount", "SourceArn") if key in properties}
            if _is_open(service, given):
                yield f"{name}: {service}"
            continue
        for statement in _statements(properties):
            for service in _services(statement):
                if resource["Type"] == "AWS::IAM::Role" and service in _WITHOUT_SOURCE:
                    continue
                conditions = statement.get("Condition", {}).values()
                if _is_open(service, {key.lower() for condition in conditions for key in condition}):
                    yield f"{name}: {service}"


def _is_open(service: str, given: set[str]) -> bool:
    # The ARN of a bucket contains no account: a bucket that was deleted can be another account's tomorrow.
    return not given & ({"aws:sourceaccount"} if service == "s3.amazonaws.com" else _SOURCES)


def _statements(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        if value.get("Effect") == "Allow":
            yield value
        for below in value.values():
            yield from _statements(below)
    elif isinstance(value, list):
        for below in value:
            yield from _statements(below)


def _services(statement: dict[str, Any]) -> list[str]:
    principal = statement.get("Principal", {})
    services = principal.get("Service", []) if isinstance(principal, dict) else []
    return services if isinstance(services, list) else [services]
