"""A connection of `storage_providers`: its settings are looked up when it is used, and again when they are
refused, as keys and tokens get changed while an execution environment lives on."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from runtime.config import StorageConnection
from runtime.storage import secrets
from runtime.storage.contract import CredentialsRefusedError, Storage, StoredObject, Upload

Result = TypeVar("Result")


class NamedStorage:
    """The `Storage` of a provider `KIND.NAME`; connects with the secrets as they are now."""

    def __init__(
        self, provider: StorageConnection, opener: Callable[[StorageConnection, Mapping[str, str]], Storage]
    ) -> None:
        self._provider = provider
        self._opener = opener

    def download(self, source: StoredObject, target: Path, *, on_size: Callable[[int], None]) -> int:
        """See `Storage.download`."""
        return self._with(lambda storage: storage.download(source, target, on_size=on_size))

    def require_time(self, uploads: Sequence[Upload], until: float) -> None:
        """See `Storage.require_time`."""
        self._with(lambda storage: storage.require_time(uploads, until))

    def upload(self, uploads: Sequence[Upload], until: float = math.inf) -> None:
        """See `Storage.upload`."""
        self._with(lambda storage: storage.upload(uploads, until))

    def _with(self, work: Callable[[Storage], Result]) -> Result:
        settings = secrets.settings_of(self._provider)
        try:
            return work(self._opener(self._provider, settings))
        except CredentialsRefusedError:
            newer = secrets.settings_of(self._provider, fresh=True)
            if newer == settings:
                raise
        return work(self._opener(self._provider, newer))
