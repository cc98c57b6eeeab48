"""Options that several commands have in common."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypedDict, TypeVar

import click

from fdl_schemas.stages import stage_problem
from scar_cli.errors import UserError

_Command = TypeVar("_Command", bound=Callable[..., Any])

prints_json = click.option("-j", "--json", "as_json", is_flag=True, help="Print the result as JSON.")


def of_stage(command: _Command) -> _Command:
    """Add the option --stage: None, or a valid stage."""
    return click.option(
        "--stage",
        metavar="STAGE",
        callback=_checked_stage,
        help="Select a stage, such as dev.",
    )(command)


def _checked_stage(_ctx: click.Context, _option: click.Parameter, value: str | None) -> str | None:
    if value is not None and (problem := stage_problem(value)):
        raise UserError(f"Invalid stage {value!r}: {problem}")
    return value


class Choice(TypedDict):
    """Values of the options of `selects_functions`."""

    fdl: str | None
    name: str | None
    stack: str | None
    stage: str | None


def selects_functions(command: _Command) -> _Command:
    """Add the options -f, -n, --stack and --stage, the arguments of `scar_cli.aws.deployed.selected`."""
    command = of_stage(command)
    command = click.option("--stack", metavar="STACK", help="Select the functions in this stack.")(command)
    command = click.option("-n", "--name", metavar="FUNCTION", help="Select this function.")(command)
    return click.option(
        "-f", "--file", "--conf-file", "fdl", metavar="FILE", help="Select the functions of this FDL file."
    )(command)
