"""Sending files to S3: several at once, large ones in parts; an interruption leaves no half of one behind."""

from __future__ import annotations

import mimetypes
import os
import threading
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from scar_cli.aws.session import client, error_code, explain, explained
from scar_cli.errors import UserError

_PARTS_LIMIT = 10_000
_PART = 8 * 1024**2


@dataclass(frozen=True)
class FileToPut:
    """A file, and the key that it gets."""

    path: Path
    key: str
    size: int


def client_of(bucket: str, concurrency: int) -> Any:
    """A client in the bucket's own region.

    Raises:
        UserError: the bucket does not exist, or is someone else's.
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
                    f"There is no bucket {bucket} at {where}",
                    "Deploy the workflow that makes it, or look at the name",
                ) from error
            if error_code(error) in ("400", "403"):
                ask_why(s3, bucket)
            if error_code(error) == "403":
                raise UserError(
                    f"The bucket {bucket} exists, but these credentials may not use it",
                    "It may be someone else's: bucket names are shared by all of AWS",
                ) from error
            raise
    return s3


def ask_why(s3: Any, bucket: str) -> None:
    """An answer to HEAD has no words, so ask by GET whether it is the credentials themselves.

    Raises:
        UserError: they have expired, for example.
    """
    from botocore.exceptions import ClientError

    try:
        s3.list_objects_v2(Bucket=bucket, MaxKeys=1)
    except ClientError as error:
        if error_code(error) not in ("AccessDenied", "403", "400"):
            told = explain(error)
            raise told or error from error


def send(
    s3: Any, bucket: str, uploads: list[FileToPut], concurrency: int, advance: Callable[[int], None]
) -> dict[FileToPut, str]:
    """Upload all; the ones that failed, with the reason."""
    from boto3.s3.transfer import TransferConfig

    failed: dict[FileToPut, str] = {}
    interrupted = threading.Event()

    def moved(sent: int) -> None:
        if interrupted.is_set():
            raise _InterruptedUploadError  # boto3 gives the upload up, and takes its parts away
        advance(sent)

    def no_retry_of_those(*, caught_exception: Exception | None, **_more: Any) -> None:
        if caught_exception is not None and interrupted.is_set():
            raise _InterruptedUploadError

    s3.meta.events.register_first("needs-retry.s3", no_retry_of_those)

    def send_one(upload: FileToPut) -> None:
        part = max(_PART, -(-upload.size // _PARTS_LIMIT))
        content_type = mimetypes.guess_type(upload.path.name)[0] or "application/octet-stream"
        s3.upload_file(
            str(upload.path),
            bucket,
            upload.key,
            ExtraArgs={"ContentType": content_type},
            Callback=moved,
            Config=TransferConfig(multipart_threshold=part, multipart_chunksize=part, max_concurrency=4),
        )

    with ThreadPoolExecutor(concurrency) as pool:
        running: dict[Future[None], FileToPut] = {}
        left = iter(uploads)
        try:
            while True:
                while len(running) < concurrency and (upload := next(left, None)) is not None:
                    running[pool.submit(send_one, upload)] = upload
                if not running:
                    return failed
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    upload = running.pop(future)
                    if (error := future.exception()) is not None:
                        told = explain(error)
                        failed[upload] = (told.cause if told else str(error)) or type(error).__name__
        except KeyboardInterrupt:
            interrupted.set()
            pool.shutdown(wait=True, cancel_futures=True)
            done = len(uploads) - len(list(left)) - len(failed)
            done -= sum(future.cancelled() or future.exception() is not None for future in running)
            click.echo(
                f"scar: {done} of {len(uploads)} files were uploaded before the interruption", err=True
            )
            raise


class _InterruptedUploadError(Exception):
    """Ends an upload that is on its way."""
