"""`scar-launch`: run a workflow on the files that are in its input folder already.

The bucket is listed page by page, and each file gets one event of the shape that S3 sends. The first event
waits for its answer, so that the function's image is ready before the crowd comes, and so that a workflow
that does not work costs one invocation instead of a million. The rest is asynchronous.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote_plus

import click

from fdl_schemas.model import Function, StorageEntry, Workflow
from scar_cli.errors import UserError
from scar_cli.main import run
from scar_cli.session import client, error_code, explain, explained

_ANSWER_WITHIN_S = 930
"""A function runs for 900 seconds at most."""


@dataclass(frozen=True)
class InputFile:
    """An object in the input folder."""

    bucket: str
    key: str
    size: int
    etag: str


@dataclass
class Tally:
    """What became of the files; several threads count at once."""

    sent: int = 0
    failed: dict[str, str] = field(default_factory=dict)
    """Key to reason."""
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def count(self, key: str, reason: str | None) -> None:
        """Note one file: `reason` None if its event was accepted."""
        with self._lock:
            if reason is None:
                self.sent += 1
            else:
                self.failed[key] = reason


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "-f", "--file", "fdl", required=True, type=click.Path(), help="FDL file of the deployed workflow."
)
@click.option("-n", "--name", help="Function to run.  [default: the one that no other function feeds]")
@click.option("--bucket-suffix", help="As given to `cdk deploy -c bucket_suffix=`.")
@click.option("--limit", type=click.IntRange(1), help="Stop after this many files.")
@click.option(
    "--concurrency", type=click.IntRange(1, 256), default=16, show_default=True, help="Events sent at once."
)
@click.option("--dry-run", is_flag=True, help="Only say which files would be run.")
@click.option("--json", "as_json", is_flag=True, help="Answer in JSON.")
def command(
    *,
    fdl: str,
    name: str | None,
    bucket_suffix: str | None,
    limit: int | None,
    concurrency: int,
    dry_run: bool,
    as_json: bool,
) -> int:
    """Send one event per file that is in a function's input folder already."""
    function = choose(_workflow(fdl), name)
    s3 = client("s3")
    files = _first(limit, input_files(s3, function, bucket_suffix))
    if dry_run:
        return _show(function, files, as_json)
    region = s3.meta.region_name
    first = next(files, None)
    if first is None:
        return _report(function, Tally(), 0.0, as_json)
    started = time.monotonic()
    _run_first(function, first, region)
    tally = Tally(sent=1)
    _run_rest(function, files, region, concurrency, tally)
    return _report(function, tally, time.monotonic() - started, as_json)


def choose(workflow: Workflow, name: str | None) -> Function:
    """The function that is named, or the only one whose input no other function writes.

    Raises:
        UserError: no function fits, or several do.
    """
    readers = {function.name: function for function in workflow.functions if _s3_inputs(function)}
    if name is not None:
        if name in readers:
            return readers[name]
        known = any(function.name == name for function in workflow.functions)
        cause = (
            f"The function {name} has no input on S3" if known else f"There is no function {name} in the file"
        )
        raise UserError(cause, f"Functions that read from S3: {', '.join(readers) or 'none'}")
    fed = {target for _source, target in workflow.edges}
    heads = [function for function in readers.values() if function.name not in fed]
    if len(heads) == 1:
        return heads[0]
    if not heads:
        raise UserError(
            "No function in the file has an input on S3", "Give the function an input with a bucket"
        )
    raise UserError(
        f"Several functions read files that nobody else writes: {', '.join(head.name for head in heads)}",
        "Say which one by -n",
    )


def input_files(s3: Any, function: Function, bucket_suffix: str | None = None) -> Iterator[InputFile]:
    """The files in the function's input folders, page by page; markers of folders are left out.

    Raises:
        UserError: a bucket does not exist, or may not be listed.
    """
    for entry in _s3_inputs(function):
        bucket = f"{entry.bucket}-{bucket_suffix}" if bucket_suffix else entry.bucket
        pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=entry.key_prefix)
        try:
            with explained():
                for page in pages:
                    for found in page.get("Contents", []):
                        if fits(entry, found["Key"]):
                            yield InputFile(bucket, found["Key"], found["Size"], found["ETag"].strip('"'))
        except UserError as error:
            if error_code(error.__cause__ or error) == "NoSuchBucket":
                raise UserError(
                    f"There is no bucket {bucket}", "Deploy the workflow first, or look at --bucket-suffix"
                ) from error
            raise


def fits(entry: StorageEntry, key: str) -> bool:
    """Whether an object in the input folder is for the function: no marker, and passed by the filters."""
    name = key.rpartition("/")[2]
    if not name:
        return False
    return (not entry.prefixes or name.startswith(entry.prefixes)) and (
        not entry.suffixes or name.endswith(entry.suffixes)
    )


