"""All repositories of the embedded cloud's ECR, each in its own folder, and the pushes in progress."""

from __future__ import annotations

import hashlib
import json
import secrets
import shutil
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from ministack.services import ecr

from local_cloud.ecr import lifecycle
from local_cloud.ecr.repository import BlobPush, Repository

_UPLOAD_IDLE_S = 24 * 3600.0
_UPKEEP_EVERY_S = 60.0


@dataclass(frozen=True)
class RepositoryKey:
    """Account, region and name of a repository."""

    account: str
    region: str
    name: str

    @property
    def arn(self) -> str:
        """Its ARN."""
        return f"arn:aws:ecr:{self.region}:{self.account}:repository/{self.name}"


class RepositoryStore:
    """The folder `root`. The emulator's own records list the repositories."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._uploads_folder = root / "uploads"
        shutil.rmtree(self._uploads_folder, ignore_errors=True)  # of a cloud that has ended
        self._uploads_folder.mkdir(parents=True)
        self._open: dict[RepositoryKey, Repository] = {}
        self._uploads: dict[str, tuple[RepositoryKey, BlobPush]] = {}
        self._lock = threading.RLock()

    def repository(self, key: RepositoryKey) -> Repository | None:
        """The images of a repository that exists."""
        if record(key) is None:
            return None
        with self._lock:
            if key not in self._open:
                self._open[key] = Repository(self.folder(key), key.name)
            return self._open[key]

    def remove(self, key: RepositoryKey) -> None:
        """Remove all images of a repository."""
        with self._lock:
            self._open.pop(key, None)
            for identity, (owner, upload) in list(self._uploads.items()):
                if owner == key:
                    del self._uploads[identity]
                    upload.discard()
            shutil.rmtree(self.folder(key), ignore_errors=True)

    def clear(self) -> None:
        """Remove the images of all repositories."""
        with self._lock:
            for folder in self._root.iterdir():
                if folder != self._uploads_folder:
                    shutil.rmtree(folder, ignore_errors=True)
            self._open.clear()

    def start_upload(self, key: RepositoryKey) -> tuple[str, BlobPush]:
        """A new upload and its id."""
        with self._lock:
            for identity, (_, upload) in list(self._uploads.items()):
                if time.monotonic() - upload.used_at > _UPLOAD_IDLE_S and not upload.busy:
                    del self._uploads[identity]
                    upload.discard()
            identity = secrets.token_hex(16)
            upload = BlobPush(self._uploads_folder / identity)
            self._uploads[identity] = key, upload
            return identity, upload

    def find_upload(self, key: RepositoryKey, identity: str) -> BlobPush | None:
        """The upload of a repository with this id."""
        owner, upload = self._uploads.get(identity, (None, None))
        return upload if owner == key else None

    def end_upload(self, identity: str) -> None:
        """Discard an upload, and remove its files."""
        with self._lock:
            _, upload = self._uploads.pop(identity, (None, None))
            if upload is not None:
                upload.discard()

    def keep_tidy(self) -> None:
        """Periodically: apply the lifecycle policies, and remove blobs that no image uses."""
        threading.Thread(target=self._tidy, daemon=True, name="ecr-upkeep").start()

    def _tidy(self) -> None:
        while True:
            time.sleep(_UPKEEP_EVERY_S)
            for account, region, name in all_keys():
                self.apply_lifecycle(RepositoryKey(account, region, name))

    def apply_lifecycle(self, key: RepositoryKey) -> None:
        """Remove expired images, and unused blobs."""
        repository = self.repository(key)
        if repository is None:
            return
        text = ecr._lifecycle_policies.get_scoped(key.account, key.region, key.name)
        with repository.lock:
            if text:
                now_ms = time.time_ns() // 1_000_000
                for image in lifecycle.expired(
                    json.loads(text), repository.images(), repository.parts_of_indexes(), now_ms
                ):
                    repository.remove(image)
            repository.remove_garbage()

    def folder(self, key: RepositoryKey) -> Path:
        """Where a repository's images are, or would be: an OCI image layout."""
        # A name may be longer than a file name, and is chosen by any caller of CreateRepository.
        return self._root / hashlib.sha256(key.arn.encode()).hexdigest()[:32]


def record(key: RepositoryKey) -> dict[str, object] | None:
    """The emulator's record of a repository."""
    found: dict[str, object] | None = ecr._repositories.get_scoped(key.account, key.region, key.name)
    return found


def all_keys() -> list[tuple[str, str, str]]:
    """Account, region and name of all repositories."""
    return list(ecr._repositories._data)
