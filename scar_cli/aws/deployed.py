"""Deployed functions, read from the `ScarWorkflow` outputs of CloudFormation stacks, not guessed from names.

Commands select some of them by an FDL file, a function's name, a stack or a stage, or use all of them.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import click

from fdl_schemas.stages import staged
from scar_cli.aws.session import LOOPBACK, client, explained
from scar_cli.errors import UserError
from scar_cli.table import takes_colours

if TYPE_CHECKING:
    from fdl_schemas.model import Workflow

OUTPUT = "ScarWorkflow"
"""The output in which a stack describes its workflow, as JSON."""

_OUTPUTS = re.compile(OUTPUT + "([0-9a-f]{8})?")
"""A stack of another CDK app has one for each workflow in it, see `scar_constructs.ScarWorkflow`."""
_DESCRIPTION = re.compile(r"SCAR workflow (?P<workflow>.*?)(?: \(stage (?P<stage>[a-z0-9-]+)\))?: ")
"""The beginning of a stack's description. The workflow is the FDL file's stem."""
_GONE = ("DELETE_COMPLETE", "DELETE_IN_PROGRESS", "REVIEW_IN_PROGRESS")
NESTED_STACK = "AWS::CloudFormation::Stack"
_NAMES_SHOWN = 20
_TEXTS = ("name", "mode", "log_group", "failure_queue_url")
_LISTS = ("inputs", "outputs", "given_queue_urls")


@dataclass(frozen=True)
class DeployedFunction:
    """One function of a stack, as the stack's output describes it."""

    name: str
    stack: str
    region: str
    mode: str
    log_group: str
    failure_queue_url: str
    image: str | None = None
    inputs: tuple[str, ...] = ()
    """`bucket/folder`, with the real names of the buckets."""
    outputs: tuple[str, ...] = ()
    job_queue: str | None = None
    job_definition: str | None = None
    batch_log_group: str | None = None
    event_bucket: str | None = None
    """Bucket of the stack for events of jobs."""
    api_url: str | None = None
    api_key_id: str | None = None
    assembled_image: str | None = None
    """URI, with its digest, of the image that Lambda or Batch runs."""
    image_digest: str | None = None
    """Digest of the image that it was assembled from."""
    input_queue_url: str | None = None
    """Queue in which new files wait."""
    given_queue_urls: tuple[str, ...] = ()
    """Existing queues of the user with the same purpose."""
    launch: str | None = None
    """ARN of the state machine of `scar-launch --distributed`."""
    stage: str | None = None
    """Part of the name."""


@dataclass(frozen=True)
class DeployedStack:
    """A workflow in a stack, which belongs to this project or to another CDK app."""

    name: str
    region: str
    status: str
    workflow: str
    """Stem of the FDL file."""
    functions: tuple[DeployedFunction, ...]
    buckets: tuple[str, ...]
    stage: str | None = None
    is_foreign: bool = False
    """A stack of another CDK app, which may contain other resources and several workflows."""


def stacks(regions: Sequence[str | None] = (None,)) -> list[DeployedStack]:
    """All workflows in the stacks of the regions (None: the session's region), sorted by name of the stack.

    Raises:
        UserError: a call to AWS fails, or the output of a stack is invalid.
    """
    found = {}
    for region in regions:
        cloudformation = client("cloudformation", region=region)
        here = cloudformation.meta.region_name
        nested: dict[str, list[dict[str, Any]]] = {}
        outer = []
        with explained():
            for page in cloudformation.get_paginator("describe_stacks").paginate():
                for stack in page["Stacks"]:
                    if stack["StackStatus"] in _GONE:
                        continue
                    if parent := stack.get("ParentId"):
                        nested.setdefault(parent, []).append(stack)
                    else:
                        outer.append(stack)
        for stack in outer:
            found[here, stack["StackName"]] = _read(stack, here, nested.get(stack.get("StackId", ""), []))
    return [one for key in sorted(found) for one in found[key]]


def resources_of_stack(cloudformation: Any, name: str) -> list[dict[str, Any]]:
    """The resources of a deployed stack; none if it does not exist. A nested stack is one resource.

    Raises:
        UserError: a call to AWS fails.
    """
    with explained("ValidationError"):  # the stack does not exist
        pages = cloudformation.get_paginator("list_stack_resources").paginate(StackName=name)
        return [resource for page in pages for resource in page["StackResourceSummaries"]]
    return []


