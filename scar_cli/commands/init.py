"""`scar init`: deploy a workflow, from an FDL file or from flags."""

from __future__ import annotations

import json
import re
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import click

from scar_cli.aws.deployed import DeployedFunction, reachable_url, stacks
from scar_cli.aws.session import client, explained
from scar_cli.commands.ls import described
from scar_cli.deployment.cdk import SynthesizedStack, cdk, deploy, synthesized
from scar_cli.deployment.changes import Changes, changes_of, show
from scar_cli.deployment.changes import as_json as in_json
from scar_cli.deployment.from_flags import InSections, check_flags, describes_function, fdl_of, given
from scar_cli.deployment.given_queues import check_given_queues
from scar_cli.deployment.given_roles import check_given_roles
from scar_cli.errors import UserError
from scar_cli.examples import with_examples
from scar_cli.options import confirm, confirms, of_stage, prints_json
from scar_cli.progress import activity
from scar_cli.table import takes_colours

_PACKAGE_TYPES = {"Zip": "a zip function", "Image": "an image function"}
_REFRESH_IMAGES = "RefreshImages"
"""The parameter of a stack with images, see `scar_constructs.images.images`."""
_Command = TypeVar("_Command", bound=Callable[..., Any])


def decides_where(command: _Command) -> _Command:
    """Add the options that decide where and how a workflow is deployed; see `context_of`."""
    command = click.option(
        "-c",
        "--context",
        "values",
        multiple=True,
        metavar="KEY=VALUE",
        help="Set a CDK context value, as with cdk -c.",
    )(command)
    command = of_stage(command)
    command = click.option(
        "--bucket-suffix", metavar="SUFFIX", help="Append this to the names of new buckets."
    )(command)
    return click.option(
        "--stack", metavar="STACK", help="Set the name of the stack.  [default: name of the FDL file]"
    )(command)


@with_examples(
    "init",
    "scar init -f workflow.yaml",
    "scar init -n scar-cowsay -i grycap/cowsay",
    "scar init -n thumbs -i dpokidov/imagemagick -s thumb.sh -ib pictures/in -ob pictures/out",
    cls=InSections,
)
@click.option("-f", "--file", "--conf-file", "fdl", metavar="FILE", help="Deploy this FDL file.")
@describes_function
@decides_where
@click.option("--refresh-images", is_flag=True, help="Resolve the tags of all images again.")
@confirms
@click.option("-v", "--verbose", is_flag=True, help="Show every change, and the output of the CDK.")
@prints_json
def command(
    *,
    fdl: str | None,
    stack: str | None,
    bucket_suffix: str | None,
    stage: str | None,
    values: tuple[str, ...],
    refresh_images: bool,
    yes: bool,
    verbose: bool,
    as_json: bool,
    **flags: Any,
) -> int:
    """Deploy a workflow from an FDL file, or a function from flags.

    The command shows the changes and asks for confirmation before it deploys. Existing buckets are used, and
    kept when the stack is deleted.
    """
    if fdl is not None and (more := given(flags)):
        words = ", ".join(f"--{name.replace('_', '-')}" for name in more)
        raise UserError("-f and flags that describe a function cannot be used together", f"Omit {words}")
    context = context_of(stack, bucket_suffix, stage, values)
    if fdl is None:
        context["from_flags"] = "true"  # see app.py
    with _file(fdl, flags) as file, synthesized(file, context) as (folder, made):
        with activity("Comparing with what is deployed"):
            refuse_what_is_taken(made)
            check_given_roles(made)
            check_given_queues(made)
            changes = [changes_of(one) for one in made]
        _show(changes, folder, verbose=verbose, as_json=as_json)
        refreshed = list(_refreshed(made)) if refresh_images else []
        if refreshed:
            click.echo("The tags of all images are resolved again", err=as_json)
        if any(changes):
            _tell_idle_cost(file, context, made)
        if not yes and (any(changes) or refreshed):
            confirm(f"Deploy {', '.join(one.name for one in made)}?")
        try:
            code = deploy(folder, verbose=verbose, parameters=refreshed)
        except KeyboardInterrupt:
            click.echo("CloudFormation continues the deployment. To see what is deployed: scar ls", err=True)
            raise
        if code != 0:
            raise UserError("The deployment failed", "See the messages above", exit_code=1)
    names = {one.name for one in made}
    deployed = [one for one in stacks([*{one.region for one in made}]) if one.name in names]
    functions = [function for one in deployed for function in one.functions]
    if as_json:
        answer = {"Functions": described(functions), "Stacks": [in_json(one) for one in changes]}
        click.echo(json.dumps(answer))
    else:
        for function in functions:
            click.echo(f"{function.name} is deployed. {_next_step(function)}")
    return 0


def _tell_idle_cost(file: str, context: Mapping[str, str], made: list[SynthesizedStack]) -> None:
    """Print what the workflow costs while nothing runs. A deployment does not fail because of it."""
    from fdl_schemas.load import check
    from scar_cli.cost.idle import idle_in_words
    from scar_cli.cost.known import configured_region

    with suppress(UserError, OSError):
        workflow = check(file).workflow
        told = (
            idle_in_words(workflow, made[0].region or configured_region(), context)
            if workflow is not None
            else None
        )
        if told is not None:
            click.echo(click.style(told, dim=True) if takes_colours(sys.stderr) else told, err=True)


