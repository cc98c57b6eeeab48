"""`scar put`: upload files and folders into a folder of a bucket.

A file keeps its base name; files in a folder keep their path below that folder. Everything is checked before
the first byte is sent: an invalid name is reported at once, not after an hour of uploading.
"""

from __future__ import annotations

import json
import os
import re
import stat
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import click

from fdl_schemas.stages import staged
from scar_cli.aws.deployed import DeployedFunction, stacks
from scar_cli.aws.transfers import FileToPut, client_of, send
from scar_cli.errors import UserError
from scar_cli.examples import with_examples
from scar_cli.options import prints_json, transfers_files
from scar_cli.progress import BYTES, terminal_line
from scar_cli.table import counted, printable

_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,61}[A-Za-z0-9]")
"""Also matches the oldest buckets, whose names could have upper-case letters."""
_NAMED = 5
_KEY_LIMIT = 1024
_LARGEST = 5 * 1024**4


@with_examples(
    "put", "scar put -b my-bucket/input -p video.avi", "scar put -b my-bucket/input -p photos/ -p more/"
)
@click.option("-b", "--bucket", "target", required=True, metavar="BUCKET/FOLDER", help="Folder to upload to.")
@click.option(
    "-p",
    "--path",
    "paths",
    required=True,
    multiple=True,
    metavar="PATH",
    help="File or folder to upload. Can be repeated.",
)
@transfers_files("upload")
@prints_json
def command(
    *,
    target: str,
    paths: tuple[str, ...],
    concurrency: int,
    stage: str | None,
    dry_run: bool,
    as_json: bool,
) -> int:
    """Upload files or folders.

    The bucket is on AWS, or on the embedded cloud after eval "$(scar local env)".
    """
    bucket, folder = parse_target(target, stage)
    if "" in paths:  # an unset variable; as a path it would mean the current folder
        raise UserError("The path of -p is empty", "Specify a file or folder to upload")
    uploads = plan(tuple(Path(path) for path in paths), folder)
    if dry_run:
        files = [_as_json(upload) for upload in uploads]
        if as_json:
            click.echo(json.dumps({"bucket": bucket, "dry_run": True, "files": files}))
            return 0
        for upload in uploads:
            shown = printable(f"{upload.path} → s3://{bucket}/{upload.key}")
            click.echo(f"{shown} ({readable_size(upload.size)})")
        return 0
    s3 = client_of(bucket, concurrency)
    for warning in _warnings(bucket, uploads):
        click.echo(f"scar: {warning}", err=True)
    started = time.monotonic()
    total = sum(upload.size for upload in uploads)
    with terminal_line(*BYTES, shown=not as_json, total=total or 1) as update:
        failed = send(s3, bucket, uploads, concurrency, lambda sent: update and update(advance=sent))
    seconds = time.monotonic() - started
    done = [upload for upload in uploads if upload not in failed]
    size = sum(upload.size for upload in done)
    if as_json:
        answer = {
            "bucket": bucket,
            "files": [_as_json(upload) for upload in done],
            "bytes": size,
            "seconds": round(seconds, 3),
            "failed": [{**_as_json(upload), "reason": reason} for upload, reason in failed.items()],
        }
        click.echo(json.dumps(answer))
    else:
        where = f"{bucket}/{folder}" if folder else bucket
        sent = f"{counted(len(done), 'file')} ({readable_size(size)})"
        click.echo(f"Uploaded {sent} to {where} in {seconds:.1f} s")
        for upload, reason in failed.items():
            click.echo(f"scar: {printable(str(upload.path))} was not uploaded: {reason}", err=True)
    return 1 if failed else 0


def parse_target(target: str, stage: str | None = None) -> tuple[str, str]:
    """`BUCKET`, `BUCKET/FOLDER` or `s3://BUCKET/FOLDER/` as (bucket, folder without slashes around it).

    With a stage, the bucket of that stage.
    """
    bucket, _slash, folder = target.removeprefix("s3://").partition("/")
    if not bucket:
        raise UserError(f"{target!r} has no bucket name", "Use -b BUCKET or -b BUCKET/FOLDER")
    bucket = staged(bucket, stage)
    if not _BUCKET.fullmatch(bucket):
        raise UserError(
            f"{bucket!r} is not a valid bucket name",
            "Use 3 to 63 lower-case letters, digits, dots and hyphens",
        )
    return bucket, folder.strip("/")


