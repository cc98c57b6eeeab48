"""The kinds of storage, and connections of `storage_providers`.

The settings of a connection are read when it is used, and again when they are rejected, because keys and
tokens can change during the life of an execution environment.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from containers.errors import ErrorKind, ExplainedError
from runtime.config import StorageConnection
from runtime.storage.contract import (
    CredentialsRefusedError,
    Storage,
    StoredObject,
    Upload,
    ignore_metadata,
)

Result = TypeVar("Result")

NO_PROVIDERS: Mapping[str, StorageConnection] = {}


def open_storage(provider: str, providers: Mapping[str, StorageConnection] = NO_PROVIDERS) -> Storage:
    """The storage that an FDL file calls `provider`: `s3`, or one of `providers`, `KIND.NAME`.

    Raises `ExplainedError` of kind `UnknownStorage`.
    """
    if provider == "s3":
        from runtime.storage.s3 import S3Storage

        return S3Storage()
    if provider not in providers:
        raise ExplainedError(
            f"This function has no storage provider {provider!r}",
            advice=f"Known providers: {', '.join(('s3', *providers))}.",
            kind=ErrorKind.UNKNOWN_STORAGE,
        )
    return _NamedStorage(providers[provider])


class _NamedStorage:
    """The `Storage` of a provider `KIND.NAME`; connects with the current secrets."""

    def __init__(self, provider: StorageConnection) -> None:
        self._provider = provider

    def download(
        self,
        source: StoredObject,
        target: Path,
        *,
        on_size: Callable[[int], None],
        on_metadata: Callable[[Mapping[str, str]], None] = ignore_metadata,
    ) -> int:
        """See `Storage.download`."""
        return self._with(
            lambda storage: storage.download(source, target, on_size=on_size, on_metadata=on_metadata)
        )

    def require_time(self, uploads: Sequence[Upload], until: float) -> None:
        """See `Storage.require_time`."""
        self._with(lambda storage: storage.require_time(uploads, until))

    def upload(self, uploads: Sequence[Upload], until: float = math.inf) -> None:
        """See `Storage.upload`."""
        self._with(lambda storage: storage.upload(uploads, until))

    def _with(self, work: Callable[[Storage], Result]) -> Result:
        from runtime.storage.secrets import settings_of

        settings = settings_of(self._provider)
        try:
            return work(_connected(self._provider, settings))
        except CredentialsRefusedError:
            newer = settings_of(self._provider, fresh=True)
            if newer == settings:
                raise
        return work(_connected(self._provider, newer))


def _connected(provider: StorageConnection, settings: Mapping[str, str]) -> Storage:
    if provider.kind == "webdav":
        from runtime.storage.webdav import WebDavStorage

        return WebDavStorage(provider, settings)
    if provider.kind == "onedata":
        from runtime.storage.onedata import OnedataStorage

        return OnedataStorage(provider, settings)
    from runtime.storage.s3_keyed import KeyedS3Storage

    return KeyedS3Storage(provider, settings)