def _refreshed(made: list[SynthesizedStack]) -> Iterator[str]:
    """The parameter with a new value, so that the tags of a stack's images are resolved again."""
    now = datetime.now(UTC).isoformat(timespec="seconds")
    for stack in made:
        if _REFRESH_IMAGES in stack.template.get("Parameters", {}):
            yield f"{stack.name}:{_REFRESH_IMAGES}={now}"


def context_of(
    stack: str | None, bucket_suffix: str | None, stage: str | None, values: tuple[str, ...]
) -> dict[str, str]:
    """The context of the CDK app, from the options of `decides_where`.

    Raises:
        UserError: a value is invalid.
    """
    context = {}
    for value in values:
        key, equals, text = value.partition("=")
        if not equals or not key:
            raise UserError(f"Invalid context value: -c {value}", "Use -c KEY=VALUE")
        if key == "fdl":
            raise UserError("-c fdl is not supported here", "Use -f FILE")
        context[key] = text
    if stack is not None:
        context["stack"] = stack
    if bucket_suffix is not None:
        context["bucket_suffix"] = bucket_suffix
    if stage is not None:
        context["stage"] = stage
    return context


@contextmanager
def _file(fdl: str | None, flags: Mapping[str, Any]) -> Iterator[str]:
    """The FDL file, or a temporary one that describes the flags."""
    if fdl is not None:
        yield fdl
        return
    document = fdl_of(flags)
    with tempfile.TemporaryDirectory(prefix="scar-init-") as folder:
        file = Path(folder) / f"{re.sub('[^A-Za-z0-9_-]', '-', str(flags['name']))}.yaml"
        text, problems = check_flags(document, file)
        if problems:
            from fdl_schemas.diagnostics.diagnostic import Severity, render

            click.echo(render(problems, color=takes_colours(sys.stderr)), err=True)
            if any(one.severity is Severity.ERROR for one in problems):
                raise click.exceptions.Exit(2)
        file.write_text(text, encoding="utf-8")
        yield str(file)


def refuse_what_is_taken(made: list[SynthesizedStack]) -> None:
    """Function names are unique in a region: report a conflict before CloudFormation fails halfway.

    Raises:
        UserError: a function of that name exists, in another stack or outside stacks.
    """
    for stack in made:
        here = stacks([stack.region])
        lambda_ = client("lambda", region=stack.region)
        own = {function.name for one in here if one.name == stack.name for function in one.functions}
        for name, package_type in _package_types(stack).items():
            if name in own:
                _refuse_other_package_type(lambda_, name, package_type)
        for name in [name for name in _package_types(stack) if name not in own]:
            for other in here:
                if any(function.name == name for function in other.functions):
                    raise UserError(
                        f"The function {name} is already deployed by the stack {other.name} of another FDL "
                        f"file ({other.workflow})",
                        f"Rename one of them, or delete that stack: scar rm --stack {other.name}",
                    )
            if not any(one.name == stack.name for one in here) and _settings(lambda_, name):
                raise UserError(
                    f"A Lambda function {name} already exists, and no stack of scar contains it",
                    "Rename the function in the FDL file, or delete the existing one",
                )


def _refuse_other_package_type(lambda_: Any, name: str, wanted: str) -> None:
    """Lambda cannot turn a zip function into an image function: CloudFormation would fail halfway."""
    deployed = _settings(lambda_, name).get("PackageType", wanted)
    if deployed != wanted:
        raise UserError(
            f"The function {name} is deployed as {_PACKAGE_TYPES[deployed]}, and AWS Lambda cannot turn it "
            f"into {_PACKAGE_TYPES[wanted]}",
            f"Remove it first (scar rm -n {name}; buckets and files are kept), give it another name, or set "
            f"`runtime: {'image' if deployed == 'Image' else 'python3.13'}`",
        )


def _package_types(stack: SynthesizedStack) -> dict[str, str]:
    """`Zip` or `Image`, by the name of the function."""
    return {
        properties["FunctionName"]: properties.get("PackageType", "Zip")
        for resource in stack.template.get("Resources", {}).values()
        if resource.get("Type") == "AWS::Lambda::Function"
        and isinstance((properties := resource.get("Properties", {})).get("FunctionName"), str)
    }


def _settings(lambda_: Any, name: str) -> dict[str, Any]:
    """Settings of the function of that name; empty if it does not exist, or access is denied."""
    with explained(
        "ResourceNotFoundException", "AccessDeniedException"
    ):  # the deployment may still be allowed
        return dict(lambda_.get_function_configuration(FunctionName=name))
    return {}


def _show(changes: list[Changes], folder: Path, *, verbose: bool, as_json: bool) -> None:
    if verbose and cdk("diff", "--app", str(folder), "--method", "template", quiet=as_json) != 0:
        raise UserError("The changes cannot be determined", "See the messages above", exit_code=1)
    if not verbose:
        for one in changes:
            show(one, err=as_json)


def _next_step(function: DeployedFunction) -> str:
    if function.inputs:
        step = f"To run it:  scar put -b {function.inputs[0]} -p FILE"
    elif function.api_url is None:
        step = f"To run it:  scar run -n {function.name}"
    else:
        step = f"To call it:  scar invoke -n {function.name}"
    if function.api_url is not None:
        lambda_ = client("lambda", region=function.region)
        return f"{step}\n  URL: {reachable_url(function.api_url, lambda_.meta.endpoint_url)}"
    return step