def selected_stacks(
    fdl: str | None, stack: str | None = None, stage: str | None = None
) -> list[DeployedStack]:
    """The stacks of an FDL file of that name, or the named one, or all.

    With a stage, `fdl` and `stack` are the names without the stage, and only that stage is selected. Without
    one, `fdl` selects only what was deployed without a stage.

    Raises:
        UserError: nothing was found, or another file has deployed it.
        click.exceptions.Exit: the FDL file has errors.
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
            raise UserError(f"No stack {named} with a workflow was found", _known_stacks(everything))
        return chosen
    if workflow is None:
        return [one for one in everything if stage in (None, one.stage)]
    holding = [one for one in everything if any(function.name in names for function in one.functions)]
    own = [one for one in everything if one.workflow == workflow.name and one.stage == stage]
    # The creation of one without functions may have failed, or all of its functions may have been renamed.
    chosen = [one for one in holding if one.workflow in (workflow.name, "")] or own
    if not chosen and holding:
        other = holding[0]
        shared = ", ".join(function.name for function in other.functions if function.name in names)
        raise UserError(
            f"{shared} is deployed, but by another FDL file ({other.workflow}), as the stack {other.name}",
            f"To select that, use --stack {other.name} instead of -f",
        )
    if not chosen:
        raise _not_deployed(
            str(fdl), stage, [one.stage for one in everything if one.workflow == workflow.name]
        )
    return chosen


def _not_deployed(fdl: str, stage: str | None, stages: list[str | None]) -> UserError:
    if stage is not None:
        return UserError(
            f"{fdl} is not deployed as stage {stage}", f"Deploy it: scar init -f {fdl} --stage {stage}"
        )
    if others := sorted({one for one in stages if one is not None}):
        return UserError(
            f"{fdl} is not deployed without a stage",
            f"Its stages are {', '.join(others[:20])}: add --stage {others[0]}",
        )
    return UserError(f"{fdl} is not deployed", f"Deploy it: scar init -f {fdl}")


def selected(
    fdl: str | None, name: str | None, stack: str | None = None, stage: str | None = None
) -> list[DeployedFunction]:
    """The functions that the options of `scar_cli.options.selects_functions` select; all, if none is given.

    With a stage, `name` is the name in the FDL file; without one, and without `fdl`, the deployed one.

    Raises:
        UserError: nothing was found, or a function of the FDL file is not deployed.
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
                f"{', '.join(missing)} of {fdl} is not deployed, although other functions of the file are",
                f"Deploy the file again: scar init -f {fdl}",
            )
    if name is None:
        return found
    named = [function for function in found if function.name == name]
    if not named:
        where = f" by {fdl}" if fdl is not None else ""
        raise UserError(f"No function named {name} is deployed{where}", known_functions(found))
    return named


def known_functions(found: Sequence[DeployedFunction]) -> str:
    """Advice after a wrong name."""
    if not found:
        return "Deploy its FDL file: scar init -f FILE"
    return f"Deployed functions: {_names([function.name for function in found])}"


def of_launch(functions: Sequence[DeployedFunction], launched: str) -> list[DeployedFunction]:
    """The functions in the stack of a launched function, which is the first one.

    Raises:
        UserError: it is not among the functions.
    """
    own = [one for one in functions if one.name == launched]
    if not own:
        raise UserError(
            f"The launched function {launched} is not among the selected functions",
            "Omit -f, -n, --stack and --stage, or deploy the function again",
        )
    return own + [one for one in functions if one.stack == own[0].stack and one.name != launched]


def one_selected(
    fdl: str | None,
    name: str | None,
    stack: str | None = None,
    stage: str | None = None,
    fits: Callable[[DeployedFunction], bool] = lambda _function: True,
) -> DeployedFunction:
    """The only function that the options select; of several, the only one that `fits`.

    Raises:
        UserError: none or several functions are selected.
    """
    found = selected(fdl, name, stack, stage)
    if name is None and len(found) > 1:
        found = [function for function in found if fits(function)] or found
    if len(found) == 1:
        return found[0]
    if not found:
        raise UserError("No functions are deployed", "Deploy one: scar init -f FILE")
    raise UserError(
        f"Several functions are deployed: {_names([function.name for function in found])}",
        "Select one with -n",
    )


