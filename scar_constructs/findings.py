"""Acknowledged findings of cdk-nag and the CDK, on the construct that they are about, each with its reason.

The CDK keeps such acknowledgements by itself (`Validations`), so that cdk-nag is needed only in the tests,
which run it.
"""

from __future__ import annotations

import re
from typing import Any

from aws_cdk import Acknowledgment, Names, Reference, Stack, Tokenization, Validations
from constructs import IConstruct

_NO_PART_OF_AN_ID = re.compile(r"[\s()\[\]{}$]")


def acknowledge(construct: IConstruct, rule: str, reason: str) -> None:
    """Acknowledge a rule's finding on this construct (or on its children), with a reason.

    :param rule: the rule's id, e.g. `AwsSolutions-S1`.
    """
    Validations.of(construct).acknowledge(Acknowledgment(id=rule, reason=reason))


def acknowledge_wildcard(construct: IConstruct, arn: str, reason: str) -> None:
    """Acknowledge that a policy's resource ends in `*`, with a reason.

    :param arn: the resource as in the policy's statement; may contain tokens.
    """
    resource = _flat(Stack.of(construct).resolve(arn))
    if Stack.of(construct).nested:
        resource = _with_parameters(construct, arn, resource)
    # The CDK rejects an id with single brackets, and one with a space matches nothing. Folders can have such
    # # names; their findings remain for those who run cdk-nag.
    if not _NO_PART_OF_AN_ID.search(resource):
        acknowledge(construct, f"AwsSolutions-IAM5[Resource::{resource}]", reason)


def _with_parameters(construct: IConstruct, arn: str, flat: str) -> str:
    """In a nested stack, attributes of resources of other stacks are parameters."""
    here = Stack.of(construct).node.path
    for token in Tokenization.reverse_string(arn).tokens:
        if isinstance(token, Reference) and Stack.of(token.target).node.path != here:
            name = f"referenceto{Names.node_unique_id(token.target.node)}{token.display_name}"
            flat = flat.replace(_flat(Stack.of(construct).resolve(token)), f"<{name}>")
    return flat


def _flat(value: Any) -> str:
    """A resolved value in the words of cdk-nag's findings: `<LogicalId.Arn>/folder/*`."""
    match value:
        case {"Fn::Join": [str(delimiter), list(parts)]}:
            return delimiter.join(_flat(part) for part in parts)
        case {"Fn::GetAtt": [resource, attribute]}:
            return f"<{resource}.{attribute}>"
        case {"Fn::Sub": str(text)}:
            return re.sub(r"\$\{([^}]+)\}", r"<\1>", text)
        case {"Ref": name}:
            return f"<{name}>"
        case _:
            return str(value)