def plan(paths: tuple[Path, ...], folder: str) -> list[FileToPut]:
    """All files to upload, with their keys.

    Raises:
        UserError: a file is missing or unreadable, its key is invalid, or two files have the same key.
    """
    uploads: dict[str, FileToPut] = {}
    for path in paths:
        found = list(_files(path))
        if not found:
            raise UserError(f"The folder {path} contains no files", "Specify a folder with files in it")
        for file, below in found:
            key = f"{folder}/{below}" if folder else below
            size = _checked_size(file, key)
            if key in uploads and not file.samefile(uploads[key].path):
                raise UserError(
                    f"{uploads[key].path} and {file} have the same key, {key}",
                    "Upload them into different folders",
                )
            uploads[key] = FileToPut(file, key, size)
    return list(uploads.values())


def _warnings(bucket: str, uploads: list[FileToPut]) -> Iterator[str]:
    """Files that will not be processed as expected by the functions that read from their folders."""
    from scar_cli.launch.same_names import SameNames, same_names_warning

    empty = [upload for upload in uploads if not upload.size]
    pair = SameNames().first_pair(upload.key for upload in uploads)
    if not empty and pair is None:
        return
    functions: list[DeployedFunction] = []
    with suppress(UserError):  # who may not see what is deployed can upload all the same
        functions = [function for stack in stacks() for function in stack.functions]

    def reads(function: DeployedFunction, key: str) -> bool:
        return any(f"{bucket}/{key}".startswith(f"{folder}/") for folder in function.inputs)

    skipped = [one for one in empty if any(reads(function, one.key) for function in functions)]
    if skipped:
        named = ", ".join(printable(str(upload.path)) for upload in skipped[:_NAMED])
        more = f" and {len(skipped) - _NAMED} more" if len(skipped) > _NAMED else ""
        yield f"Functions do not run on empty files: {named}{more}"
    for function in functions:
        keys = [upload.key for upload in uploads if upload.size and reads(function, upload.key)]
        if function.outputs and (pair := SameNames().first_pair(keys)):
            yield same_names_warning(pair, function.name)


def readable_size(size: int) -> str:
    """A size for people, in powers of 1000 as disks and networks count."""
    value, unit = float(size), "bytes"
    for unit in ("bytes", "kB", "MB", "GB", "TB"):  # noqa: B007
        if value < 1000:  # noqa: PLR2004
            break
        value /= 1000
    return f"{size} bytes" if unit == "bytes" else f"{value:.1f} {unit}"


def _files(path: Path) -> Iterator[tuple[Path, str]]:
    """The file itself, or all files below a folder, with their names below it."""
    try:
        mode = path.stat().st_mode
    except OSError as error:
        raise _unreadable(path, error) from error
    if not stat.S_ISDIR(mode):
        yield path, path.absolute().name
        return
    # Links to folders are not followed: they can form a loop, or lead out of the folder.
    for name, folders, files in os.walk(path, onerror=_walk_failed):
        folders.sort()
        for file in sorted(files):
            found = Path(name) / file
            yield found, found.relative_to(path).as_posix()


def _checked_size(file: Path, key: str) -> int:
    try:
        status = file.stat()
    except OSError as error:
        raise _unreadable(file, error) from error
    if not stat.S_ISREG(status.st_mode):
        raise UserError(f"{file} is not a regular file", "Only files and folders can be uploaded")
    if not os.access(file, os.R_OK):
        raise UserError(
            f"{file} cannot be read: permission denied", "Change its permissions, or leave it out"
        )
    try:
        length = len(key.encode())
    except UnicodeEncodeError as error:
        raise UserError(
            f"The name of {str(file)!a} is not UTF-8, as keys in S3 must be", "Rename it"
        ) from error
    if length > _KEY_LIMIT:
        raise UserError(
            f"The key of {file} is {length} bytes long; S3 accepts {_KEY_LIMIT}", "Use shorter names"
        )
    if status.st_size > _LARGEST:
        raise UserError(f"{file} is larger than the 5 TiB that S3 accepts", "Split it")
    return status.st_size


def _unreadable(path: Path, error: OSError) -> UserError:
    if isinstance(error, FileNotFoundError):
        advice = "It is a broken link: remove it" if path.is_symlink() else "Check the spelling"
        return UserError(f"{path} does not exist", advice)
    return UserError(
        f"{path} cannot be read: {(error.strerror or str(error)).lower()}", "Change its permissions"
    )


def _walk_failed(error: OSError) -> None:
    raise _unreadable(Path(str(error.filename)), error) from error


def _as_json(upload: FileToPut) -> dict[str, Any]:
    return {"path": str(upload.path), "key": upload.key, "bytes": upload.size}
