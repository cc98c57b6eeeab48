"""The `scar` command itself: its verbs, loaded one at a time, and what happens when one fails.

Exit codes: 0 done; 1 done in part, or the function failed; 2 something to put right first (one sentence on
standard error says what); 3 the embedded cloud does not run; 130 interrupted; 141 nobody reads the output.
"""

from __future__ import annotations

import importlib
import io
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, TextIO

import click

from scar_cli.errors import UserError
from scar_cli.table import printable
from toolchain.downloads import DownloadError

_VERBS = {
    "completion": ("scar_cli.commands.completion", "Print what lets a shell complete these commands."),
    "diff": ("scar_cli.commands.diff", "Show what a deployment would change."),
    "get": ("scar_cli.commands.get", "Download files or folders from a bucket."),
    "graph": ("scar_cli.commands.graph", "Draw the workflow of an FDL file."),
    "image": ("scar_cli.commands.image", "Build container images without Docker."),
    "init": ("scar_cli.commands.init", "Deploy a workflow, from an FDL file or from flags."),
    "invoke": ("scar_cli.commands.invoke", "Call a function's HTTP endpoint."),
    "local": ("scar_cli.commands.local", "Start, stop and look at the embedded cloud."),
    "log": ("scar_cli.commands.log", "Show the logs of functions, of Lambda and Batch as one."),
    "ls": ("scar_cli.commands.ls", "List deployed functions, or the files in a bucket."),
    "new": ("scar_cli.commands.new", "Create a folder with a workflow that deploys as it is."),
    "put": ("scar_cli.commands.put", "Upload files or folders into a bucket."),
    "retry": ("scar_cli.commands.retry", "Send what is in the failure queues again."),
    "rm": ("scar_cli.commands.rm", "Delete what is deployed."),
    "run": ("scar_cli.commands.run", "Run a function, or a workflow on the files that are there."),
    "status": ("scar_cli.commands.status", "Show what is queued, running, done and failed."),
    "update": ("scar_cli.commands.init", "Deploy a workflow that has changed: the same as init."),
    "validate": ("scar_cli.commands.validate", "Check FDL files without deploying them."),
}
_WITHOUT_AWS = ("completion", "graph", "image", "local", "new", "validate")
_EXTRAS = {"boto3": "aws", "botocore": "aws", "rich": "aws", "ministack": "local"}
"""The extra of this package that installs a module."""
_INTERRUPTED = 130
_NOT_READ = 141
"""As of a program that SIGPIPE ends."""


class _Verbs(click.Group):
    """Lists the verbs from the table above, and imports the module of the one that is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(_VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _VERBS:
            return None
        command: click.Command = importlib.import_module(_VERBS[cmd_name][0]).command
        if cmd_name not in _WITHOUT_AWS and all(option.name != "profile" for option in command.params):
            command.params.append(_profile_option())
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, _VERBS[name][1]) for name in self.list_commands(ctx)])


def _profile_option() -> click.Option:
    return click.Option(
        ["-pf", "--profile"],
        expose_value=False,
        is_eager=True,
        callback=_use_profile,
        metavar="PROFILE",
        help="AWS profile to use, before credentials in the environment.",
    )


def _use_profile(_ctx: click.Context, _option: click.Parameter, value: str | None) -> None:
    if value is not None:
        # Keys in the environment would win over the profile, here and in the cdk.
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
            os.environ.pop(name, None)
        os.environ["AWS_PROFILE"] = value


def _show_version(ctx: click.Context, _option: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        from importlib.metadata import version

        click.echo(f"scar {version('scar-cdk')}")
        ctx.exit()


@click.command(
    cls=_Verbs,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="scar COMMAND -h tells more of a command, with examples.",
)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_show_version,
    help="Show the version.",
)
def scar() -> None:
    """Run containers on files, on AWS Lambda and AWS Batch, from a short YAML file.

    Deploy with `scar init -f FILE`; the embedded cloud needs no account: eval "$(scar local env)".
    """


def run(command: Callable[..., Any], name: str) -> None:
    """Run a command to its end and leave the process with its exit code."""
    # boto3 knows AWS_DEFAULT_REGION alone, the cdk and the other SDKs this one.
    if os.environ.get("AWS_REGION"):
        os.environ["AWS_DEFAULT_REGION"] = os.environ["AWS_REGION"]
    _mend_output()
    output = sys.stdout
    try:
        result = command(prog_name=name, standalone_mode=False)
        sys.exit(result if isinstance(result, int) else 0)
    except UserError as error:
        click.echo(f"{name}: {error}", err=True)
        sys.exit(error.exit_code)
    except DownloadError as error:
        click.echo(f"{name}: {error}", err=True)
        sys.exit(2)
    except ModuleNotFoundError as error:
        module = (error.name or "").partition(".")[0]
        if module not in _EXTRAS:
            raise
        click.echo(
            f"{name}: this needs {module}, which is not installed. Install it: "
            f"pip install 'scar-cdk[{_EXTRAS[module]}]'",
            err=True,
        )
        sys.exit(2)
    except click.exceptions.Abort:
        click.echo("Interrupted.", err=True)
        sys.exit(_INTERRUPTED)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        click.echo("Interrupted.", err=True)
        sys.exit(_INTERRUPTED)
    except SystemExit:
        if sys.stdout is output:
            raise
        # click has put another stream there: whoever read our output, such as `head`, has seen enough.
        _drop_output(output)
        sys.exit(_NOT_READ)
    except OSError as error:
        _drop_output(output)
        what = (
            f"{printable(str(error.filename))} cannot"
            if error.filename is not None
            else "Something could not"
        )
        click.echo(f"{name}: {what} be read or written: {error.strerror or error}.", err=True)
        sys.exit(1)


def _mend_output() -> None:
    """Let a closed standard output swallow what is written, and one that is not UTF-8 show it escaped."""
    if sys.stdout is None:
        sys.stdout = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 (until the end)
    elif isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def _drop_output(output: TextIO) -> None:
    """Forget what is still to be written there: Python would complain about it at the end."""
    with suppress(OSError, ValueError):
        number = output.fileno()
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, number)
        os.close(nowhere)


def main() -> None:
    """Entry point of `scar`."""
    run(scar, "scar")