def event_for(file: InputFile, region: str) -> dict[str, Any]:
    """The event that S3 would send for the file, its key encoded as S3 does."""
    now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    record = {
        "eventVersion": "2.1",
        "eventSource": "aws:s3",
        "awsRegion": region,
        "eventTime": now,
        "eventName": "ObjectCreated:Put",
        "s3": {
            "s3SchemaVersion": "1.0",
            "configurationId": "scar-launch",
            "bucket": {"name": file.bucket, "arn": f"arn:aws:s3:::{file.bucket}"},
            "object": {"key": quote_plus(file.key, safe="/*"), "size": file.size, "eTag": file.etag},
        },
    }
    return {"Records": [record]}


def _workflow(path: str) -> Workflow:
    from fdl_schemas.diagnostics import FdlError
    from fdl_schemas.load import load_workflow

    try:
        return load_workflow(path)
    except FdlError as error:
        click.echo(error.render(color=sys.stderr.isatty()), err=True)
        raise click.exceptions.Exit(2) from error


def _s3_inputs(function: Function) -> list[StorageEntry]:
    return [entry for entry in function.inputs if entry.provider == "s3"]


def _first(limit: int | None, files: Iterator[InputFile]) -> Iterator[InputFile]:
    for number, file in enumerate(files, start=1):
        yield file
        if number == limit:
            return


def _run_first(function: Function, file: InputFile, region: str) -> None:
    """Run the first file and wait for its end.

    Raises:
        UserError: it failed, so nothing else is sent.
    """
    # Without retries: a call that is repeated after a time-out would run the file twice.
    lambda_ = client("lambda", retries={"total_max_attempts": 1}, read_timeout=_ANSWER_WITHIN_S)
    try:
        with explained():
            answer = lambda_.invoke(FunctionName=function.name, Payload=json.dumps(event_for(file, region)))
    except UserError as error:
        if error_code(error.__cause__ or error) == "ResourceNotFoundException":
            raise UserError(
                f"The function {function.name} is not deployed", "Deploy it: cdk deploy -c fdl=FILE"
            ) from error
        raise
    payload = answer["Payload"].read()
    if "FunctionError" in answer:
        raise UserError(
            f"The first file, {file.bucket}/{file.key}, failed: {_message(payload)}",
            "Nothing else was sent. The function's log tells more",
            exit_code=1,
        )


def _run_rest(
    function: Function, files: Iterator[InputFile], region: str, concurrency: int, tally: Tally
) -> None:
    """Send the events of all other files, listing on while they are sent."""
    lambda_ = client("lambda", max_pool_connections=concurrency)
    # As many wait as are sent, so that the memory needed does not depend on how many files there are.
    room = threading.BoundedSemaphore(concurrency * 2)

    def send(file: InputFile) -> None:
        try:
            payload = json.dumps(event_for(file, region))
            lambda_.invoke(FunctionName=function.name, InvocationType="Event", Payload=payload)
            tally.count(file.key, None)
        except Exception as error:
            told = explain(error)
            tally.count(file.key, told.cause if told else f"{type(error).__name__}: {error}")
        finally:
            room.release()

    with ThreadPoolExecutor(concurrency) as pool:
        try:
            for file in files:
                room.acquire()
                pool.submit(send, file)
        except KeyboardInterrupt:
            pool.shutdown(wait=True, cancel_futures=True)
            click.echo(f"Interrupted after {tally.sent} events.", err=True)
            raise


def _show(function: Function, files: Iterator[InputFile], as_json: bool) -> int:
    count = 0
    for file in files:
        count += 1
        click.echo(
            json.dumps({"bucket": file.bucket, "key": file.key}) if as_json else f"{file.bucket}/{file.key}"
        )
    if not as_json:
        click.echo(f"{count} files would be sent to {function.name}.", err=True)
    return 0


def _report(function: Function, tally: Tally, seconds: float, as_json: bool) -> int:
    if as_json:
        answer = {
            "function": function.name,
            "sent": tally.sent,
            "failed": tally.failed,
            "seconds": round(seconds, 3),
        }
        click.echo(json.dumps(answer))
    elif not tally.sent and not tally.failed:
        click.echo(f"There is no file in the input folder of {function.name}.")
    else:
        click.echo(f"Sent {tally.sent} events to {function.name} in {seconds:.1f} s.")
        for key, reason in list(tally.failed.items())[:10]:
            click.echo(f"scar-launch: no event for {key}: {reason}", err=True)
        if tally.failed:
            click.echo(f"scar-launch: {len(tally.failed)} files got no event.", err=True)
    return 1 if tally.failed else 0


def _message(payload: bytes) -> str:
    """What a function says about its failure."""
    try:
        told = json.loads(payload)
    except ValueError:
        return payload.decode(errors="replace")[:500]
    return str(told.get("errorMessage", told) if isinstance(told, dict) else told).strip().rstrip(".")[:2000]


def main() -> None:
    """Entry point of `scar-launch`."""
    run(command, "scar-launch")
