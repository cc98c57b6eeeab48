"""`scar-launch`: run a workflow on the files that are already in its input folder.

For each file, one event is sent, in the form of an S3 notification. The launch waits for the result of the
first one before it sends the others: a workflow that does not work costs one invocation. With the journal on
disk, an interrupted launch can be resumed. See docs/launch.md.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import click

from scar_cli.examples import examples
from scar_cli.launch.files import Listing
from scar_cli.launch.plan import CONCURRENCY, LaunchOptions, Plan, plan_launch
from scar_cli.launch.report import nothing_to_send
from scar_cli.launch.send import files_to_send, send
from scar_cli.main import SETTINGS, run
from scar_cli.options import of_stage, prints_json
from scar_cli.table import counted, printable

_MOST_FROM_HERE = 256
"""Threads of one process."""


@click.command(
    context_settings=SETTINGS,
    epilog=examples(
        "scar-launch -f workflow.yaml --dry-run",
        "scar-launch -f workflow.yaml --match '*.jpg' --wait",
        "scar-launch -f workflow.yaml --max-cost 20",
        "scar-launch --resume JOURNAL",
    ),
)
@click.option("-f", "--file", "--conf-file", "fdl", metavar="FDL", help="FDL file of the deployed workflow.")
@click.option(
    "-n",
    "--name",
    metavar="FUNCTION",
    help="Function to run.  [default: the first function in the workflow]",
)
@of_stage
@click.option("--bucket-path", metavar="BUCKET/FOLDER", help="Select only files in this folder of the input.")
@click.option(
    "--bucket-suffix",
    metavar="SUFFIX",
    help="Bucket suffix of the deployment (-c bucket_suffix=).",
)
@click.option(
    "--match", metavar="GLOB", help="Select only files whose key under the folder matches, such as '*.jpg'."
)
@click.option(
    "--newer-than",
    metavar="TIME",
    help="Select only files uploaded in the last 2h or 3d, or since 2026-01-31T12:00.",
)
@click.option("--skip-done", is_flag=True, help="Skip files whose output already exists.")
@click.option("--limit", type=click.IntRange(1), metavar="N", help="Stop after this many files.")
@click.option("--dry-run", is_flag=True, help="Only show the files.")
@click.option(
    "--concurrency",
    type=click.IntRange(1, 250_000),
    metavar="N",
    default=CONCURRENCY,
    help="Number of events to send at once; with --distributed, the default is 500.",
)
@click.option("--rate", metavar="N/s", help="Limit the rate: 50/s, 3000/min, 100000/h.")
@click.option(
    "--max-cost",
    type=click.FloatRange(0, min_open=True),
    metavar="USD",
    help="Stop before the runs, with those on the way, cost more than this.",
)
@click.option("--resume", metavar="JOURNAL", help="Resume an interrupted launch.")
@click.option("--wait", is_flag=True, help="Wait until each file is done or has failed.")
@click.option(
    "--distributed", is_flag=True, help="List the files and send the events with AWS Step Functions."
)
@prints_json
def command(*, wait: bool, dry_run: bool, distributed: bool, as_json: bool, **typed: Any) -> int:
    """Run a function on each file that is already in its input folder.

    To resume an interrupted launch, use --resume with the path of the journal that it printed. The exit
    code is 1 if not all events were accepted or, with --wait, if a file failed.
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
    """Print how to resume a launch that is interrupted, if it has a journal."""
    try:
        yield
    except BaseException as error:
        notes = getattr(error, "__notes__", [])
        if not notes and isinstance(error, KeyboardInterrupt) and plan.journal.exists():
            notes = [f"To resume: {plan.resume_command}"]
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
    """Whether an option was given, rather than left at its default."""
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
