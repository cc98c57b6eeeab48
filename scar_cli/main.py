"""The `scar` command: loads the module of one command, and turns its errors into messages and exit codes.

Exit codes: 0 success; 1 partial success, or the function failed; 2 invalid input or a missing precondition,
explained in one message on standard error; 3 the embedded cloud is not running; 130 interrupted; 141 the
reader of the output, such as `head`, has exited.
"""

from __future__ import annotations

import gc
import importlib
import io
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import TextIO

import click

from scar_cli.completions import add_completion
from scar_cli.errors import UserError
from scar_cli.table import printable
from toolchain.errors import DownloadError

SETTINGS = {"help_option_names": ["-h", "--help"], "show_default": True}
_GROUPS = {
    "Deploy": {
        "new": ("scar_cli.commands.new", "Create a folder with a workflow that is ready to deploy."),
        "validate": ("scar_cli.commands.validate", "Check FDL files without deploying them."),
        "explain": ("scar_cli.commands.explain", "Explain diagnostic codes, with examples."),
        "graph": ("scar_cli.commands.graph", "Draw the workflow of an FDL file."),
        "image": ("scar_cli.commands.image", "Build container images without Docker."),
        "cost": ("scar_cli.commands.cost", "Estimate what a workflow costs, or show what it has cost."),
        "diff": ("scar_cli.commands.diff", "Show what a deployment would change."),
        "init": ("scar_cli.commands.init", "Deploy a workflow from an FDL file, or a function from flags."),
        "update": ("scar_cli.commands.init", "Deploy a changed workflow (the same as init)."),
        "rm": ("scar_cli.commands.rm", "Delete deployed workflows."),
    },
    "Files": {
        "put": ("scar_cli.commands.put", "Upload files or folders to a bucket."),
        "get": ("scar_cli.commands.get", "Download files or folders from a bucket."),
    },
    "Run": {
        "run": ("scar_cli.commands.run", "Run a function, or a workflow on the files in its input folder."),
        "invoke": ("scar_cli.commands.invoke", "Call the HTTP endpoint of a function."),
        "retry": ("scar_cli.commands.retry", "Send the events in failure queues again."),
    },
    "Inspect": {
        "ls": ("scar_cli.commands.ls", "List deployed functions, or the files in a bucket."),
        "status": ("scar_cli.commands.status", "Show the number of runs in each state, and why runs failed."),
        "watch": ("scar_cli.commands.watch", "Show a workflow while it runs: queues, rates, failures, cost."),
        "log": ("scar_cli.commands.log", "Show the logs of functions, from Lambda and Batch."),
        "advise": ("scar_cli.commands.advise", "Propose sizes of functions from their measured runs."),
        "report": ("scar_cli.commands.report", "Write an HTML report of runs, failures and costs."),
    },
    "Local": {
        "local": ("scar_cli.commands.local", "Start, stop and inspect the embedded cloud."),
        "completion": ("scar_cli.commands.completion", "Print a completion script for your shell."),
    },
}
"""For each group of the help, its commands: module and one line."""
_VERBS = {name: entry for group in _GROUPS.values() for name, entry in group.items()}
_WITHOUT_AWS = ("completion", "explain", "graph", "image", "local", "new", "validate")
_EXTRAS = {"boto3": "aws", "botocore": "aws", "rich": "aws", "ministack": "local"}
"""Modules, and the extra of this package that installs each."""
GARBAGE_THRESHOLDS = (50_000, 20, 100)
"""For `gc.set_threshold`. With Python's own thresholds, the report of a million runs takes a quarter longer,
although runs are in no cycles."""
_INTERRUPTED = 130
_NOT_READ = 141
"""As a shell reports a program that SIGPIPE has ended."""


class _Verbs(click.Group):
    """Lists the commands above, and imports the module of the one that is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(_VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _VERBS:
            return None
        command: click.Command = importlib.import_module(_VERBS[cmd_name][0]).command
        if cmd_name not in _WITHOUT_AWS and all(option.name != "profile" for option in command.params):
            command.params.append(_profile_option())
        add_completion(command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        widest = max(map(len, _VERBS))
        for title, group in _GROUPS.items():
            with formatter.section(title):
                formatter.write_dl([(name.ljust(widest), line) for name, (_module, line) in group.items()])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            return super().resolve_command(ctx, args)
        except click.NoSuchCommand as error:  # click suggests names of commands that are loaded already
            raise click.NoSuchCommand(error.command_name, possibilities=_VERBS, ctx=ctx) from None


def _profile_option() -> click.Option:
    return click.Option(
        ["-pf", "--profile"],
        expose_value=False,
        is_eager=True,
        callback=_use_profile,
        metavar="PROFILE",
        help="Use this AWS profile, even if the environment has credentials.",
    )


def _use_profile(_ctx: click.Context, _option: click.Parameter, value: str | None) -> None:
    if value is not None:
        # boto3 and the cdk prefer keys in the environment to a profile.
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
    context_settings=SETTINGS,
    epilog="Use `scar COMMAND -h` for a command's options and examples.",
)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_show_version,
    help="Show the version and exit.",
)
def scar() -> None:
    """Process files in containers on AWS Lambda and AWS Batch.

    Describe a workflow in a YAML file and deploy it with `scar init -f FILE`. To try it without an AWS
    account, use the embedded cloud: `scar local start`, then `eval "$(scar local env)"`.
    """


def run(command: click.Command, name: str) -> None:
    """Run a command and exit with its exit code."""
    # boto3 reads AWS_DEFAULT_REGION only, the cdk and the other SDKs AWS_REGION.
    if os.environ.get("AWS_REGION"):
        os.environ["AWS_DEFAULT_REGION"] = os.environ["AWS_REGION"]
    add_completion(command)
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
        # click has replaced the stream: the reader of our output, such as `head`, has exited.
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
    """Discard output if standard output is closed, and escape characters that its encoding lacks."""
    if sys.stdout is None:
        sys.stdout = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 (until the end)
    elif isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def _drop_output(output: TextIO) -> None:
    """Discard what is still buffered: Python would report an error when it flushes at exit."""
    with suppress(OSError, ValueError):
        number = output.fileno()
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, number)
        os.close(nowhere)


def main() -> None:
    """Entry point of `scar`."""
    gc.set_threshold(*GARBAGE_THRESHOLDS)
    run(scar, "scar")
