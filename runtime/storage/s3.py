"""Amazon S3, with the function's own role (with keys: `s3_keyed`).

A small object is one streamed GET; a large one is fetched in parallel ranges by boto3's transfer manager.
How files are uploaded is in `s3_upload`.

For an event with a version, that version is read if the role may read versions, else the current one: if an
object was overwritten in between, both events then process the newer content.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from containers import aws
from containers.errors import ErrorKind, ExplainedError
from runtime.storage.contract import StoredObject, Upload, ignore_metadata
from runtime.storage.s3_upload import S3Uploader

MIB = 1024 * 1024
PARALLEL_FROM = 32 * MIB
"""Objects of this size or more are downloaded over several connections."""
CHUNK = MIB
DOWNLOAD_ATTEMPTS = 3
PARALLEL = 8


class S3Storage:
    """The `Storage` of provider `s3`."""

    provider = "s3"

    def __init__(self) -> None:
        self._client = self.connect()

    def connect(self) -> Any:
        """The client of boto3."""
        return aws.client("s3")

    def refused(self, action: str, subject: str, code: str) -> ExplainedError:
        """The error of an object that may not be read (`action`: `s3:GetObject`) or written."""
        what, but = ("output", "The bucket must exist, and the") if "Put" in action else ("input", "The")
        advice = f"{but} function's role needs {action} on it."
        if what == "input":
            advice += " S3 gives the same answer for a missing object if the role may not list the bucket."
        return ExplainedError(
            f"Amazon S3 refused the {what} {subject} ({code})", advice=advice, kind=ErrorKind.STORAGE_REFUSED
        )

    def download(
        self,
        source: StoredObject,
        target: Path,
        *,
        on_size: Callable[[int], None],
        on_metadata: Callable[[Mapping[str, str]], None] = ignore_metadata,
    ) -> int:
        """See `Storage.download`."""
        from boto3.exceptions import Boto3Error
        from botocore.exceptions import BotoCoreError, ClientError
        from urllib3.exceptions import HTTPError

        try:
            if source.size is not None and source.size >= PARALLEL_FROM:
                return self._in_ranges(source, target, on_size, on_metadata)
            return self._in_one_stream(source, target, on_size, on_metadata)
        except ClientError as error:
            if self.is_denied(error_code(error)) and _version(source):
                # A user's own role may have s3:GetObject without s3:GetObjectVersion.
                current = replace(source, version_id=None)
                return self.download(current, target, on_size=on_size, on_metadata=on_metadata)
            raise self._failed_download(source, error) from None
        except (BotoCoreError, Boto3Error, HTTPError, ValueError, KeyError) as error:
            # botocore does not convert the last three: the truncated body of an error, a length that is not a
            # number, an answer without a length.
            told = str(error) if isinstance(error, BotoCoreError | Boto3Error) else type(error).__name__
            raise ExplainedError(
                f"The input {source} could not be downloaded: {told}",
                advice="The event will be retried.",
                kind=ErrorKind.DOWNLOAD_FAILED,
            ) from None

    def require_time(self, uploads: Sequence[Upload], until: float) -> None:
        """See `Storage.require_time`."""
        S3Uploader(self._client, self._failed_upload).require_time(uploads, until)

    def upload(self, uploads: Sequence[Upload], until: float = math.inf) -> None:
        """See `Storage.upload`."""
        S3Uploader(self._client, self._failed_upload).upload(uploads, until)

    def _in_one_stream(
        self,
        source: StoredObject,
        target: Path,
        on_size: Callable[[int], None],
        on_metadata: Callable[[Mapping[str, str]], None],
    ) -> int:
        from botocore.exceptions import IncompleteReadError, ReadTimeoutError, ResponseStreamingError

        for attempt in range(1, DOWNLOAD_ATTEMPTS + 1):
            # The client retries requests, but not a connection that fails within the body.
            answer = self._client.get_object(Bucket=source.bucket, Key=source.key, **_version(source))
            on_metadata(answer["Metadata"])
            on_size(answer["ContentLength"])
            written = 0
            try:
                with target.open("wb") as file:
                    for chunk in answer["Body"].iter_chunks(CHUNK):
                        written += file.write(chunk)
            except (IncompleteReadError, ReadTimeoutError, ResponseStreamingError):
                if attempt == DOWNLOAD_ATTEMPTS:
                    raise
            else:
                break
        return written

    def _in_ranges(
        self,
        source: StoredObject,
        target: Path,
        on_size: Callable[[int], None],
        on_metadata: Callable[[Mapping[str, str]], None],
    ) -> int:
        from boto3.s3.transfer import TransferConfig

        facts = self._client.head_object(Bucket=source.bucket, Key=source.key, **_version(source))
        size: int = facts["ContentLength"]
        on_metadata(facts["Metadata"])
        on_size(size)
        settings = TransferConfig(multipart_chunksize=16 * MIB, max_concurrency=PARALLEL, max_io_queue=16)
        self._client.download_file(
            source.bucket, source.key, str(target), ExtraArgs=_version(source), Config=settings
        )
        return size

    def is_denied(self, code: str) -> bool:
        """Whether the error is about the credentials, not about the object."""
        return code in ("AccessDenied", "403", "Forbidden")

    def _failed_download(self, source: StoredObject, error: Any) -> ExplainedError:
        code = error_code(error)
        if code in ("NoSuchKey", "NoSuchVersion", "NoSuchBucket", "404", "NotFound"):
            return ExplainedError(
                f"The input {source} does not exist",
                advice="It was deleted or renamed after the event was sent; upload it again.",
                kind=ErrorKind.INPUT_MISSING,
            )
        if self.is_denied(code):
            return self.refused("s3:GetObject", str(source), code)
        return ExplainedError(
            f"The input {source} could not be downloaded: {error}", kind=ErrorKind.DOWNLOAD_FAILED
        )

    def _failed_upload(self, upload: Upload, error: Exception) -> ExplainedError:
        from botocore.exceptions import ClientError

        target = str(StoredObject(upload.bucket, upload.key, provider=self.provider))
        if isinstance(error, ClientError):
            code = error_code(error)
            if self.is_denied(code) or code == "NoSuchBucket":
                return self.refused("s3:PutObject", target, code)
        return ExplainedError(
            f"The output {target} ({upload.size} bytes) could not be uploaded: {error}",
            advice="The event will be retried.",
            kind=ErrorKind.UPLOAD_FAILED,
        )


def _version(source: StoredObject) -> dict[str, str]:
    # "null" is the version in a bucket with suspended versioning: the current object.
    return {"VersionId": source.version_id} if source.version_id not in (None, "", "null") else {}


def error_code(error: Any) -> str:
    """The error code of S3. For an answer without a body, as to a HEAD request, it is the status."""
    return str(error.response.get("Error", {}).get("Code", ""))
