"""`scar completion`: the lines that teach a shell to complete `scar`'s verbs and options."""

from __future__ import annotations

import os
from pathlib import Path

import click

from scar_cli.errors import UserError
from scar_cli.examples import examples

_SHELLS = ("bash", "zsh", "fish")
_VARIABLE = "_SCAR_COMPLETE"


@click.command(
    "completion", epilog=examples('eval "$(scar completion bash)"', "scar completion fish | source")
)
@click.argument("shell", type=click.Choice(_SHELLS), required=False)
def command(shell: str | None) -> int:
    """Print what teaches a shell to complete these commands: bash, zsh or fish."""
    from click.shell_completion import get_completion_class

    from scar_cli.main import scar

    shell = shell or Path(os.environ.get("SHELL", "")).name
    kind = get_completion_class(shell) if shell in _SHELLS else None
    if kind is None:
        raise UserError("The shell is not known here", "Name it: scar completion bash, zsh or fish")
    # The class asks bash for its version, and warns where that is too old; the text needs neither.
    completion = kind(scar, {}, "scar", _VARIABLE)
    click.echo(completion.source_template % completion.source_vars())
    return 0
