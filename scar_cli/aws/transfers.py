"""Uploads to S3 and downloads from it: several files at once, large ones in parts.

An interruption leaves no partial file behind, neither in the bucket nor on disk. Keys are untrusted: one that
is not a path below the target (`../x`, `a//b`, NUL) is rejected with a reason, and a symbolic link that leads
out of the target is not followed.
"""

from __future__ import annotations

import mimetypes
import os
import tempfile
import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import click

from scar_cli.aws.session import client, error_code, explain, explained
from scar_cli.errors import UserError

_PARTS_LIMIT = 10_000
_PART = 8 * 1024**2
_File = TypeVar("_File")


class FileToPut(NamedTuple):
    """A file, and the key to upload it to."""

    path: Path
    key: str
    size: int


class Download(NamedTuple):
    """An object, and the path below the target to download it to."""

    key: str
    below: str
    """Separated by `/`, as in the key."""
    size: int
    etag: str = ""


class UnsafeKeyError(ValueError):
    """The key is not a path of a file below the target; the text is the reason."""


def safe_path(target: Path, below: str) -> Path:
    """The path of a file below the target.

    Raises:
        UnsafeKeyError: it is not a valid path, or leads out of the target.
    """
    parts = below.split("/")
    if any(part in ("", ".", "..") for part in parts):
        raise UnsafeKeyError("its key is not a path of a file below a folder")
    if "\0" in below:
        raise UnsafeKeyError("its key contains a NUL character")
    path = target.joinpath(*parts)
    if not path.parent.resolve().is_relative_to(target.resolve()):
        raise UnsafeKeyError("a symbolic link leads out of the target folder")
    if path.is_dir():
        raise UnsafeKeyError("a folder of that name exists")
    return path


def client_of(bucket: str, concurrency: int) -> Any:
    """A client in the bucket's own region.

    Raises:
        UserError: the bucket does not exist, or belongs to someone else.
    """
    from botocore.exceptions import ClientError

    s3 = client("s3", max_pool_connections=concurrency * 4)
    with explained():
        try:
            s3.head_bucket(Bucket=bucket)
        except ClientError as error:
            headers = error.response.get("ResponseMetadata", {}).get("HTTPHeaders", {})
            region = headers.get("x-amz-bucket-region")
            if error_code(error) == "301" and region and region != s3.meta.region_name:
                return client("s3", region=region, max_pool_connections=concurrency * 4)
            if error_code(error) in ("404", "NoSuchBucket"):
                where = os.environ.get("AWS_ENDPOINT_URL") or f"AWS ({s3.meta.region_name})"
                raise UserError(
                    f"The bucket {bucket} does not exist at {where}",
                    "Check the name, or deploy the workflow that creates it",
                ) from error
            if error_code(error) in ("400", "403"):
                ask_why(s3, bucket)
            if error_code(error) == "403":
                raise UserError(
                    f"The bucket {bucket} exists, but these credentials cannot access it",
                    "It may belong to someone else: bucket names are unique across all of AWS",
                ) from error
            raise
    return s3


def ask_why(s3: Any, bucket: str) -> None:
    """Find out whether the credentials are invalid, by GET: responses to HEAD have no error message.

    Raises:
        UserError: the credentials have expired, for example.
    """
    from botocore.exceptions import ClientError

    try:
        s3.list_objects_v2(Bucket=bucket, MaxKeys=1)
    except ClientError as error:
        if error_code(error) not in ("AccessDenied", "403", "400"):
            told = explain(error)
            raise told or error from error


def objects_below(s3: Any, bucket: str, folder: str) -> Iterator[dict[str, Any]]:
    """All objects in the folder, page by page, without folder markers.

    Raises:
        UserError: the bucket cannot be listed.
    """
    with explained():
        for page in s3.get_paginator("list_objects_v2").paginate(
            Bucket=bucket, Prefix=f"{folder}/" if folder else ""
        ):
            yield from (found for found in page.get("Contents", []) if not found["Key"].endswith("/"))


