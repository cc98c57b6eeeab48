"""`scar-launch`: run a workflow on the files that are in its input folder already.

Each file gets one event of the shape that S3 sends. The first event waits for its answer: the function's
image is ready before the others come, and a workflow that does not work costs one invocation. A journal on
disk lets an interrupted launch go on. See docs/launch.md.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import click

from scar_cli.aws.deployed import of_stage
from scar_cli.launch.files import Listing
from scar_cli.launch.plan import CONCURRENCY, LaunchOptions, Plan, plan_launch
from scar_cli.launch.report import nothing_to_send
from scar_cli.launch.send import files_to_send, send
from scar_cli.main import run
from scar_cli.table import counted, printable

_MOST_FROM_HERE = 256
"""Threads of one process."""


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("-f", "--file", "--conf-file", "fdl", metavar="FDL", help="FDL file of the deployed workflow.")
@click.option("-n", "--name", help="Function to run.  [default: the one that no other function feeds]")
@of_stage
@click.option("--bucket-path", metavar="BUCKET/FOLDER", help="Only files in this folder of the input.")
@click.option("--bucket-suffix", help="As given to `cdk deploy -c bucket_suffix=`.")
@click.option("--match", metavar="GLOB", help="Only files whose key below the folder fits, such as '*.jpg'.")
@click.option("--newer-than", metavar="TIME", help="Only newer files: 2h, 3d, or 2026-01-31T12:00.")
@click.option("--skip-done", is_flag=True, help="Leave out files whose output is there already.")
@click.option("--limit", type=click.IntRange(1), metavar="N", help="Stop after this many files.")
@click.option("--dry-run", is_flag=True, help="Only say which files would be run.")
@click.option(
    "--concurrency",
    type=click.IntRange(1, 250_000),
    default=CONCURRENCY,
    show_default=True,
    help="Events sent at once; with --distributed 500 by default.",
)
@click.option("--rate", metavar="N/s", help="No more than this: 50/s, 3000/min, 100000/h.")
@click.option("--resume", metavar="JOURNAL", help="Go on with an interrupted launch.")
@click.option("--wait", is_flag=True, help="Wait until each file is done or has failed.")
@click.option("--distributed", is_flag=True, help="Let AWS itself list the files and send the events.")
@click.option("-j", "--json", "as_json", is_flag=True, help="Answer in JSON.")
def command(*, wait: bool, dry_run: bool, distributed: bool, as_json: bool, **typed: Any) -> int:
    """Send one event for each file that is in a function's input folder already.

    An interrupted launch goes on by --resume with its journal, whose path it tells. Ends with 1 if it was
    stopped before all events were accepted, or, after --wait, if a file has failed.
    """
    options = LaunchOptions(**typed)
    if options.fdl is None and options.resume is None:
        raise click.UsageError("Missing option '-f' / '--file': the FDL file of the deployed workflow.")
    if options.concurrency > _MOST_FROM_HERE and not distributed:
        raise click.UsageError(f"--concurrency is at most {_MOST_FROM_HERE} without --distributed.")
    if distributed:
        return _distributed(options, wait=wait, dry_run=dry_run, as_json=as_json)
    plan = plan_launch(options)
    with _telling_how_to_go_on(plan):
        if dry_run:
            return _show(plan, as_json)
        return _launch(plan, wait=wait, as_json=as_json)


def _launch(plan: Plan, *, wait: bool, as_json: bool) -> int:
    deployed = None
    if wait:
        from scar_cli.launch import wait as waiting

        deployed = waiting.ready_to_wait(plan)
    outcome = send(plan, shown=not as_json)
    if not as_json:
        _say(outcome.told())
    if deployed is not None and outcome.journal is not None:
        waited = waiting.wait(plan, deployed, outcome.journal, shown=not as_json)
        outcome = replace(outcome, waited=waited)
    if as_json:
        click.echo(json.dumps(outcome.as_json()))
    else:
        _say(outcome.told_after_waiting())
    return outcome.exit_code


@contextmanager
def _telling_how_to_go_on(plan: Plan) -> Iterator[None]:
    """Say it when a launch is interrupted, between two of its steps too, if there is a journal."""
    try:
        yield
    except BaseException as error:
        notes = getattr(error, "__notes__", [])
        if not notes and isinstance(error, KeyboardInterrupt) and plan.journal.exists():
            notes = [f"Go on with: {plan.resume_command}"]
        for note in notes:
            click.echo(note, err=True)
        raise


def _distributed(options: LaunchOptions, *, wait: bool, dry_run: bool, as_json: bool) -> int:
    from scar_cli.launch.distributed import batches_of, launch_distributed, refuse_other_options, told

    refuse_other_options(options, wait=wait, dry_run=dry_run)
    concurrency = options.concurrency if is_given("concurrency") else None
    outcome = launch_distributed(plan_launch(options), batches_of(concurrency), shown=not as_json)
    if as_json:
        click.echo(json.dumps(outcome.as_json()))
    else:
        _say(told(outcome))
    return outcome.exit_code


def _say(lines: Iterable[str]) -> None:
    for line in lines:
        click.echo(line)


def is_given(option: str) -> bool:
    """Whether an option was typed, rather than left at its default."""
    source = click.get_current_context().get_parameter_source(option)
    return source is not click.core.ParameterSource.DEFAULT


def _show(plan: Plan, as_json: bool) -> int:
    count = 0
    listing = Listing(plan.s3, plan.selection)
    for file in files_to_send(plan, listing):
        count += 1
        if as_json:
            click.echo(json.dumps({"bucket": file.bucket, "key": file.key}))
        else:
            click.echo(printable(f"{file.bucket}/{file.key}"))
    if not as_json:
        would = f"{counted(count, 'file')} would be sent to {plan.function.name}."
        click.echo(would if count else nothing_to_send(plan.function.name, listing), err=True)
    return 0


def main() -> None:
    """Entry point of `scar-launch`."""
    run(command, "scar-launch")
