"""The interface that every kind of storage has, and the registry of kinds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from runtime.errors import RunnerError


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

        `on_size` is called with the object's true size before the first byte is written, and may raise.
        Raises `RunnerError` (`InputMissing`, `StorageRefused`, `DownloadFailed`).
        """
        ...

    def upload(self, uploads: Sequence[Upload]) -> None:
        """Write all the files, in parallel, each visible only when it is complete; return when all are.

        Raises `RunnerError` (`UploadFailed`, `StorageRefused`) after the retries of one of them are used up.
        """
        ...


def register(kind: str, opener: Callable[[str], Storage]) -> None:
    """Make a kind known: `opener` is given the whole provider (`KIND` or `KIND.NAME`)."""
    _KINDS[kind] = opener


def open_storage(provider: str) -> Storage:
    """The storage that an FDL file calls `provider`. Raises `RunnerError` of kind `UnknownStorage`."""
    opener = _KINDS.get(provider.partition(".")[0])
    if opener is None:
        raise RunnerError(
            f"This runner has no storage provider {provider!r}",
            advice=f"It knows: {', '.join(sorted(_KINDS))}.",
            kind="UnknownStorage",
        )
    return opener(provider)


def _open_s3(provider: str) -> Storage:
    from runtime.storage.s3 import S3Storage

    if provider != "s3":
        raise RunnerError(
            f"This runner cannot reach the storage provider {provider!r}",
            advice="Use `s3`: the function's own account and role.",
            kind="UnknownStorage",
        )
    return S3Storage()


_KINDS: dict[str, Callable[[str], Storage]] = {"s3": _open_s3}
