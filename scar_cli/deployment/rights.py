"""The permissions in a CloudFormation template, each as one sentence: who may do what, on what."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from scar_cli.deployment.template import Names

_SERVICES = "Service"
_QUEUE_POLICY = "AWS::SQS::QueuePolicy"


def rights_of(names: Names) -> Iterator[str]:
    """All of them: policies anywhere in a resource, managed policies, permissions of Lambda, open ports."""
    for identity, resource in names.resources.items():
        properties = resource.get("Properties") or {}
        kind = resource.get("Type")
        if kind == "AWS::Lambda::Permission":
            yield from _permission(names, properties)
        elif kind == "AWS::EC2::SecurityGroup":
            yield from _ports(names, identity, properties)
        holders = [names.text(role) for role in properties.get("Roles") or ()] or [names.of(identity)]
        for policy in properties.get("ManagedPolicyArns") or ():
            yield f"{names.of(identity)} has the policy {_last(names.text(policy))}"
        for statement in _statements(properties):
            if kind == _QUEUE_POLICY and statement.get("Resource") == "*":
                for queue in properties.get("Queues") or ():  # it means the queue that has the policy
                    yield _sentence(names, {**statement, "Resource": queue}, names.of(identity))
                continue
            for holder in holders:
                yield _sentence(names, statement, holder)


def _statements(value: object) -> Iterator[Mapping[str, Any]]:
    """Statements of all policy documents below a value."""
    if isinstance(value, Mapping):
        found = value.get("Statement")
        if isinstance(found, Mapping):
            found = [found]
        if isinstance(found, list):
            yield from (one for one in found if isinstance(one, Mapping) and "Effect" in one)
            return
        for below in value.values():
            yield from _statements(below)
    elif isinstance(value, list):
        for below in value:
            yield from _statements(below)


def _sentence(names: Names, statement: Mapping[str, Any], holder: str) -> str:
    principal = statement.get("Principal", statement.get("NotPrincipal"))
    who = holder if principal is None else _principals(names, principal)
    if "NotPrincipal" in statement:
        who = f"everybody but {who}"
    may = "may" if statement["Effect"] == "Allow" else "may not"
    if (who, may) == ("everybody", "may not"):
        who, may = "nobody", "may"
    what = _several(names, statement.get("Action", statement.get("NotAction")))
    if "NotAction" in statement:
        what = f"do anything but {what}"
    resource = statement.get("Resource", statement.get("NotResource"))
    where = holder if resource is None else _several(names, resource)
    if "NotResource" in statement:
        where = f"anything but {where}"
    return f"{who} {may} {what} on {where}{_condition(names, statement.get('Condition'))}"


def _principals(names: Names, principal: object) -> str:
    if principal in ("*", {"AWS": "*"}):
        return "everybody"
    if not isinstance(principal, Mapping):
        return names.text(principal)
    if not all(isinstance(value, (str, list, Mapping)) for value in principal.values()):
        return names.text(principal)
    return ", ".join(
        f"the service {_several(names, value)}" if kind == _SERVICES else _several(names, value)
        for kind, value in principal.items()
    )


def _permission(names: Names, properties: Mapping[str, Any]) -> Iterator[str]:
    who = _several(names, properties.get("Principal"))
    conditions = ", ".join(
        f"{key} is {names.text(properties[key])}"
        for key in ("SourceArn", "SourceAccount")
        if key in properties
    )
    function = _several(names, properties.get("FunctionName"))
    who = "everybody" if who == "*" else f"the service {who}" if "." in who else who
    yield f"{who} may {properties.get('Action')} on {function}{f' if {conditions}' if conditions else ''}"


def _ports(names: Names, identity: str, properties: Mapping[str, Any]) -> Iterator[str]:
    for key, verb in (("SecurityGroupIngress", "lets in"), ("SecurityGroupEgress", "lets out")):
        for rule in properties.get(key) or ():
            ends = [names.text(rule[name]) for name in ("CidrIp", "CidrIpv6") if name in rule] or ["others"]
            ports = "all ports" if rule.get("IpProtocol") in (-1, "-1") else _range(rule)
            yield f"{names.of(identity)} {verb} {' and '.join(ends)} on {ports}"


def _range(rule: Mapping[str, Any]) -> str:
    first, last = rule.get("FromPort"), rule.get("ToPort")
    return (
        f"{rule.get('IpProtocol')} {first}" if first == last else f"{rule.get('IpProtocol')} {first}-{last}"
    )


def _condition(names: Names, condition: object) -> str:
    if not isinstance(condition, Mapping) or not condition:
        return ""
    told = [
        f"{key} {_operator(str(operator))} {_several(names, value)}"
        for operator, keys in condition.items()
        if isinstance(keys, Mapping)
        for key, value in keys.items()
    ]
    return f" if {' and '.join(told)}" if told else f" if {names.text(condition)}"


def _operator(operator: str) -> str:
    plain = ("Bool", "StringEquals", "ArnEquals", "NumericEquals")
    return "is" if operator in plain else "is like" if operator in ("ArnLike", "StringLike") else operator


def _several(names: Names, value: object) -> str:
    if isinstance(value, list):
        return ", ".join(names.text(one) for one in value)
    return names.text(value)


def _last(arn: str) -> str:
    return arn.rpartition("/")[2]
