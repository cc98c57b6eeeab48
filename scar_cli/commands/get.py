"""`scar get`: download one file or a folder of a bucket; with `--watch`, also files that appear later."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from scar_cli.aws.new_failures import NewFailure, NewFailures
from scar_cli.aws.session import explained
from scar_cli.aws.transfers import Download, client_of, objects_below, receive, safe_path
from scar_cli.commands.put import parse_target, readable_size
from scar_cli.errors import UserError
from scar_cli.examples import with_examples
from scar_cli.options import prints_json, transfers_files
from scar_cli.progress import BYTES, terminal_line
from scar_cli.table import counted, printable

_LOOK_EVERY_S = 2.0


@with_examples(
    "get",
    "scar get -b my-bucket/output -p results/",
    "scar get -b my-bucket/output --watch --expect 68 --within 600",
)
@click.option(
    "-b", "--bucket", "source", required=True, metavar="BUCKET/FOLDER", help="Folder or file to download."
)
@click.option("-p", "--path", metavar="PATH", default=".", help="Folder or file to write to.")
@click.option("--watch", is_flag=True, help="Wait for new files, until Ctrl-C, --expect or --within.")
@click.option("--expect", type=click.IntRange(1), metavar="N", help="With --watch: stop after N files.")
@click.option(
    "--within", type=click.FloatRange(0), metavar="SECONDS", help="With --watch: stop after this time."
)
@transfers_files("download")
@prints_json
def command(
    *,
    source: str,
    path: str,
    watch: bool,
    expect: int | None,
    within: float | None,
    concurrency: int,
    stage: str | None,
    dry_run: bool,
    as_json: bool,
) -> int:
    """Download a file, or all files of a folder. Existing local files are replaced.

    With --watch, the command stops and shows the reason if the function that writes the files fails. The exit
    code is 1 if a file could not be downloaded, if that function failed, or if --expect was not reached.
    """
    if not path:  # an unset variable; as a path it would mean the current folder
        raise UserError("The path of -p is empty", "Specify a folder or file")
    if not watch and (expect is not None or within is not None):
        raise UserError("--expect and --within need --watch", "Add --watch")
    bucket, folder = parse_target(source, stage)
    s3 = client_of(bucket, concurrency)
    single = None if watch or source.endswith("/") else _file(s3, bucket, folder)
    if single is not None:
        target, place = _place_of_file(path, single)
        wanted: Iterator[Download] = iter([single])
    else:
        target = Path(path)
        place = _placed_below(target)
        wanted = _below(s3, bucket, folder)
    if target.exists() and not target.is_dir():
        raise UserError(f"{target} is a file", "Specify a folder; a new one is created")
    if dry_run:
        return _show(bucket, wanted, place)
    started = time.monotonic()
    failure = None
    if watch:
        with _arrivals(expect, shown=not as_json) as arrivals:
            done, failed, failure = _watch(
                s3,
                bucket,
                folder,
                place=place,
                concurrency=concurrency,
                expect=expect,
                until=None if within is None else started + within,
                arrivals=arrivals,
            )
    else:
        with terminal_line(*BYTES, shown=not as_json, total=0) as update:
            done, failed = receive(
                s3,
                bucket,
                _known_to(update, wanted),
                place=place,
                concurrency=concurrency,
                advance=lambda received: update and update(advance=received),
            )
    if not done and not failed and not watch:
        raise UserError(
            f"There is no file {bucket}/{folder}, and no folder of that name with files",
            f"List the bucket: scar ls -b {bucket}",
        )
    seconds = time.monotonic() - started
    if as_json:
        answer = _as_json(bucket, done, failed, place) | {"seconds": round(seconds, 3)}
        click.echo(json.dumps(answer | ({"function_failed": asdict(failure)} if failure else {})))
    else:
        _report(f"{bucket}/{folder}" if folder else bucket, done, failed, seconds)
    if failure is not None:
        raise UserError(
            f"Stopped waiting: {failure.function} failed for {failure.subject}: {failure.reason}",
            f"See its log: scar log -n {failure.function}. When the cause is fixed, run it again: "
            f"scar retry -n {failure.function}",
            exit_code=1,
        )
    return 1 if failed or _is_late(done, expect) else 0


def _is_late(done: list[Download], expect: int | None) -> bool:
    """Whether fewer files than expected arrived, which is reported."""
    late = expect is not None and len(done) < expect
    if late:
        click.echo(f"scar: only {len(done)} of {expect} files arrived in time", err=True)
    return late


class _Arrivals:
    """Files that arrived so far: a line for each, and on a terminal, below the lines, how many there are."""

    def __init__(self, expect: int | None, update: Callable[..., None] | None) -> None:
        self._expect = expect
        self._update = update
        self._started = time.monotonic()
        self._count = self._size = 0

    def add(self, download: Download) -> None:
        """Print and count a file."""
        self._count += 1
        self._size += download.size
        click.echo(f"{printable(download.key)} ({readable_size(download.size)})", err=True)
        self.show()

    def show(self) -> None:
        """Update the terminal, as the rate changes without new files, too."""
        if self._update is not None and self._count:
            per_second = self._count / max(time.monotonic() - self._started, 1.0)
            rate = f"{per_second:.1f} files/s" if per_second >= 1 else f"{per_second * 60:.1f} files/min"
            number = f"{counted(self._count, 'file')}, " if self._expect is None else ""
            self._update(completed=self._count, told=f"{number}{readable_size(self._size)}, {rate}")


@contextmanager
def _arrivals(expect: int | None, *, shown: bool) -> Iterator[_Arrivals]:
    parts = ("MofNCompleteColumn", "BarColumn") if expect is not None else ("SpinnerColumn",)
    told = ("{task.fields[told]}", "TimeElapsedColumn")
    with terminal_line(*parts, *told, shown=shown, total=expect, told="Waiting for files") as update:
        yield _Arrivals(expect, update)


def _file(s3: Any, bucket: str, key: str) -> Download | None:
    """The object of exactly this key."""
    if key:
        with explained("404", "NoSuchKey", "NotFound"):
            head = s3.head_object(Bucket=bucket, Key=key)
            return Download(key, key.rpartition("/")[2], head["ContentLength"], head["ETag"])
    return None


def _below(s3: Any, bucket: str, folder: str) -> Iterator[Download]:
    """All files in the folder."""
    prefix = f"{folder}/" if folder else ""
    for found in objects_below(s3, bucket, folder):
        yield Download(found["Key"], found["Key"].removeprefix(prefix), found["Size"], found["ETag"])


def _placed_below(target: Path) -> Callable[[Download], Path]:
    return lambda download: safe_path(target, download.below)


def _place_of_file(text: str, single: Download) -> tuple[Path, Callable[[Download], Path]]:
    """Where one file is written: into a folder under its own name, or under the name of the path.

    A path that ends with a slash is a folder, whether it exists or not.
    """
    path = Path(text)
    if path.is_dir() or text.endswith("/"):
        return path, _placed_below(path)
    return path.parent, lambda _download: safe_path(path.parent, path.name)


def _watch(
    s3: Any,
    bucket: str,
    folder: str,
    *,
    place: Callable[[Download], Path],
    concurrency: int,
    expect: int | None,
    until: float | None,
    arrivals: _Arrivals,
) -> tuple[list[Download], dict[Download, str], NewFailure | None]:
    """Download what exists, then what appears. A file that is written again is downloaded again.

    Ends early with a failure that keeps files from appearing.
    """
    failures, failure = NewFailures.of(bucket, folder), None
    seen: set[tuple[str, str]] = set()
    done: dict[str, Download] = {}
    failed: dict[Download, str] = {}
    try:
        while True:
            failure = failures.look()  # first: files that appeared before it are still downloaded
            fresh = [one for one in _below(s3, bucket, folder) if (one.key, one.etag) not in seen]
            seen.update((one.key, one.etag) for one in fresh)
            got, not_got = receive(
                s3, bucket, fresh, place=place, concurrency=concurrency, arrived=arrivals.add
            )
            done |= {download.key: download for download in got}
            failed |= not_got
            over = until is not None and time.monotonic() >= until
            arrivals.show()
            if expect is not None and len(done) >= expect:
                failure = None
                break
            if over or failure is not None:
                break
            time.sleep(
                _LOOK_EVERY_S if until is None else max(0, min(_LOOK_EVERY_S, until - time.monotonic()))
            )
    except KeyboardInterrupt:
        if expect is not None:
            raise
    return list(done.values()), failed, failure


def _known_to(update: Callable[..., None] | None, files: Iterator[Download]) -> Iterator[Download]:
    """The files; the total of the bar grows while they are still being listed."""
    total = 0
    for file in files:
        total += file.size
        if update is not None:
            update(total=total)
        yield file


def _show(bucket: str, wanted: Iterator[Download], place: Callable[[Download], Path]) -> int:
    refused = 0
    for download in wanted:
        shown = printable(f"s3://{bucket}/{download.key}")
        try:
            click.echo(f"{shown} → {printable(str(place(download)))} ({readable_size(download.size)})")
        except ValueError as reason:
            refused += 1
            click.echo(f"scar: {shown} would not be downloaded: {reason}", err=True)
    return 1 if refused else 0


def _as_json(
    bucket: str, done: list[Download], failed: dict[Download, str], place: Callable[[Download], Path]
) -> dict[str, Any]:
    return {
        "bucket": bucket,
        "files": [
            {"key": download.key, "path": str(place(download)), "bytes": download.size} for download in done
        ],
        "failed": [{"key": download.key, "reason": reason} for download, reason in failed.items()],
    }


def _report(where: str, done: list[Download], failed: dict[Download, str], seconds: float) -> None:
    size = readable_size(sum(download.size for download in done))
    click.echo(f"Downloaded {counted(len(done), 'file')} ({size}) from {printable(where)} in {seconds:.1f} s")
    for download, reason in failed.items():
        click.echo(f"scar: {printable(download.key)} was not downloaded: {reason}", err=True)
