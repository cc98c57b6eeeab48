"""What is deployed: read from the `ScarWorkflow` output of CloudFormation stacks, never guessed from names.

Verbs choose among it by an FDL file, by a function's name, or take all of it.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, TypedDict, TypeVar
from urllib.parse import urlsplit

import click

from scar_cli.aws.session import LOOPBACK, client, explained
from scar_cli.errors import UserError
from scar_cli.table import takes_colours

if TYPE_CHECKING:
    from fdl_schemas.model import Workflow

OUTPUT = "ScarWorkflow"
"""The output in which a stack tells what it holds, as JSON."""

_DESCRIPTION = "SCAR workflow "
"""What the description of a stack begins with; the FDL file's stem and a colon follow."""
_GONE = ("DELETE_COMPLETE", "DELETE_IN_PROGRESS", "REVIEW_IN_PROGRESS")
_TEXTS = ("name", "mode", "log_group", "failure_queue_url")
_PATHS = ("inputs", "outputs")
_Command = TypeVar("_Command", bound=Callable[..., Any])


@dataclass(frozen=True)
class DeployedFunction:
    """One function of a stack, as the stack's output tells of it."""

    name: str
    stack: str
    region: str
    mode: str
    log_group: str
    failure_queue_url: str
    image: str | None = None
    inputs: tuple[str, ...] = ()
    """`bucket/folder`, with the buckets' real names."""
    outputs: tuple[str, ...] = ()
    job_queue: str | None = None
    job_definition: str | None = None
    batch_log_group: str | None = None
    api_url: str | None = None
    api_key_id: str | None = None
    assembled_image: str | None = None
    """URI, with its digest, of the image that Lambda or Batch runs."""
    image_digest: str | None = None
    """Of the image that it was assembled from."""
    launch: str | None = None
    """ARN of the state machine of `scar-launch --distributed`."""


@dataclass(frozen=True)
class DeployedStack:
    """A stack that this project has made."""

    name: str
    region: str
    status: str
    workflow: str
    """Stem of the FDL file."""
    functions: tuple[DeployedFunction, ...]
    buckets: tuple[str, ...]


class Choice(TypedDict):
    """What the options of `selects_functions` say."""

    fdl: str | None
    name: str | None
    stack: str | None


def selects_functions(command: _Command) -> _Command:
    """The options -f, -n and --stack, which `selected` takes."""
    command = click.option("--stack", metavar="STACK", help="Only what this stack holds.")(command)
    command = click.option("-n", "--name", metavar="FUNCTION", help="The function of this name.")(command)
    return click.option(
        "-f", "--file", "--conf-file", "fdl", metavar="FILE", help="What this FDL file has deployed."
    )(command)


def stacks(regions: Sequence[str | None] = (None,)) -> list[DeployedStack]:
    """All stacks of the regions (None: the session's own) that this project has made, by name.

    Raises:
        UserError: AWS cannot be asked, or a stack's output cannot be read.
    """
    found = {}
    for region in regions:
        cloudformation = client("cloudformation", region=region)
        here = cloudformation.meta.region_name
        with explained():
            for page in cloudformation.get_paginator("describe_stacks").paginate():
                for stack in page["Stacks"]:
                    if _is_workflow(stack) and stack["StackStatus"] not in _GONE:
                        found[here, stack["StackName"]] = _read(stack, here)
    return [found[key] for key in sorted(found)]


def selected_stacks(fdl: str | None, stack: str | None = None) -> list[DeployedStack]:
    """The stacks that an FDL file of that name has made, or the one that is named, or all.

    Raises:
        UserError: there is none, or another file has made it; or the FDL file cannot be used.
    """
    workflow = workflow_of(fdl) if fdl is not None else None
    regions: list[str | None] = [None]
    names = set()
    if workflow is not None:
        regions += sorted({one.region for one in workflow.functions if one.region is not None})
        names = {function.name for function in workflow.functions}
    everything = stacks(regions)
    if stack is not None:
        chosen = [one for one in everything if one.name == stack]
        if not chosen:
            raise UserError(f"There is no stack {stack} of a workflow here", _known(everything))
        return chosen
    if workflow is None:
        return everything
    holding = [one for one in everything if any(function.name in names for function in one.functions)]
    own = [one for one in everything if one.workflow == workflow.name]
    # One that holds none: its creation may have failed, or all of its functions been renamed.
    chosen = [one for one in holding if one.workflow in (workflow.name, "")] or own
    if not chosen and holding:
        other = holding[0]
        shared = ", ".join(function.name for function in other.functions if function.name in names)
        raise UserError(
            f"{shared} is deployed, but by another FDL file ({other.workflow}), as the stack {other.name}",
            f"Choose that by --stack {other.name} in place of -f",
        )
    if not chosen:
        raise UserError(f"{fdl} is not deployed here", f"Deploy it: scar init -f {fdl}")
    return chosen


