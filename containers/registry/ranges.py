"""Files that can be read at any place: on disk, and in S3 by ranged requests."""

from __future__ import annotations

import os
from typing import Any, Protocol

from containers.asking import asker
from containers.errors import ErrorKind, ExplainedError
from containers.image.origin import ByteStream


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
        return _S3Part(self, offset, length)

    def open_at(self, offset: int, end: int) -> Any:
        """The body of the response for the bytes from `offset` to before `end`."""
        answer = self._call(
            lambda: self._client.get_object(
                Bucket=self._bucket, Key=self._key, Range=f"bytes={offset}-{end - 1}", IfMatch=self._etag
            )
        )
        return answer["Body"]

    def failed(self, error: Exception) -> ExplainedError:
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
            raise self.failed(error) from error


class _S3Part:
    """One range of the object, reopened at the position where the connection broke."""

    _ATTEMPTS = 5

    def __init__(self, s3_object: S3Object, offset: int, length: int) -> None:
        self._object = s3_object
        self._offset = offset
        self._end = offset + length
        self._body: Any = None
        self._failures = 0

    def read(self, size: int, /) -> bytes:
        from botocore.exceptions import BotoCoreError
        from urllib3.exceptions import HTTPError

        while self._offset < self._end:
            try:
                if self._body is None:
                    self._body = self._object.open_at(self._offset, self._end)
                chunk: bytes = self._body.read(min(size, self._end - self._offset))
                if not chunk:
                    raise ConnectionError("the connection was closed too early")
            except (BotoCoreError, HTTPError, OSError) as error:
                self.close()
                self._failures += 1
                if self._failures >= self._ATTEMPTS:
                    raise self._object.failed(error) from error
            else:
                self._offset += len(chunk)
                return chunk
        return b""

    def close(self) -> None:
        if self._body is not None:
            self._body.close()
            self._body = None
