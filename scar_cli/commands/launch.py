"""`scar-launch`: run a workflow on the files that are in its input folder already.

The bucket is listed page by page, and each file gets one event of the shape that S3 sends. The first event
waits for its answer, so that the function's image is ready before the crowd comes, and so that a workflow
that does not work costs one invocation instead of a million. The rest is asynchronous. A journal on disk lets
an interrupted launch go on. docs/launch.md tells users about all of it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable

import click

from scar_cli.launch.journal_head import CONCURRENCY, Wanted
from scar_cli.launch.launch import Launch
from scar_cli.launch.outcome import counted
from scar_cli.main import run
from scar_cli.table import printable

_MOST_FROM_HERE = 256
"""Threads of one process."""


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("-f", "--file", "--conf-file", "fdl", metavar="FDL", help="FDL file of the deployed workflow.")
@click.option("-n", "--name", help="Function to run.  [default: the one that no other function feeds]")
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
def command(
    *,
    fdl: str | None,
    name: str | None,
    bucket_path: str | None,
    bucket_suffix: str | None,
    match: str | None,
    newer_than: str | None,
    skip_done: bool,
    limit: int | None,
    dry_run: bool,
    concurrency: int,
    rate: str | None,
    resume: str | None,
    wait: bool,
    distributed: bool,
    as_json: bool,
) -> int:
    """Send one event for each file that is in a function's input folder already.

    An interrupted launch goes on by --resume with its journal, whose path it tells. Ends with 1 if it was
    stopped before all events were accepted, or, after --wait, if a file has failed.
    """
    if fdl is None and resume is None:
        raise click.UsageError("Missing option '-f' / '--file': the FDL file of the deployed workflow.")
    if concurrency > _MOST_FROM_HERE and not distributed:
        raise click.UsageError(f"--concurrency is at most {_MOST_FROM_HERE} without --distributed.")
    wanted = Wanted(
        fdl=fdl,
        name=name,
        bucket_suffix=bucket_suffix,
        bucket_path=bucket_path,
        match=match,
        newer_than=newer_than,
        skip_done=skip_done,
        limit=limit,
        concurrency=concurrency,
        rate=rate,
        resume=resume,
    )
    if distributed:
        return _distributed(wanted, wait=wait, dry_run=dry_run, as_json=as_json)
    with Launch(wanted) as launch:
        if wait and not dry_run:
            launch.prepare_to_wait()
        if dry_run:
            return _show(launch, as_json)
        outcome = launch.send(shown=not as_json)
        if not as_json:
            _say(outcome.told())
        if wait:
            outcome.waited = launch.wait(shown=not as_json)
        if as_json:
            click.echo(json.dumps(outcome.as_json()))
        else:
            _say(outcome.told_after_waiting())
        return outcome.exit_code


def _distributed(wanted: Wanted, *, wait: bool, dry_run: bool, as_json: bool) -> int:
    from scar_cli.launch.distributed import batches_of, launch_distributed, refuse_other_options, told

    refuse_other_options(wanted, wait=wait, dry_run=dry_run)
    concurrency = wanted.concurrency if is_given("concurrency") else None
    with Launch(wanted) as launch:
        outcome = launch_distributed(launch, batches_of(concurrency), shown=not as_json)
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


def _show(launch: Launch, as_json: bool) -> int:
    count = 0
    for file in launch.files():
        count += 1
        if as_json:
            click.echo(json.dumps({"bucket": file.bucket, "key": file.key}))
        else:
            click.echo(printable(f"{file.bucket}/{file.key}"))
    if not as_json:
        click.echo(f"{counted(count, 'file')} would be sent to {launch.function.name}.", err=True)
    return 0


def main() -> None:
    """Entry point of `scar-launch`."""
    run(command, "scar-launch")