def selected(fdl: str | None, name: str | None, stack: str | None = None) -> list[DeployedFunction]:
    """The functions that the options of `selects_functions` choose; all, if none is given.

    Raises:
        UserError: nothing fits, or the FDL file and what is deployed differ.
    """
    found = [function for one in selected_stacks(fdl, stack) for function in one.functions]
    if fdl is not None:
        wanted = {function.name for function in workflow_of(fdl).functions}
        missing = sorted(wanted - {function.name for function in found})
        found = [function for function in found if function.name in wanted]
        if missing and (name is None or name in missing):
            raise UserError(
                f"{', '.join(missing)} of {fdl} is not deployed, though other functions of it are",
                f"Deploy the file as it is now: scar init -f {fdl}",
            )
    if name is None:
        return found
    named = [function for function in found if function.name == name]
    if not named:
        known = ", ".join(function.name for function in found[:20])
        where = f" by {fdl}" if fdl is not None else " here"
        raise UserError(
            f"There is no function {name} deployed{where}",
            f"There are: {known}" if known else "Deploy its FDL file: scar init -f FILE",
        )
    return named


def one_selected(
    fdl: str | None,
    name: str | None,
    stack: str | None = None,
    fits: Callable[[DeployedFunction], bool] = lambda _function: True,
) -> DeployedFunction:
    """The one function that the options choose, and that fits where several would be chosen.

    Raises:
        UserError: none, or several.
    """
    found = selected(fdl, name, stack)
    if name is None and len(found) > 1:
        found = [function for function in found if fits(function)] or found
    if len(found) == 1:
        return found[0]
    if not found:
        raise UserError("No function is deployed here", "Deploy one: scar init -f FILE")
    raise UserError(
        f"There are several functions: {', '.join(function.name for function in found[:20])}",
        "Say which one by -n",
    )


def reachable_url(api_url: str, endpoint: str) -> str:
    """The address of an HTTP endpoint: the stack's, or where the embedded cloud has it."""
    address, cloud = urlsplit(api_url), urlsplit(endpoint)
    api, is_aws, _rest = (address.hostname or "").partition(".execute-api.")
    if not is_aws or cloud.hostname not in LOOPBACK:
        return api_url
    return f"{endpoint.rstrip('/')}/_aws/execute-api/{api}{address.path}"


def workflow_of(fdl: str) -> Workflow:
    """The workflow of an FDL file; what is wrong with it is said on standard error.

    Raises:
        click.exceptions.Exit: it has errors.
    """
    from fdl_schemas.diagnostics.diagnostic import FdlError
    from fdl_schemas.load import load_workflow

    try:
        return load_workflow(fdl)
    except FdlError as error:
        click.echo(error.render(color=takes_colours(sys.stderr)), err=True)
        raise click.exceptions.Exit(2) from error


def _is_workflow(stack: dict[str, Any]) -> bool:
    """Whether this project made the stack. One whose creation failed has no outputs, but its tag."""
    tags = {tag["Key"]: tag["Value"] for tag in stack.get("Tags", [])}
    described = str(stack.get("Description", "")).startswith(_DESCRIPTION)
    return _summary(stack) is not None or (tags.get("createdby") == "scar" and described)


def _summary(stack: dict[str, Any]) -> str | None:
    for output in stack.get("Outputs", []):
        if output["OutputKey"] == OUTPUT:
            return str(output["OutputValue"])
    return None


def _read(stack: dict[str, Any], region: str) -> DeployedStack:
    summary = _summary(stack) or '{"functions": [], "buckets": []}'
    name = str(stack["StackName"])
    try:
        content = json.loads(summary)
        functions = tuple(_function(entry, name, region) for entry in content["functions"])
        buckets = tuple(str(bucket) for bucket in content["buckets"])
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise UserError(
            f"The output {OUTPUT} of the stack {name} cannot be read",
            "Another version has deployed it: deploy it again with this one",
        ) from None
    described = str(stack.get("Description", ""))
    workflow = described.removeprefix(_DESCRIPTION).partition(":")[0] if _DESCRIPTION in described else ""
    return DeployedStack(name, region, str(stack["StackStatus"]), workflow, functions, buckets)


def _function(entry: dict[str, Any], stack: str, region: str) -> DeployedFunction:
    content: dict[str, Any] = {one.name: entry.get(one.name) for one in fields(DeployedFunction)}
    content |= {key: str(entry[key]) for key in _TEXTS} | {key: tuple(entry.get(key, ())) for key in _PATHS}
    return DeployedFunction(**{**content, "stack": stack, "region": region})


def _known(everything: list[DeployedStack]) -> str:
    names = ", ".join(one.name for one in everything[:20])
    return f"There are: {names}" if names else "Deploy an FDL file: scar init -f FILE"
