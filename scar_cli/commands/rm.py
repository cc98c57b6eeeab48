"""`scar rm`: delete stacks, and wait until they are deleted. Their buckets are kept by default."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from functools import partial
from typing import Any, Unpack

import click

from scar_cli.aws.deployed import (
    NESTED_STACK,
    DeployedFunction,
    DeployedStack,
    resources_of_stack,
    selected,
    selected_stacks,
)
from scar_cli.aws.failure_queues import depth
from scar_cli.aws.kept_queues import NO_SUCH_QUEUE
from scar_cli.aws.session import client, explained
from scar_cli.errors import UserError
from scar_cli.examples import with_examples
from scar_cli.options import Choice, confirm, confirms, prints_json, selects_functions
from scar_cli.table import counted, table

_LOOK_EVERY_S = 1.0
_LONGEST_S = 3600.0


@with_examples("rm", "scar rm -f workflow.yaml", "scar rm -n scar-cowsay", "scar rm -a")
@selects_functions
@click.option("-a", "--all", "everything", is_flag=True, help="Delete all workflows.")
@confirms
@click.option("-v", "--verbose", is_flag=True, help="Show all resources that are deleted.")
@prints_json
def command(*, everything: bool, yes: bool, verbose: bool, as_json: bool, **choice: Unpack[Choice]) -> int:
    """Delete deployed workflows.

    Buckets and their files are kept, unless the stack was deployed with -c removal=destroy. Events in input
    and failure queues are deleted.
    """
    if sum(choice[key] is not None for key in ("fdl", "name", "stack")) + everything != 1:
        raise UserError("Exactly one of -f, -n, --stack and -a is required", "Choose what to delete")
    chosen = _chosen(everything=everything, **choice)
    if not chosen:
        click.echo("No workflow is deployed here.", err=True)
    failed = {function: number for one in chosen for function, number in _failed_events(one)}
    if chosen and not yes:
        _ask(chosen, failed, _waiting_files(chosen))
    deleted: list[dict[str, Any]] = []
    try:
        for one in reversed(chosen):
            if verbose:
                for line in _resources(one):
                    click.echo(line, err=as_json)
            delete(one)
            dropped = sum(failed.get(function, 0) for function in one.functions)
            deleted.append(
                {
                    "Stack": one.name,
                    "Region": one.region,
                    "Functions": [each.name for each in one.functions],
                    "Failed_events": dropped,
                }
            )
            if not as_json:
                with_events = f" with {counted(dropped, 'failed event')}" if dropped else ""
                click.echo(f"Deleted {one.name}{with_events}.")
    finally:
        kept = list(dict.fromkeys(bucket for one in chosen for bucket in _still_there(one)))
        if as_json:
            click.echo(json.dumps({"Deleted": deleted, "Kept_buckets": kept}))
    if kept and not as_json:
        click.echo(f"Kept with their files: {', '.join(kept)}")
    return 0


def _ask(
    chosen: list[DeployedStack],
    failed: Mapping[DeployedFunction, int],
    waiting: Mapping[DeployedFunction, int],
) -> None:
    """Show what would be deleted, and ask; no ends the command."""
    for one in chosen:
        functions = ", ".join(function.name for function in one.functions) or "no functions"
        click.echo(f"{one.name} in {one.region}: {functions}", err=True)
        for function in one.functions:
            if number := failed.get(function):
                click.echo(
                    f"  The failure queue of {function.name} holds {counted(number, 'failed event')}, and is "
                    f"deleted, too. To run them again first: scar retry -n {function.name}",
                    err=True,
                )
            if number := waiting.get(function):
                click.echo(
                    f"  The input queue of {function.name} holds {counted(number, 'event')} of new files, "
                    "and is deleted, too.",
                    err=True,
                )
    confirm("Delete this?" if len(chosen) == 1 else f"Delete these {len(chosen)} stacks?")


def delete(stack: DeployedStack) -> None:
    """Delete a stack with its queues and the bucket of their events, and wait until it is deleted.

    CloudFormation keeps queues and bucket, so that `cdk destroy` loses no events.

    Raises:
        UserError: it cannot be deleted; with CloudFormation's reasons.
        KeyboardInterrupt: CloudFormation continues, which was reported.
    """
    cloudformation = client("cloudformation", region=stack.region)
    with explained():
        found = cloudformation.describe_stacks(StackName=stack.name)["Stacks"]
        identity = str(found[0]["StackId"])  # identifies a deleted stack
        cloudformation.delete_stack(StackName=stack.name)
    try:
        _wait_until_gone(cloudformation, stack, identity)
    except KeyboardInterrupt:
        click.echo(f"CloudFormation continues to delete {stack.name}.", err=True)
        raise
    for function in stack.functions:
        for what, url in (("input", function.input_queue_url), ("failure", function.failure_queue_url)):
            if url is not None:
                _try_to_delete(f"{what} queue", url, partial(_delete_queue, function.region, url))
    for bucket in {function.event_bucket: None for function in stack.functions if function.event_bucket}:
        _try_to_delete("bucket of events", bucket, partial(_delete_bucket, stack.region, bucket))


def _try_to_delete(what: str, name: str, delete_it: Callable[[], None]) -> None:
    """Delete what remains of a stack. It costs nothing, so a failure is only reported."""
    try:
        delete_it()
    except UserError as error:
        click.echo(f"scar: the {what} {name} is kept: {error.cause}", err=True)


def _delete_queue(region: str, url: str) -> None:
    with explained(*NO_SUCH_QUEUE):
        client("sqs", region=region).delete_queue(QueueUrl=url)


def _delete_bucket(region: str, bucket: str) -> None:
    s3 = client("s3", region=region)
    with explained("NoSuchBucket", "404"):
        for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket):
            if keys := [{"Key": found["Key"]} for found in page.get("Contents", ())]:
                s3.delete_objects(Bucket=bucket, Delete={"Objects": keys, "Quiet": True})
        s3.delete_bucket(Bucket=bucket)


def _wait_until_gone(cloudformation: Any, stack: DeployedStack, identity: str) -> None:
    until = time.monotonic() + _LONGEST_S
    while time.monotonic() < until:
        state = "DELETE_COMPLETE"
        with explained("ValidationError"):  # the stack does not exist any more
            state = cloudformation.describe_stacks(StackName=identity)["Stacks"][0]["StackStatus"]
        if state == "DELETE_COMPLETE":
            return
        if not state.startswith("DELETE_IN_PROGRESS"):
            raise UserError(
                f"{stack.name} could not be deleted: {_reasons(cloudformation, identity)}",
                "Fix the cause, and try again",
                exit_code=1,
            )
        time.sleep(_LOOK_EVERY_S)
    raise UserError(f"{stack.name} is still being deleted", "Check the CloudFormation console", exit_code=1)


def _chosen(
    fdl: str | None, name: str | None, stack: str | None, stage: str | None, *, everything: bool
) -> list[DeployedStack]:
    """The selected stacks. Those of other CDK apps contain more than workflows, and are never deleted."""
    found = _of_function(name, stage) if name is not None else selected_stacks(fdl, stack, stage)
    foreign = next((one for one in found if one.is_foreign), None)
    if foreign is not None and not everything:
        raise UserError(
            f"The stack {foreign.name} belongs to another CDK app", "Delete it with that app: cdk destroy"
        )
    return [one for one in found if not one.is_foreign]


def _of_function(name: str, stage: str | None) -> list[DeployedStack]:
    """The stack of a function that is the only one in it."""
    (function,) = selected(None, name, None, stage)[:1]
    (stack,) = [
        one
        for one in selected_stacks(None, function.stack)
        if one.region == function.region and function in one.functions
    ]
    others = [one.name for one in stack.functions if one != function]
    if others:
        raise UserError(
            f"{function.name} is deployed together with {', '.join(others)}",
            f"Remove it from the FDL file and deploy that, or delete all of them: "
            f"scar rm --stack {stack.name}",
        )
    return [stack]


def _failed_events(stack: DeployedStack) -> Iterator[tuple[DeployedFunction, int]]:
    """Number of events in the failure queue of each function, as far as the queues can be read."""
    sqs = client("sqs", region=stack.region)
    for function in stack.functions:
        with suppress(UserError):
            yield function, depth(sqs, function.failure_queue_url)


def _waiting_files(stacks: Iterable[DeployedStack]) -> dict[DeployedFunction, int]:
    """Number of messages in the input queue of each function, as far as the queues can be read."""
    found = {}
    for stack in stacks:
        for function in stack.functions:
            if function.input_queue_url is not None:
                with suppress(UserError):
                    sqs = client("sqs", region=stack.region)
                    found[function] = depth(sqs, function.input_queue_url)
    return found


def _resources(stack: DeployedStack) -> Iterator[str]:
    """A line for each resource, also of nested stacks."""
    cloudformation = client("cloudformation", region=stack.region)
    left, rows = [stack.name], []
    while left:
        for resource in resources_of_stack(cloudformation, left.pop(0)):
            identity = str(resource.get("PhysicalResourceId", "-"))
            rows.append((resource["ResourceType"], identity))
            if resource["ResourceType"] == NESTED_STACK and identity != "-":
                left.append(identity)
    yield from table(("RESOURCE", "NAME"), rows)


def _reasons(cloudformation: Any, identity: str) -> str:
    with explained():
        events = cloudformation.describe_stack_events(StackName=identity)["StackEvents"]
    reasons = [
        f"{event['LogicalResourceId']}: {event.get('ResourceStatusReason', 'no reason given')}"
        for event in events
        if event["ResourceStatus"] == "DELETE_FAILED"
    ]
    return "; ".join(reasons[:3]) or "CloudFormation gave no reason"


def _still_there(stack: DeployedStack) -> list[str]:
    from botocore.exceptions import BotoCoreError, ClientError

    s3 = client("s3", region=stack.region)
    found = []
    for bucket in stack.buckets:
        try:
            s3.head_bucket(Bucket=bucket)
        except (ClientError, BotoCoreError):
            continue
        found.append(bucket)
    return found
