"""The interface that every kind of storage has, and the registry of kinds."""

from __future__ import annotations

import math
import mimetypes
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from containers.errors import ExplainedError
from runtime.config import StorageProvider

NO_PROVIDERS: Mapping[str, StorageProvider] = {}


@dataclass(frozen=True, slots=True)
class StoredObject:
    """An object as an event names it. The key is decoded, and as hostile as its author likes."""

    bucket: str
    key: str
    size: int | None = None
    """Bytes; None: the event does not say."""
    version_id: str | None = None
    etag: str | None = None
    provider: str = "s3"

    @property
    def base_name(self) -> str:
        """What stands after the key's last `/`; may be empty."""
        return self.key.rpartition("/")[2]

    def __str__(self) -> str:
        """As a URI, for people; a key with control characters is escaped."""
        uri = f"{self.provider}://{self.bucket}/{self.key}"
        return uri if uri.isprintable() else ascii(uri)[1:-1]


@dataclass(frozen=True, slots=True)
class Upload:
    """One file and where it goes."""

    file: Path
    bucket: str
    key: str
    size: int


class Storage(Protocol):
    """One kind of storage, connected."""

    def download(self, source: StoredObject, target: Path, *, on_size: Callable[[int], None]) -> int:
        """Write the object into the new file `target`, with flat memory; return its bytes.

        `on_size` is called with the object's true size before the first byte is written (after the last
        one, if a server does not tell), and may raise.
        Raises `ExplainedError` (`InputMissing`, `StorageRefused`, `DownloadFailed`).
        """
        ...

    def require_time(self, uploads: Sequence[Upload], until: float) -> None:
        """Find out whether all can be uploaded before `until` (`time.monotonic`), without making one visible.

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
    """The storage refused, and newer credentials might help."""

    def __init__(self, cause: str, *, advice: str = "") -> None:
        super().__init__(cause, advice=advice, kind="StorageRefused")


def register(kind: str, opener: Callable[[StorageProvider, Mapping[str, str]], Storage]) -> None:
    """Make a kind of `storage_providers` known.

    `opener` is given one connection and all of its settings, those from Secrets Manager included.
    """
    _KINDS[kind] = opener


def open_storage(provider: str, providers: Mapping[str, StorageProvider] = NO_PROVIDERS) -> Storage:
    """The storage that an FDL file calls `provider`: `s3`, or one of `providers`, `KIND.NAME`.

    Raises `ExplainedError` of kind `UnknownStorage`.
    """
    if provider == "s3":
        from runtime.storage.s3 import S3Storage

        return S3Storage()
    connection = providers.get(provider)
    opener = _KINDS.get(connection.kind) if connection is not None else None
    if connection is None or opener is None:
        raise ExplainedError(
            f"This function has no storage provider {provider!r}",
            advice=f"It knows: {', '.join(('s3', *providers))}.",
            kind="UnknownStorage",
        )
    from runtime.storage.named import NamedStorage

    return NamedStorage(connection, opener)


def content_type(name: str) -> str:
    """Guessed from the name's ending, as browsers will be told."""
    kind, encoding = mimetypes.guess_type(name)
    if encoding:  # `x.tar.gz` is gzip data: a Content-Type of the inside would make readers unpack it unasked
        return {"gzip": "application/gzip", "bzip2": "application/x-bzip2", "xz": "application/x-xz"}.get(
            encoding, "application/octet-stream"
        )
    return kind or "application/octet-stream"


def _open_keyed_s3(provider: StorageProvider, settings: Mapping[str, str]) -> Storage:
    from runtime.storage.s3_keyed import KeyedS3Storage

    return KeyedS3Storage(provider, settings)


def _open_webdav(provider: StorageProvider, settings: Mapping[str, str]) -> Storage:
    from runtime.storage.webdav import WebDavStorage

    return WebDavStorage(provider, settings)


def _open_onedata(provider: StorageProvider, settings: Mapping[str, str]) -> Storage:
    from runtime.storage.onedata import OnedataStorage

    return OnedataStorage(provider, settings)


_KINDS: dict[str, Callable[[StorageProvider, Mapping[str, str]], Storage]] = {
    "s3": _open_keyed_s3,
    "minio": _open_keyed_s3,
    "webdav": _open_webdav,
    "onedata": _open_onedata,
}
