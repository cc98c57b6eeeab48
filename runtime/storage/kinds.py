"""The kinds of storage."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from containers.errors import ErrorKind, ExplainedError
from runtime.config import StorageConnection
from runtime.storage.contract import NO_PROVIDERS, Storage


def open_storage(provider: str, providers: Mapping[str, StorageConnection] = NO_PROVIDERS) -> Storage:
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
            kind=ErrorKind.UNKNOWN_STORAGE,
        )
    from runtime.storage.named import NamedStorage

    return NamedStorage(connection, opener)


def _open_keyed_s3(provider: StorageConnection, settings: Mapping[str, str]) -> Storage:
    from runtime.storage.s3_keyed import KeyedS3Storage

    return KeyedS3Storage(provider, settings)


def _open_webdav(provider: StorageConnection, settings: Mapping[str, str]) -> Storage:
    from runtime.storage.webdav import WebDavStorage

    return WebDavStorage(provider, settings)


def _open_onedata(provider: StorageConnection, settings: Mapping[str, str]) -> Storage:
    from runtime.storage.onedata import OnedataStorage

    return OnedataStorage(provider, settings)


_KINDS: dict[str, Callable[[StorageConnection, Mapping[str, str]], Storage]] = {
    "s3": _open_keyed_s3,
    "minio": _open_keyed_s3,
    "webdav": _open_webdav,
    "onedata": _open_onedata,
}
