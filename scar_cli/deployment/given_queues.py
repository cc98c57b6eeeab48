"""The existing queues that an FDL file names (`queue.arn`).

Lambda rejects some queues when a stack is deployed, and CloudFormation then fails halfway. Without a redrive
policy, a queue loses what cannot be processed.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import click

from scar_cli.aws.kept_queues import NO_SUCH_QUEUE
from scar_cli.aws.session import client, error_code, explained
from scar_cli.deployment.cdk import SynthesizedStack
from scar_cli.errors import UserError

_LEAST_TRIES = 5
"""AWS recommends this `maxReceiveCount`, because a throttled invocation counts."""


@dataclass(frozen=True)
class GivenQueue:
    """A queue that one function reads."""

    function: str
    arn: str
    timeout_s: int
    """Of the function."""


def given_queues(stack: SynthesizedStack) -> Iterator[GivenQueue]:
    """The existing queues that the functions of a stack read."""
    resources = stack.template.get("Resources", {})
    for resource in resources.values():
        arn = resource.get("Properties", {}).get("EventSourceArn")
        if resource.get("Type") == "AWS::Lambda::EventSourceMapping" and isinstance(arn, str):
            function = resources[resource["Properties"]["FunctionName"]["Ref"]]["Properties"]
            yield GivenQueue(str(function["FunctionName"]), arn, int(function["Timeout"]))


def check_given_queues(made: Sequence[SynthesizedStack]) -> None:
    """Check that Lambda can read the given queues, and warn of those that may lose events.

    If the caller may not ask, a note is printed instead.

    Raises:
        UserError: a queue does not exist, or its visibility timeout is too short.
    """
    for stack in made:
        for given in given_queues(stack):
            try:
                attributes = _attributes(client("sqs", region=stack.region), given)
            except UserError as error:
                click.echo(f"scar: The queue {given.arn} was not checked: {error.cause}", err=True)
                continue
            _check(given, attributes)


def _attributes(sqs: Any, given: GivenQueue) -> dict[str, str]:
    from botocore.exceptions import ClientError

    account, name = given.arn.split(":")[4:]
    with explained():
        try:
            url = sqs.get_queue_url(QueueName=name, QueueOwnerAWSAccountId=account)["QueueUrl"]
            wanted = ["VisibilityTimeout", "RedrivePolicy"]
            found = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=wanted)
        except ClientError as error:
            if error_code(error) in NO_SUCH_QUEUE:
                return {}
            raise
    return dict(found["Attributes"])


def _check(given: GivenQueue, attributes: dict[str, str]) -> None:
    if not attributes:
        raise UserError(
            f"The queue {given.arn} does not exist", f"Create it, or correct `queue.arn` of {given.function}"
        )
    if int(attributes["VisibilityTimeout"]) < given.timeout_s:
        raise UserError(
            f"The visibility timeout of {given.arn} ({attributes['VisibilityTimeout']} s) is less than the "
            f"timeout of the function {given.function} ({given.timeout_s} s)",
            f"Raise it, to {6 * given.timeout_s} s if possible",
        )
    redrive = json.loads(attributes.get("RedrivePolicy", "{}"))
    if int(redrive.get("maxReceiveCount", _LEAST_TRIES)) < _LEAST_TRIES:
        click.echo(
            f"scar: The queue {given.arn} moves an event away after {redrive['maxReceiveCount']} attempts, "
            f"and throttled invocations count: raise `maxReceiveCount` to at least {_LEAST_TRIES}",
            err=True,
        )
    elif not redrive:
        click.echo(
            f"scar: The queue {given.arn} has no redrive policy: an event of {given.function} that cannot be "
            "processed is tried until it expires, and is then lost",
            err=True,
        )
