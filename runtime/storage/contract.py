"""The interface that every kind of storage has."""

from __future__ import annotations

import math
import mimetypes
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from containers.errors import ErrorKind, ExplainedError

TRACE_METADATA = "traceparent"
"""Name of the metadata of an object that names the run that wrote it (`runtime/trace.py`)."""


@dataclass(frozen=True, slots=True)
class StoredObject:
    """The object of an event. The key is decoded, and untrusted."""

    bucket: str
    key: str
    size: int | None = None
    """Bytes; None: not in the event."""
    version_id: str | None = None
    etag: str | None = None
    provider: str = "s3"
    sequencer: str | None = None
    """Distinguishes this event from others about the same key."""

    @property
    def base_name(self) -> str:
        """The part of the key after the last `/`; may be empty."""
        return self.key.rpartition("/")[2]

    def __str__(self) -> str:
        """As a URI, for people; a key with control characters is escaped."""
        uri = f"{self.provider}://{self.bucket}/{self.key}"
        return uri if uri.isprintable() else ascii(uri)[1:-1]


@dataclass(frozen=True, slots=True)
class Upload:
    """One file and its destination."""

    file: Path
    bucket: str
    key: str
    size: int
    claim: str | None = None
    """Id of the claim (`once`) under which the file is written only once; None: it is always written."""
    traceparent: str | None = None
    """Metadata of an object on S3: the run that writes it (`runtime.trace`)."""


def ignore_metadata(_metadata: Mapping[str, str]) -> None:
    """For a caller of `Storage.download` that does not need the metadata."""


class Storage(Protocol):
    """One kind of storage, connected."""

    def download(
        self,
        source: StoredObject,
        target: Path,
        *,
        on_size: Callable[[int], None],
        on_metadata: Callable[[Mapping[str, str]], None] = ignore_metadata,
    ) -> int:
        """Write the object into the new file `target`, with constant memory; return its size in bytes.

        `on_metadata` is called first, with the user-defined metadata of an object; files have none.
        `on_size` is called with the object's true size before the first byte is written (after the last one,
        if the server does not report it), and may raise.
        Raises `ExplainedError` (`InputMissing`, `StorageRefused`, `DownloadFailed`).
        """
        ...

    def require_time(self, uploads: Sequence[Upload], until: float) -> None:
        """Check whether all files can be uploaded before `until` (`time.monotonic`), without making one
        visible.

        Raises `ExplainedError` of kind `TimedOut`.
        """
        ...

    def upload(self, uploads: Sequence[Upload], until: float = math.inf) -> None:
        """Write all the files, in parallel, each visible only when it is complete; return when all are.

        Raises `ExplainedError` (`UploadFailed`, `StorageRefused`, `StorageFull`, `OutputName`) after the
        retries of one of them are used up, or of kind `TimedOut` at `until`.
        """
        ...


class CredentialsRefusedError(ExplainedError):
    """The storage denied access, and newer credentials might help."""

    def __init__(self, cause: str, *, advice: str = "") -> None:
        super().__init__(cause, advice=advice, kind=ErrorKind.STORAGE_REFUSED)


def content_type(name: str) -> str:
    """Guessed from the file extension."""
    kind, encoding = mimetypes.guess_type(name)
    if encoding:  # `x.tar.gz` is gzip data: a Content-Type of the inside would make readers unpack it unasked
        return {"gzip": "application/gzip", "bzip2": "application/x-bzip2", "xz": "application/x-xz"}.get(
            encoding, "application/octet-stream"
        )
    return kind or "application/octet-stream"