def reachable_url(api_url: str, endpoint: str) -> str:
    """The URL of an HTTP endpoint: that of the stack, or the one that works on the embedded cloud."""
    address, cloud = urlsplit(api_url), urlsplit(endpoint)
    api, is_aws, _rest = (address.hostname or "").partition(".execute-api.")
    if not is_aws or cloud.hostname not in LOOPBACK:
        return api_url
    return f"{endpoint.rstrip('/')}/_aws/execute-api/{api}{address.path}"


def workflow_of(fdl: str) -> Workflow:
    """The workflow of an FDL file. Errors in the file are printed on standard error.

    Raises:
        click.exceptions.Exit: the file has errors.
    """
    from fdl_schemas.diagnostics.diagnostic import FdlError
    from fdl_schemas.load import load_workflow

    try:
        return load_workflow(fdl)
    except FdlError as error:
        click.echo(error.render(color=takes_colours(sys.stderr)), err=True)
        raise click.exceptions.Exit(2) from error


def _read(stack: dict[str, Any], region: str, nested: Sequence[dict[str, Any]] = ()) -> list[DeployedStack]:
    """The workflows of a stack, some of whose functions may be in nested stacks.

    A stack of this project whose creation failed has no outputs, but a tag.
    """
    described = _DESCRIPTION.match(str(stack.get("Description", "")))
    summaries: dict[str, list[str]] = {}
    for one in [stack, *sorted(nested, key=lambda one: str(one["StackName"]))]:
        for output in one.get("Outputs", []):
            if _OUTPUTS.fullmatch(output["OutputKey"]):
                summaries.setdefault(output["OutputKey"], []).append(str(output["OutputValue"]))
    if not summaries and described and {"Key": "createdby", "Value": "scar"} in stack.get("Tags", []):
        summaries = {OUTPUT: ['{"functions": [], "buckets": []}']}
    return [_read_output(stack, region, key, texts, described) for key, texts in sorted(summaries.items())]


def _read_output(
    stack: dict[str, Any], region: str, output: str, texts: list[str], described: re.Match[str] | None
) -> DeployedStack:
    """`texts` are the values of the output, first that of the stack itself, then those of nested stacks."""
    name = str(stack["StackName"])
    try:
        content, *others = map(json.loads, texts)
        for other in others:
            content["functions"] += other["functions"]
        # Stacks of older versions have the workflow's name only in their description.
        workflow = content.get("workflow", described["workflow"] if described else "")
        stage = content.get("stage", described["stage"] if described else None)
        functions = tuple(_function(entry, name, region, stage) for entry in content["functions"])
        buckets = tuple(str(bucket) for bucket in content["buckets"])
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise UserError(
            f"The output {output} of the stack {name} is invalid",
            "Another version of scar has deployed it: deploy it again with this version",
        ) from None
    status = str(stack["StackStatus"])
    return DeployedStack(
        name, region, status, str(workflow), functions, buckets, stage, is_foreign=output != OUTPUT
    )


def _function(entry: dict[str, Any], stack: str, region: str, stage: str | None) -> DeployedFunction:
    content: dict[str, Any] = {one.name: entry.get(one.name) for one in fields(DeployedFunction)}
    content |= {key: str(entry[key]) for key in _TEXTS} | {key: tuple(entry.get(key, ())) for key in _LISTS}
    return DeployedFunction(**{**content, "stack": stack, "region": region, "stage": stage})


def _known_stacks(everything: list[DeployedStack]) -> str:
    if not everything:
        return "Deploy an FDL file: scar init -f FILE"
    return f"Stacks with a workflow: {_names([one.name for one in everything])}"


def _names(names: list[str]) -> str:
    more = f" and {len(names) - _NAMES_SHOWN} more" if len(names) > _NAMES_SHOWN else ""
    return ", ".join(names[:_NAMES_SHOWN]) + more


def overlap(one: str, other: str) -> bool:
    """Whether one of two folders is the other, or is in it."""
    one, other = f"{one}/", f"{other}/"
    return one.startswith(other) or other.startswith(one)