def send(
    s3: Any, bucket: str, uploads: list[FileToPut], concurrency: int, advance: Callable[[int], object]
) -> dict[FileToPut, str]:
    """Upload all files. Returns those that failed, with the reason."""
    done: list[FileToPut] = []
    interrupted = threading.Event()
    moved = _until(interrupted, advance)  # boto3 then aborts the upload and deletes its parts

    def no_retry_of_those(*, caught_exception: Exception | None, **_more: Any) -> None:
        if caught_exception is not None and interrupted.is_set():
            raise _InterruptedTransferError

    s3.meta.events.register_first("needs-retry.s3", no_retry_of_those)

    def send_one(upload: FileToPut) -> None:
        content_type = mimetypes.guess_type(upload.path.name)[0] or "application/octet-stream"
        s3.upload_file(
            str(upload.path),
            bucket,
            upload.key,
            ExtraArgs={"ContentType": content_type},
            Callback=moved,
            Config=_config(max(_PART, -(-upload.size // _PARTS_LIMIT))),
        )
        done.append(upload)

    try:
        with closing(_each_by_threads(send_one, uploads, concurrency, interrupted)) as results:
            return {upload: _reason(error) for upload, error in results if error is not None}
    except KeyboardInterrupt:
        click.echo(
            f"scar: {len(done)} of {len(uploads)} files were uploaded before the interruption", err=True
        )
        raise


def receive(
    s3: Any,
    bucket: str,
    downloads: Iterable[Download],
    *,
    place: Callable[[Download], Path],
    concurrency: int,
    advance: Callable[[int], object] = lambda _bytes: None,
    arrived: Callable[[Download], object] = lambda _download: None,
) -> tuple[list[Download], dict[Download, str]]:
    """Download all files. Returns the downloaded ones, and the failed ones with the reason.

    `downloads` is consumed while files arrive, so that memory does not grow with their number. `place`
    returns the path of a file, or raises `UnsafeKeyError`. `arrived` is called after each file.
    """
    interrupted = threading.Event()
    moved, config = _until(interrupted, advance), _config(_PART)
    done: list[Download] = []
    failed: dict[Download, str] = {}

    def fetch(download: Download) -> None:
        path = place(download)
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=".scar-get-", dir=path.parent)
        os.close(handle)
        partial = Path(name)
        try:
            s3.download_file(bucket, download.key, name, Callback=moved, Config=config)
            partial.chmod(0o666 & ~_umask())
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)

    with closing(_each_by_threads(fetch, downloads, concurrency, interrupted)) as results:
        for download, error in results:
            if error is None:
                done.append(download)
                arrived(download)
            else:
                failed[download] = _reason(error)
    return done, failed


def _each_by_threads(
    work: Callable[[_File], None], files: Iterable[_File], concurrency: int, interrupted: threading.Event
) -> Generator[tuple[_File, BaseException | None], None, None]:
    """Yield each finished file with its error, if any. Sets `interrupted` and waits if it is interrupted."""
    with ThreadPoolExecutor(concurrency) as pool:
        running: dict[Future[None], _File] = {}
        left = iter(files)
        try:
            while True:
                while len(running) < concurrency and (file := next(left, None)) is not None:
                    running[pool.submit(work, file)] = file
                if not running:
                    return
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    yield running.pop(future), future.exception()
        except BaseException:
            interrupted.set()
            pool.shutdown(wait=True, cancel_futures=True)
            raise


def _until(interrupted: threading.Event, advance: Callable[[int], object]) -> Callable[[int], None]:
    """boto3's progress callback, which ends the transfer after an interruption."""

    def moved(size: int) -> None:
        if interrupted.is_set():
            raise _InterruptedTransferError
        advance(size)

    return moved


def _config(part: int) -> Any:
    from boto3.s3.transfer import TransferConfig

    return TransferConfig(multipart_threshold=part, multipart_chunksize=part, max_concurrency=4)


def _reason(error: BaseException) -> str:
    if isinstance(error, UnsafeKeyError):
        return str(error)
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    told = explain(error)
    return (told.cause if isinstance(told, UserError) else str(error)) or type(error).__name__


def _umask() -> int:
    """The umask of the process, which can only be read by setting it."""
    with _umask_lock:
        mask = os.umask(0o077)
        os.umask(mask)
        return mask


_umask_lock = threading.Lock()


class _InterruptedTransferError(Exception):
    """Ends a transfer in progress."""
