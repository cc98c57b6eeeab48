"""Shell completion of option values and arguments: files, and names of what is deployed.

`FILES` and `VALUES` define it for the parameters of all commands. The script that `scar completion` prints
runs the command to be completed with a variable that makes click print the values.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from scar_cli.aws.deployed import DeployedFunction, DeployedStack

_Values = Callable[[click.Context], Iterable[str]]


def add_completion(command: click.Command) -> None:
    """Let a shell complete the values of the command's parameters, and of those of its subcommands."""
    if isinstance(command, click.Group):
        for subcommand in command.commands.values():
            add_completion(subcommand)
    for parameter in command.params:
        if parameter.type is not click.STRING:
            continue
        if parameter.name in FILES:
            parameter.type = _File()
        elif parameter.name in VALUES:
            parameter.type = _Name(VALUES[parameter.name])


class _File(click.types.StringParamType):
    """Text that names a file or folder. The commands themselves check whether it exists."""

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem[Any]]:
        from click.shell_completion import CompletionItem

        return [CompletionItem(incomplete, type="file")]


class _Name(click.types.StringParamType):
    """Text that is usually one of some values."""

    def __init__(self, values: _Values) -> None:
        self._values = values

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem[Any]]:
        from click.shell_completion import CompletionItem

        found: set[str] = set()
        with suppress(Exception):  # without credentials, for example: an error would garble the command line
            found.update(self._values(ctx))
        return [CompletionItem(value) for value in sorted(found) if value.startswith(incomplete)]


def _stacks() -> list[DeployedStack]:
    from scar_cli.aws.deployed import stacks

    return stacks()


def _functions() -> list[DeployedFunction]:
    return [function for stack in _stacks() for function in stack.functions]


def _function_names(context: click.Context) -> Iterable[str]:
    if context.info_name == "new":  # the name of a folder to create
        return []
    if fdl := context.params.get("fdl"):
        from fdl_schemas.load import load_workflow

        return [function.name for function in load_workflow(fdl).functions]
    return [function.name for function in _functions()]


def _stack_names(_context: click.Context) -> Iterable[str]:
    return [stack.name for stack in _stacks()]


def _stages(_context: click.Context) -> Iterable[str]:
    return [stack.stage for stack in _stacks() if stack.stage is not None]


def _buckets(_context: click.Context) -> Iterable[str]:
    found = _stacks()
    paths = [path for stack in found for one in stack.functions for path in (*one.inputs, *one.outputs)]
    return [*(bucket for stack in found for bucket in stack.buckets), *paths]


def _functions_and_buckets(context: click.Context) -> Iterable[str]:
    return [*_function_names(context), *_buckets(context)]


def _codes(_context: click.Context) -> Iterable[str]:
    from fdl_schemas.diagnostics.codes import explanations

    return explanations()


def _profiles(_context: click.Context) -> Iterable[str]:
    from botocore.session import get_session

    return list(get_session().available_profiles)


FILES = frozenset(
    {
        "data_binary",
        "extra_payload",
        "fdl",
        "file",
        "files",
        "folder",
        "image_file",
        "init_script",
        "journal",
        "json_data",
        "output",
        "path",
        "paths",
        "requirements",
        "resume",
        "sarif",
        "script",
    }
)
"""Parameters that name a file or folder."""
VALUES: dict[str, _Values] = {
    "bucket_path": _buckets,
    "codes": _codes,
    "deployment_bucket": _buckets,
    "execution_mode": lambda _context: ("lambda", "lambda-batch", "batch"),
    "input_bucket": _buckets,
    "log_level": lambda _context: ("CRITICAL", "ERROR", "WARNING", "INFO", "DEBUG"),
    "name": _function_names,
    "output_bucket": _buckets,
    "profile": _profiles,
    "source": _buckets,
    "stack": _stack_names,
    "stage": _stages,
    "target": _buckets,
    "thing": _functions_and_buckets,
}
"""Parameters with other values."""
