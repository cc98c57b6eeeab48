"""`scar completion`: the script with which a shell completes `scar` and `scar-launch`."""

from __future__ import annotations

import os
from pathlib import Path

import click

from scar_cli.errors import UserError
from scar_cli.examples import with_examples

_SHELLS = ("bash", "zsh", "fish")
_PROGRAMS = {"scar": "_SCAR_COMPLETE", "scar-launch": "_SCAR_LAUNCH_COMPLETE"}
"""Commands, and the variables by which click recognizes a request for completions."""


@with_examples(
    "completion",
    'eval "$(scar completion bash)"',
    'eval "$(scar completion zsh)"',
    "scar completion fish | source",
)
@click.argument("shell", type=click.Choice(_SHELLS), required=False, metavar="[SHELL]")
def command(shell: str | None) -> int:
    """Print a completion script for bash, zsh or fish.

    It completes commands, options, files, and the names of deployed functions, stacks, stages and buckets.
    To enable it, add the line for your shell from the examples to ~/.bashrc, ~/.zshrc (after compinit) or
    config.fish. SHELL defaults to the shell in $SHELL.
    """
    from click.shell_completion import get_completion_class

    from scar_cli.main import scar

    shell = shell or Path(os.environ.get("SHELL", "")).name
    kind = get_completion_class(shell) if shell in _SHELLS else None
    if kind is None:
        raise UserError("The shell in $SHELL is not supported", "Use scar completion bash, zsh or fish")
    for program, variable in _PROGRAMS.items():
        # `source()` would run bash to check its version.
        completion = kind(scar, {}, program, variable)
        click.echo(completion.source_template % completion.source_vars())
    return 0
