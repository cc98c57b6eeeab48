"""A repository's images on disk: an OCI image layout that other tools can read.

    FOLDER/index.json             the images, their tags, and when they were pushed
    FOLDER/blobs/sha256/HEX       manifests, configurations and layers

A blob gets its name only when its digest is checked and its bytes have reached the disk; `index.json` is
replaced as a whole. A cloud that is killed leaves a blob or no blob, an image or no image.
"""

from __future__ import annotations

import contextlib
import copy
import hashlib
import json
import os
import secrets
import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from local_cloud.ecr.manifests import CheckedManifest, InvalidManifestError, is_digest, parse_manifest

_TAG = "org.opencontainers.image.ref.name"
_PUSHED = "io.scar-cdk.pushed-at-ms"
_GRACE_S = 3600.0
"""A blob that was pushed or requested within this time may be part of an image that is being pushed."""


class RepositoryError(Exception):
    """A rejected push; `code` is that of the distribution specification."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass
class StoredImage:
    """An image in the repository."""

    digest: str
    media_type: str
    length: int
    """Bytes of the manifest."""
    pushed_at_ms: int
    tags: list[str] = field(default_factory=list)


class BlobPush:
    """A blob that is being pushed, in pieces. One request at a time may add to it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.size = 0
        self.busy = False
        self.used_at = time.monotonic()
        self._hash = hashlib.sha256()
        self._file = path.open("wb")

    @property
    def digest(self) -> str:
        """Digest of the received bytes."""
        return f"sha256:{self._hash.hexdigest()}"

    def write(self, piece: bytes) -> None:
        """Append. Raises OSError when the disk is full."""
        self._file.write(piece)
        self._hash.update(piece)
        self.size += len(piece)
        self.used_at = time.monotonic()

    def flush_to_disk(self) -> None:
        """The bytes must be there before the name is: a power cut must leave nothing wrong under a digest."""
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()

    def discard(self) -> None:
        """Forget it."""
        self._file.close()
        self.path.unlink(missing_ok=True)


