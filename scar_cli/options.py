"""Options that several commands have in common, and the question that `--yes` answers."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, TypedDict, TypeVar

import click

from fdl_schemas.stages import stage_problem
from scar_cli.errors import UserError

_Command = TypeVar("_Command", bound=Callable[..., Any])

prints_json = click.option("-j", "--json", "as_json", is_flag=True, help="Print the result as JSON.")
confirms = click.option("-y", "--yes", is_flag=True, help="Do not ask for confirmation.")


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
    command = click.option("--stack", metavar="STACK", help="Select this stack.")(command)
    command = click.option("-n", "--name", metavar="FUNCTION", help="Select this function.")(command)
    return click.option(
        "-f", "--file", "--conf-file", "fdl", metavar="FILE", help="Select the workflow of this FDL file."
    )(command)


def transfers_files(verb: str) -> Callable[[_Command], _Command]:
    """Add the options --concurrency, --stage and --dry-run of a command that can `verb` files."""

    def add(command: _Command) -> _Command:
        dry_run = click.option("--dry-run", is_flag=True, help=f"Only show what would be {verb}ed.")
        return click.option(
            "--concurrency",
            type=click.IntRange(1, 64),
            metavar="N",
            default=8,
            help=f"Number of files to {verb} at once.",
        )(of_stage(dry_run(command)))

    return add


def confirm(question: str) -> None:
    """Ask for confirmation; no ends the command.

    Raises:
        UserError: standard input is not a terminal.
        click.exceptions.Exit: the answer is no.
    """
    try:
        agreed = click.confirm(question, err=True)
    except click.Abort:
        if sys.stdin.isatty():
            raise
        raise UserError(
            "Cannot prompt: standard input is not a terminal", "Use -y to skip the confirmation"
        ) from None
    if not agreed:
        click.echo("Nothing was changed.", err=True)
        raise click.exceptions.Exit(1)
