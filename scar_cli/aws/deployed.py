"""What is deployed: read from the `ScarWorkflow` output of CloudFormation stacks, never guessed from names.

Verbs choose among it by an FDL file, by a function's name, or take all of it.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, TypedDict, TypeVar
from urllib.parse import urlsplit

import click

from fdl_schemas.stages import stage_problem, staged
from scar_cli.aws.session import LOOPBACK, client, explained
from scar_cli.errors import UserError
from scar_cli.table import takes_colours

if TYPE_CHECKING:
    from fdl_schemas.model import Workflow

OUTPUT = "ScarWorkflow"
"""The output in which a stack tells what it holds, as JSON."""

_OUTPUTS = re.compile(OUTPUT + "([0-9a-f]{8})?")
"""A stack of another CDK app has one for each of its workflows, see `scar_constructs.ScarWorkflow`."""
_DESCRIPTION = re.compile(r"SCAR workflow (?P<workflow>.*?)(?: \(stage (?P<stage>[a-z0-9-]+)\))?: ")
"""What the description of a stack begins with. The workflow is the FDL file's stem."""
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
    stage: str | None = None
    """Part of the name."""


@dataclass(frozen=True)
class DeployedStack:
    """A workflow in a stack: one that this project has made, or one of another CDK app."""

    name: str
    region: str
    status: str
    workflow: str
    """Stem of the FDL file."""
    functions: tuple[DeployedFunction, ...]
    buckets: tuple[str, ...]
    stage: str | None = None
    is_foreign: bool = False
    """A stack of another CDK app, which may hold other resources and several workflows."""


def of_stage(command: _Command) -> _Command:
    """The option --stage: None, or a valid stage."""
    return click.option(
        "--stage",
        metavar="STAGE",
        callback=_checked_stage,
        help="Stage, such as dev; part of the names of what is deployed in it.",
    )(command)


def _checked_stage(_ctx: click.Context, _option: click.Parameter, value: str | None) -> str | None:
    if value is not None and (problem := stage_problem(value)):
        raise UserError(f"Invalid stage {value!r}: {problem}")
    return value


class Choice(TypedDict):
    """What the options of `selects_functions` say."""

    fdl: str | None
    name: str | None
    stack: str | None
    stage: str | None


def selects_functions(command: _Command) -> _Command:
    """The options -f, -n, --stack and --stage, which `selected` takes."""
    command = of_stage(command)
    command = click.option("--stack", metavar="STACK", help="Only what this stack holds.")(command)
    command = click.option("-n", "--name", metavar="FUNCTION", help="The function of this name.")(command)
    return click.option(
        "-f", "--file", "--conf-file", "fdl", metavar="FILE", help="What this FDL file has deployed."
    )(command)