class Repository:
    """The images in `folder`, which is created if it is missing. Safe to use from several threads."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder = folder
        self.name = name
        self.lock = threading.RLock()
        self._blobs = folder / "blobs" / "sha256"
        self._blobs.mkdir(parents=True, exist_ok=True)
        self._images: dict[str, StoredImage] = {}
        layout = folder / "oci-layout"
        if not layout.exists():
            layout.write_text('{"imageLayoutVersion": "1.0.0"}')
        self._load()

    # Blobs.

    def blob(self, digest: str) -> Path | None:
        """The file of a blob, or None. Its removal is postponed, because the caller may push an image with
        it."""
        path = self._path(digest)
        try:
            os.utime(path)
        except FileNotFoundError:
            return None
        return path

    def add_blob(self, upload: BlobPush, digest: str) -> None:
        """Let a finished upload appear as `digest`.

        Raises:
            RepositoryError: the bytes have another digest.
        """
        if upload.digest != digest:
            raise RepositoryError(
                "DIGEST_INVALID", f"provided digest {digest} did not match uploaded content {upload.digest}"
            )
        upload.flush_to_disk()
        upload.path.rename(self._path(digest))
        _sync(self._blobs)

    def mount_blob(self, source: Repository, digest: str) -> bool:
        """Take a blob of another repository without copying it. False if it has none."""
        path = source.blob(digest)
        if path is None:
            return False
        with contextlib.suppress(FileExistsError):
            os.link(path, self._path(digest))
        return True

    # Images.

    def images(self) -> list[StoredImage]:
        """All images, oldest first."""
        with self.lock:
            return list(self._images.values())

    def find(self, reference: str) -> StoredImage | None:
        """The image with a digest or tag."""
        with self.lock:
            if is_digest(reference):
                return self._images.get(reference)
            return next((image for image in self._images.values() if reference in image.tags), None)

    def manifest(self, image: StoredImage) -> bytes:
        """The manifest's bytes."""
        return self._path(image.digest).read_bytes()

    def parsed(self, image: StoredImage) -> CheckedManifest:
        """The manifest."""
        return parse_manifest(self.manifest(image), image.media_type)

    def put_image(self, content: bytes, media_type: str, tag: str | None, *, immutable: bool) -> StoredImage:
        """Store a manifest whose blobs exist, and point `tag` to it.

        Raises:
            RepositoryError: the manifest is invalid, a blob is missing, or the tag is immutable.
        """
        try:
            manifest = parse_manifest(content, media_type)
        except InvalidManifestError as error:
            raise RepositoryError("MANIFEST_INVALID", str(error)) from error
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        with self.lock:
            for blob in manifest.blobs:
                if not self._path(blob).is_file():
                    raise RepositoryError(
                        "MANIFEST_BLOB_UNKNOWN", f"blob {blob} is unknown to the repository"
                    )
            for child in manifest.manifests:
                if child not in self._images:
                    raise RepositoryError(
                        "MANIFEST_BLOB_UNKNOWN", f"manifest {child} is unknown to the repository"
                    )
            holder = self.find(tag) if tag else None
            if holder is not None and holder.digest != digest and immutable:
                raise RepositoryError(
                    "TAG_INVALID",
                    f"The image tag '{tag}' already exists in the '{self.name}' repository and cannot be "
                    "overwritten because the tag is immutable.",
                )
            if digest not in self._images:
                self._write_durably(self._path(digest), content)
            with self._saved_or_undone() as images:
                now_ms = time.time_ns() // 1_000_000
                image = images.setdefault(
                    digest, StoredImage(digest, manifest.media_type, len(content), now_ms)
                )
                if tag and (holder is None or holder.digest != digest):
                    if holder is not None:
                        images[holder.digest].tags.remove(tag)
                    image.tags.append(tag)
            return image

    def remove(self, image: StoredImage, tag: str | None = None) -> None:
        """Remove an image; with `tag`, only that, unless it is the last one."""
        with self.lock:
            if image.digest not in self._images:
                return
            blobs = set(self._blobs_of(image))
            with self._saved_or_undone() as images:
                if tag is not None and image.tags != [tag]:
                    images[image.digest].tags.remove(tag)
                    return
                del images[image.digest]
            self._path(image.digest).unlink(missing_ok=True)
            for digest in blobs - self._used_blobs():
                if self._age_s(digest) > _GRACE_S:
                    self._path(digest).unlink(missing_ok=True)

    def remove_garbage(self, grace_s: float = _GRACE_S) -> None:
        """Remove blobs that no image uses, and that were not pushed or requested within `grace_s`."""
        with self.lock:
            used = self._used_blobs() | set(self._images)
            for path in self._blobs.iterdir():
                digest = f"sha256:{path.name}"
                if digest not in used and self._age_s(digest) > grace_s:
                    path.unlink(missing_ok=True)

    def parts_of_indexes(self) -> set[str]:
        """Digests of the images that an index names: they stay for as long as it does."""
        with self.lock:
            return {child for image in self._images.values() for child in self.parsed(image).manifests}

    def _used_blobs(self) -> set[str]:
        return {blob for image in self._images.values() for blob in self._blobs_of(image)}

    def _blobs_of(self, image: StoredImage) -> tuple[str, ...]:
        return self.parsed(image).blobs

    def _age_s(self, digest: str) -> float:
        try:
            return time.time() - self._path(digest).stat().st_mtime
        except FileNotFoundError:
            return 0.0

    def _path(self, digest: str) -> Path:
        return self._blobs / digest.removeprefix("sha256:")

    # The index.

    def _load(self) -> None:
        with contextlib.suppress(FileNotFoundError):
            index = json.loads((self.folder / "index.json").read_bytes())
            for entry in index["manifests"]:
                annotations = entry["annotations"]
                image = self._images.setdefault(
                    entry["digest"],
                    StoredImage(
                        entry["digest"], entry["mediaType"], entry["size"], int(annotations[_PUSHED])
                    ),
                )
                if _TAG in annotations:
                    image.tags.append(annotations[_TAG])

    @contextlib.contextmanager
    def _saved_or_undone(self) -> Iterator[dict[str, StoredImage]]:
        """A copy of the images to be changed, which counts once it is on disk."""
        images = copy.deepcopy(self._images)
        yield images
        entries = list(_entries(images.values()))
        index = {"schemaVersion": 2, "manifests": entries, "annotations": {"name": self.name}}
        self._write_durably(self.folder / "index.json", json.dumps(index).encode())
        self._images = images

    def _write_durably(self, path: Path, content: bytes) -> None:
        temporary = self.folder / f"tmp-{secrets.token_hex(6)}"
        try:
            with temporary.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        _sync(path.parent)


def _entries(images: Iterable[StoredImage]) -> Iterator[dict[str, object]]:
    for image in images:
        for tag in image.tags or [""]:
            yield {
                "mediaType": image.media_type,
                "digest": image.digest,
                "size": image.length,
                "annotations": {_PUSHED: str(image.pushed_at_ms), **({_TAG: tag} if tag else {})},
            }


def _sync(folder: Path) -> None:
    """A new name is on the disk only when its folder is."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
