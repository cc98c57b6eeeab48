"""Files that can be read at any place: on disk, and in S3 by ranged requests."""

from __future__ import annotations

import os
from typing import Any, Protocol

from containers.asking import asker
from containers.errors import ErrorKind, ExplainedError
from containers.image.origin import ByteStream
from containers.patience import ServerPatience
from containers.registry.resuming import Opened, ResumingStream

_PATIENCE = ServerPatience(first_pause_s=0.1)


class RangeSource(Protocol):
    """A file that can be read at any place."""

    size: int

    def stream(self, offset: int, length: int) -> ByteStream:
        """The bytes from `offset` on."""


class FileSource:
    """An open file as a RangeSource."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self.size = os.fstat(descriptor).st_size

    def stream(self, offset: int, length: int) -> ByteStream:
        """The bytes from `offset` on."""
        return _FilePart(self._descriptor, offset, length)


class _FilePart:
    def __init__(self, descriptor: int, offset: int, length: int) -> None:
        self._descriptor = descriptor
        self._offset = offset
        self._end = offset + length

    def read(self, size: int, /) -> bytes:
        chunk = os.pread(self._descriptor, min(size, self._end - self._offset), self._offset)
        self._offset += len(chunk)
        return chunk

    def close(self) -> None:
        pass


class S3Object:
    """An object in S3 as a RangeSource; all ranges are of the version that was seen first."""

    def __init__(self, bucket: str, key: str, what: str) -> None:
        import boto3
        from botocore.config import Config

        self._client = boto3.client(
            "s3", config=Config(retries={"mode": "standard", "total_max_attempts": 5})
        )
        self._bucket, self._key, self._what = bucket, key, what
        head = self._call(lambda: self._client.head_object(Bucket=bucket, Key=key))
        self.size = int(head["ContentLength"])
        self._etag = str(head["ETag"])

    def stream(self, offset: int, length: int) -> ByteStream:
        """The bytes from `offset` on."""
        from botocore.exceptions import BotoCoreError
        from urllib3.exceptions import HTTPError

        last = offset + length - 1

        def open_at(position: int) -> Opened:
            wanted = f"bytes={offset + position}-{last}"
            body = self._call(
                lambda: self._client.get_object(
                    Bucket=self._bucket, Key=self._key, Range=wanted, IfMatch=self._etag
                )
            )["Body"]
            return Opened(body.read, body.close)

        errors = (BotoCoreError, HTTPError, OSError)
        return ResumingStream(open_at, length, _PATIENCE, errors, self._failed)

    def _failed(self, error: Exception) -> ExplainedError:
        """The explained error for an `error` of S3."""
        code = getattr(error, "response", {}).get("Error", {}).get("Code", "")
        if code in ("404", "NoSuchKey", "NoSuchBucket"):
            return ExplainedError(
                f"{self._what} does not exist",
                advice="Deploy again: the archive of container.image_file is uploaded by cdk deploy",
                kind=ErrorKind.IMAGE_NOT_FOUND,
            )
        return ExplainedError(
            f"{self._what} cannot be read: {error}",
            advice=f"Check that {asker().identity} may read it, and that S3 can be reached",
            kind=ErrorKind.REGISTRY_UNAVAILABLE,
        )

    def _call(self, request: Any) -> Any:
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            return request()
        except (BotoCoreError, ClientError) as error:
            raise self._failed(error) from error
