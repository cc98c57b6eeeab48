"""`scar rm`: delete stacks, and wait until they are gone. Their buckets stay, unless deployed to go too."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import click

from scar_cli.aws.deployed import DeployedStack, of_stage, selected, selected_stacks
from scar_cli.aws.session import client, explained
from scar_cli.commands.init import confirm
from scar_cli.errors import UserError
from scar_cli.examples import examples
from scar_cli.table import table

_LOOK_EVERY_S = 1.0
_LONGEST_S = 3600.0


@click.command("rm", epilog=examples("scar rm -f workflow.yaml", "scar rm -n scar-cowsay", "scar rm -a"))
@click.option(
    "-f", "--file", "--conf-file", "fdl", metavar="FILE", help="Delete what this FDL file has deployed."
)
@click.option("-n", "--name", metavar="FUNCTION", help="Delete the function of this name.")
@click.option("--stack", metavar="STACK", help="Delete this stack.")
@of_stage
@click.option("-a", "--all", "everything", is_flag=True, help="Delete all workflows.")
@click.option("-y", "--yes", is_flag=True, help="Delete without asking.")
@click.option("-v", "--verbose", is_flag=True, help="Show what else goes with the functions.")
@click.option("-j", "--json", "as_json", is_flag=True, help="Answer in JSON.")
def command(
    *,
    fdl: str | None,
    name: str | None,
    stack: str | None,
    stage: str | None,
    everything: bool,
    yes: bool,
    verbose: bool,
    as_json: bool,
) -> int:
    """Delete workflows. Buckets and their files are kept, but for stacks deployed with -c removal=destroy."""
    if sum((fdl is not None, name is not None, stack is not None, everything)) != 1:
        raise UserError("There has to be one of -f, -n, --stack and -a", "Say what is to be deleted")
    chosen = _chosen(fdl, name, stack, stage, everything=everything)
    if not chosen:
        click.echo("No workflow is deployed here.", err=True)
    elif not yes:
        for one in chosen:
            functions = ", ".join(function.name for function in one.functions) or "no functions"
            click.echo(f"{one.name} in {one.region}: {functions}", err=True)
        confirm("Delete this?" if len(chosen) == 1 else f"Delete these {len(chosen)} stacks?")
    deleted: list[dict[str, Any]] = []
    try:
        for one in reversed(chosen):
            if verbose:
                for line in _resources(one):
                    click.echo(line, err=as_json)
            delete(one)
            deleted.append(
                {"Stack": one.name, "Region": one.region, "Functions": [each.name for each in one.functions]}
            )
            if not as_json:
                click.echo(f"Deleted {one.name}.")
    finally:
        kept = list(dict.fromkeys(bucket for one in chosen for bucket in _still_there(one)))
        if as_json:
            click.echo(json.dumps({"Deleted": deleted, "Kept_buckets": kept}))
    if kept and not as_json:
        click.echo(f"Kept with their files: {', '.join(kept)}")
    return 0


def delete(stack: DeployedStack) -> None:
    """Delete a stack, and wait until it is gone.

    Raises:
        UserError: it cannot be deleted; with CloudFormation's reasons.
        KeyboardInterrupt: it goes on, which has been said.
    """
    cloudformation = client("cloudformation", region=stack.region)
    with explained():
        found = cloudformation.describe_stacks(StackName=stack.name)["Stacks"]
        identity = str(found[0]["StackId"])  # by which a stack is known when it is gone
        cloudformation.delete_stack(StackName=stack.name)
    try:
        _wait_until_gone(cloudformation, stack, identity)
    except KeyboardInterrupt:
        click.echo(f"CloudFormation goes on to delete {stack.name}.", err=True)
        raise


def _wait_until_gone(cloudformation: Any, stack: DeployedStack, identity: str) -> None:
    until = time.monotonic() + _LONGEST_S
    while time.monotonic() < until:
        state = "DELETE_COMPLETE"
        with explained("ValidationError"):  # there is no such stack any more
            state = cloudformation.describe_stacks(StackName=identity)["Stacks"][0]["StackStatus"]
        if state == "DELETE_COMPLETE":
            return
        if not state.startswith("DELETE_IN_PROGRESS"):
            raise UserError(
                f"{stack.name} could not be deleted: {_reasons(cloudformation, identity)}",
                "Put that right, and try again",
                exit_code=1,
            )
        time.sleep(_LOOK_EVERY_S)
    raise UserError(f"{stack.name} is still being deleted", "Look at CloudFormation's console", exit_code=1)


def _chosen(
    fdl: str | None, name: str | None, stack: str | None, stage: str | None, *, everything: bool
) -> list[DeployedStack]:
    """What the options select. Stacks of other CDK apps hold more than workflows, and are never deleted."""
    found = _of_function(name, stage) if name is not None else selected_stacks(fdl, stack, stage)
    foreign = next((one for one in found if one.is_foreign), None)
    if foreign is not None and not everything:
        raise UserError(
            f"The stack {foreign.name} belongs to another CDK app", "Delete it with that app: cdk destroy"
        )
    return [one for one in found if not one.is_foreign]


def _of_function(name: str, stage: str | None) -> list[DeployedStack]:
    """The stack of a function that is alone in it."""
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
            f"Take it out of the FDL file and deploy that, or delete all of them: "
            f"scar rm --stack {stack.name}",
        )
    return [stack]


def _resources(stack: DeployedStack) -> Iterator[str]:
    pages = client("cloudformation", region=stack.region).get_paginator("list_stack_resources")
    with explained():
        rows = [
            (resource["ResourceType"], str(resource.get("PhysicalResourceId", "-")))
            for page in pages.paginate(StackName=stack.name)
            for resource in page["StackResourceSummaries"]
        ]
    yield from table(("RESOURCE", "NAME"), rows)


def _reasons(cloudformation: Any, identity: str) -> str:
    with explained():
        events = cloudformation.describe_stack_events(StackName=identity)["StackEvents"]
    reasons = [
        f"{event['LogicalResourceId']}: {event.get('ResourceStatusReason', 'no reason given')}"
        for event in events
        if event["ResourceStatus"] == "DELETE_FAILED"
    ]
    return "; ".join(reasons[:3]) or "CloudFormation gives no reason"


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
