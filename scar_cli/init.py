"""`scar init`: deploy a workflow, from an FDL file or from flags."""

from __future__ import annotations

import json
import re
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import click

from scar_cli.cdk import SynthesizedStack, cdk, synthesized
from scar_cli.deployed import stacks
from scar_cli.errors import UserError
from scar_cli.from_flags import describes_function, fdl_of, given

_Command = TypeVar("_Command", bound=Callable[..., Any])


def decides_where(command: _Command) -> _Command:
    """The options that decide where and how something is deployed; `context_of` takes them."""
    command = click.option(
        "-c", "--context", "values", multiple=True, metavar="KEY=VALUE", help="As the cdk's -c."
    )(command)
    command = click.option("--bucket-suffix", metavar="SUFFIX", help="Makes names of new buckets unique.")(
        command
    )
    return click.option("--stack", metavar="STACK", help="Name of the stack.  [default: the file's]")(command)


@click.command("init")
@click.option("-f", "--file", "--conf-file", "fdl", metavar="FILE", help="FDL file to deploy.")
@describes_function
@decides_where
@click.option("-y", "--yes", is_flag=True, help="Deploy without asking.")
def command(
    *,
    fdl: str | None,
    stack: str | None,
    bucket_suffix: str | None,
    values: tuple[str, ...],
    yes: bool,
    **flags: Any,
) -> int:
    """Deploy a workflow: check it, show what changes, ask, deploy.

    Buckets that are there already are used, and stay whatever becomes of the stack.
    """
    if fdl is not None and (more := given(flags)):
        words = ", ".join(f"--{name.replace('_', '-')}" for name in more)
        raise UserError("-f says everything about the functions", f"Leave out {words}")
    context = context_of(stack, bucket_suffix, values)
    with _file(fdl, flags) as file, synthesized(file, context) as (folder, made):
        if cdk("diff", "--app", str(folder), "--method", "template") != 0:
            raise UserError("The changes cannot be worked out", "What is wrong stands above", exit_code=1)
        if not yes:
            confirm(f"Deploy {', '.join(one.name for one in made)}?")
        arguments = ("--app", str(folder), "--require-approval", "never", "--all")
        if cdk("deploy", *arguments) != 0:
            raise UserError("The deployment failed", "What is wrong stands above", exit_code=1)
        _tell(made)
    return 0


def context_of(stack: str | None, bucket_suffix: str | None, values: tuple[str, ...]) -> dict[str, str]:
    """The context of the CDK app that the options of `decides_where` say.

    Raises:
        UserError: a value is none.
    """
    context = {}
    for value in values:
        key, equals, text = value.partition("=")
        if not equals or not key:
            raise UserError(f"-c {value} is no context value", "Say -c KEY=VALUE")
        if key == "fdl":
            raise UserError("-c fdl is what -f says", "Name the file by -f")
        context[key] = text
    if stack is not None:
        context["stack"] = stack
    if bucket_suffix is not None:
        context["bucket_suffix"] = bucket_suffix
    return context


def confirm(question: str) -> None:
    """Ask a person; no is the end of the command.

    Raises:
        UserError: nobody is there to answer.
        click.exceptions.Exit: the answer is no.
    """
    try:
        agreed = click.confirm(question, err=True)
    except click.Abort:
        if sys.stdin.isatty():
            raise
        raise UserError("Nobody is there to answer", "Give -y to agree beforehand") from None
    if not agreed:
        click.echo("Nothing was changed.", err=True)
        raise click.exceptions.Exit(1)


@contextmanager
def _file(fdl: str | None, flags: Mapping[str, Any]) -> Iterator[str]:
    """The FDL file, or one that is made from the flags."""
    if fdl is not None:
        yield fdl
        return
    content = json.dumps(fdl_of(flags), indent=2)  # JSON is YAML
    with tempfile.TemporaryDirectory(prefix="scar-init-") as folder:
        file = Path(folder) / f"{re.sub('[^A-Za-z0-9_-]', '-', str(flags['name']))}.yaml"
        file.write_text(content, encoding="utf-8")
        yield str(file)


def _tell(made: list[SynthesizedStack]) -> None:
    names = {one.name for one in made}
    for stack in stacks([*{one.region for one in made}]):
        if stack.name in names:
            for function in stack.functions:
                how = f"scar run -n {function.name}"
                if function.inputs:
                    how = f"scar put -b {function.inputs[0]} -p FILE"
                click.echo(f"{function.name} is deployed. To run it:  {how}")