def stacks(regions: Sequence[str | None] = (None,)) -> list[DeployedStack]:
    """All workflows in the stacks of the regions (None: the session's own), by name of the stack.

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
                    if stack["StackStatus"] not in _GONE:
                        found[here, stack["StackName"]] = _read(stack, here)
    return [one for key in sorted(found) for one in found[key]]


def selected_stacks(
    fdl: str | None, stack: str | None = None, stage: str | None = None
) -> list[DeployedStack]:
    """The stacks that an FDL file of that name has made, or the one that is named, or all.

    With a stage, `fdl` and `stack` are what they are without it, and only that stage is chosen. Without one,
    `fdl` chooses only what was deployed without a stage.

    Raises:
        UserError: there is none, or another file has made it; or the FDL file cannot be used.
    """
    workflow = workflow_of(fdl) if fdl is not None else None
    regions: list[str | None] = [None]
    names = set()
    if workflow is not None:
        regions += sorted({one.region for one in workflow.functions if one.region is not None})
        names = {staged(function.name, stage) for function in workflow.functions}
    everything = stacks(regions)
    if stack is not None:
        named = staged(stack, stage)
        chosen = [one for one in everything if one.name == named]
        if not chosen:
            raise UserError(f"There is no stack {named} of a workflow here", _known(everything))
        return chosen
    if workflow is None:
        return [one for one in everything if stage in (None, one.stage)]
    holding = [one for one in everything if any(function.name in names for function in one.functions)]
    own = [one for one in everything if one.workflow == workflow.name and one.stage == stage]
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
        raise _not_deployed(
            str(fdl), stage, [one.stage for one in everything if one.workflow == workflow.name]
        )
    return chosen


def _not_deployed(fdl: str, stage: str | None, stages: list[str | None]) -> UserError:
    if stage is not None:
        return UserError(
            f"{fdl} is not deployed here as stage {stage}", f"Deploy it: scar init -f {fdl} --stage {stage}"
        )
    if others := sorted({one for one in stages if one is not None}):
        return UserError(
            f"{fdl} is not deployed here without a stage",
            f"It is deployed as {', '.join(others[:20])}: add --stage {others[0]}",
        )
    return UserError(f"{fdl} is not deployed here", f"Deploy it: scar init -f {fdl}")


def selected(
    fdl: str | None, name: str | None, stack: str | None = None, stage: str | None = None
) -> list[DeployedFunction]:
    """The functions that the options of `selects_functions` choose; all, if none is given.

    With a stage, `name` is the one of the FDL file; without one, and without `fdl`, the deployed one.

    Raises:
        UserError: nothing fits, or the FDL file and what is deployed differ.
    """
    found = [function for one in selected_stacks(fdl, stack, stage) for function in one.functions]
    if name is not None:
        name = staged(name, stage)
    if fdl is not None:
        wanted = {staged(function.name, stage) for function in workflow_of(fdl).functions}
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
    stage: str | None = None,
    fits: Callable[[DeployedFunction], bool] = lambda _function: True,
) -> DeployedFunction:
    """The one function that the options choose, and that fits where several would be chosen.

    Raises:
        UserError: none, or several.
    """
    found = selected(fdl, name, stack, stage)
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


def _read(stack: dict[str, Any], region: str) -> list[DeployedStack]:
    """The workflows of a stack. One of this project whose creation failed has no outputs, but its tag."""
    described = _DESCRIPTION.match(str(stack.get("Description", "")))
    outputs = {output["OutputKey"]: str(output["OutputValue"]) for output in stack.get("Outputs", [])}
    summaries = {key: value for key, value in sorted(outputs.items()) if _OUTPUTS.fullmatch(key)}
    if not summaries and described and {"Key": "createdby", "Value": "scar"} in stack.get("Tags", []):
        summaries = {OUTPUT: '{"functions": [], "buckets": []}'}
    return [_read_output(stack, region, key, summary, described) for key, summary in summaries.items()]


def _read_output(
    stack: dict[str, Any], region: str, output: str, summary: str, described: re.Match[str] | None
) -> DeployedStack:
    name = str(stack["StackName"])
    try:
        content = json.loads(summary)
        # Stacks of older versions have the workflow's name in their description alone.
        workflow = content.get("workflow", described["workflow"] if described else "")
        stage = content.get("stage", described["stage"] if described else None)
        functions = tuple(_function(entry, name, region, stage) for entry in content["functions"])
        buckets = tuple(str(bucket) for bucket in content["buckets"])
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise UserError(
            f"The output {output} of the stack {name} cannot be read",
            "Another version has deployed it: deploy it again with this one",
        ) from None
    status = str(stack["StackStatus"])
    return DeployedStack(
        name, region, status, str(workflow), functions, buckets, stage, is_foreign=output != OUTPUT
    )


def _function(entry: dict[str, Any], stack: str, region: str, stage: str | None) -> DeployedFunction:
    content: dict[str, Any] = {one.name: entry.get(one.name) for one in fields(DeployedFunction)}
    content |= {key: str(entry[key]) for key in _TEXTS} | {key: tuple(entry.get(key, ())) for key in _PATHS}
    return DeployedFunction(**{**content, "stack": stack, "region": region, "stage": stage})


def _known(everything: list[DeployedStack]) -> str:
    names = ", ".join(one.name for one in everything[:20])
    return f"There are: {names}" if names else "Deploy an FDL file: scar init -f FILE"
