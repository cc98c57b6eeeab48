"""From the name of an image to an unpacked root file system, once per machine.

1. The name becomes a digest: known from before, or asked of the mirrors and the registry in turn. A tag is
looked up
   once per execution environment, and not again within a quarter of an hour by another process on the same
   machine; what lies on this machine (file:// mirrors, loopback registries) is looked at every time, as that
   costs nothing and a rebuilt image is noticed at once.
2. If the store has the digest, a lease on it is all there is to do.
3. Else one process downloads and unpacks it, and the others wait for that one.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType

from runtime.errors import RunnerError
from runtime.images.archive import find_in_s3_archive
from runtime.images.manifest import ImageConfig, host_architecture
from runtime.images.mirrors import Place, places_for
from runtime.images.origin import FoundImage, find_image
from runtime.images.reference import ImageReference, parse_reference
from runtime.images.store import DiskBudget, ImageStore, Lease
from runtime.images.unpack import Unpacker

Log = Callable[[str, Mapping[str, object]], None]
"""Takes a message and its fields."""

_NAME_VALID_S = 15 * 60.0
# Not the fault of the place that was asked: the next one would give the same.
_FINAL = frozenset({"DiskFull", "UnsafeImage", "StoreUnusable"})
# The registry does not answer for now: an image that is here already will do.
_PASSING = frozenset({"RegistryUnavailable", "PullLimit"})

_resolved: dict[tuple[Path, str], str] = {}


@dataclass(frozen=True)
class ImageSource:
    """What to run: an image in a registry, or an archive of one in S3."""

    reference: str | None = None
    archive_uri: str | None = None

    @classmethod
    def registry(cls, reference: str) -> ImageSource:
        """The image that `container.image` names."""
        return cls(reference=reference)

    @classmethod
    def archive_in_s3(cls, uri: str) -> ImageSource:
        """The docker-save or OCI archive at `s3://bucket/key` (`container.image_file`)."""
        return cls(archive_uri=uri)


@dataclass(frozen=True)
class RootFilesystem:
    """An unpacked image, leased: it stays in the store until `release`, or the end of the `with` block.

    The tree at `path` is shared by all invocations; an engine gives each one a fresh writable layer above it.
    """

    path: Path
    digest: str
    config: ImageConfig
    cached: bool
    bytes_downloaded: int
    lease: Lease | None = field(default=None, repr=False, compare=False)

    def release(self) -> None:
        """Let the store evict the image when the disk is short."""
        if self.lease is not None:
            self.lease.release()

    def __enter__(self) -> RootFilesystem:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.release()


def prepare_image(
    source: ImageSource,
    *,
    store: Path,
    mirrors: str | None = None,
    architecture: str | None = None,
    registry_credentials: str | None = None,
    log: Log = lambda _message, _fields: None,
) -> RootFilesystem:
    """The image of `source`, unpacked in `store` and leased.

    `mirrors` is written as SCAR_REGISTRY_MIRRORS, and taken from there if None. `architecture` defaults to
    this machine's. `registry_credentials` is the name or ARN of a secret with the registry's login (see
    `credentials`); Amazon ECR needs none. Raises RunnerError; its kinds are listed in docs of the package.
    """
    architecture = architecture or host_architecture()
    images = ImageStore(store)
    if source.archive_uri is not None:
        return _prepare_archive(source.archive_uri, images, architecture, log)
    if source.reference is None:
        raise RunnerError(
            "no image was given", advice="Set container.image or container.image_file", kind="NoImage"
        )
    reference = parse_reference(source.reference)
    mirrors = os.environ.get("SCAR_REGISTRY_MIRRORS", "") if mirrors is None else mirrors
    places = places_for(reference, mirrors, registry_credentials)
    name = f"{reference} {architecture} {mirrors}"
    return _prepare_reference(reference, name, places, images, architecture=architecture, log=log)


def _prepare_reference(
    reference: ImageReference,
    name: str,
    places: list[Place],
    images: ImageStore,
    *,
    architecture: str,
    log: Log,
) -> RootFilesystem:
    what = f"image {reference}"
    known = images.recall(name)
    if not places[0].local and (
        digest := _still_valid(images, name, known, pinned=reference.digest is not None)
    ):
        found_here = _from_store(images, digest)
        if found_here:
            return found_here
    failures: list[tuple[Place, RunnerError]] = []
    for place in places:
        try:
            with contextlib.closing(place.open()) as blobs:
                found = find_image(blobs, reference.version, architecture, what)
                root = _obtain(found, images, what, log)
        except RunnerError as error:
            if error.kind in _FINAL:
                raise
            failures.append((place, error))
            continue
        _note(images, name, found.digest, known)
        return root
    last = failures[-1][1]
    if known and last.kind in _PASSING and (stale := _from_store(images, known[0])):
        log(
            "registry does not answer, using the image as it was",
            {"image": str(reference), "cause": last.cause},
        )
        return stale
    raise _all_failed(failures)


def _prepare_archive(uri: str, images: ImageStore, architecture: str, log: Log) -> RootFilesystem:
    name = f"{uri} {architecture}"
    known = images.recall(name)
    digest = _still_valid(images, name, known, pinned=False)
    if digest and (found_here := _from_store(images, digest)):
        return found_here
    with find_in_s3_archive(uri, architecture, images.folder) as found:
        root = _obtain(found, images, f"image archive {uri}", log)
    _note(images, name, found.digest, known)
    return root


def _still_valid(
    images: ImageStore, name: str, known: tuple[str, float] | None, *, pinned: bool
) -> str | None:
    """The digest for `name` if it need not be asked for again."""
    if digest := _resolved.get((images.folder, name)):
        return digest
    if known and (pinned or known[1] < _NAME_VALID_S):
        return known[0]
    return None


def _note(images: ImageStore, name: str, digest: str, known: tuple[str, float] | None) -> None:
    _resolved[images.folder, name] = digest
    if known is None or known[0] != digest or known[1] > _NAME_VALID_S / 2:
        images.remember(name, digest)


def _from_store(images: ImageStore, digest: str) -> RootFilesystem | None:
    acquired = images.acquire(digest)
    if acquired is None:
        return None
    lease, config = acquired
    return RootFilesystem(images.path(digest) / "root", digest, config, True, 0, lease)


def _obtain(found: FoundImage, images: ImageStore, what: str, log: Log) -> RootFilesystem:
    """A lease on the image, unpacked now if it is not in the store."""
    downloaded = 0
    while True:
        here = _from_store(images, found.digest)
        if here:
            return replace(here, cached=False, bytes_downloaded=downloaded) if downloaded else here
        with images.exclusive(found.digest):
            if not images.holds(found.digest):
                _unpack(found, images, what, log)
                downloaded = found.compressed_bytes


def _unpack(found: FoundImage, images: ImageStore, what: str, log: Log) -> None:
    config = found.load_config()
    budget = DiskBudget(images, what, found.compressed_bytes)
    log("unpacking image", {"image": what, "digest": found.digest, "bytes": found.compressed_bytes})
    with images.new_image(found.digest) as folder:
        unpacker = Unpacker(folder / "root", charge=budget.charge, what=what)
        try:
            unpacker.apply(*found.layers)
            unpacker.finish()
            images.publish(folder, found.digest, config)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise budget.disk_full() from error
            raise RunnerError(
                f"{what} cannot be unpacked into {images.folder}: {error.strerror}",
                advice="Set SCAR_STORE to a folder that this user may write to",
                kind="StoreUnusable",
            ) from error


def _all_failed(failures: Iterable[tuple[Place, RunnerError]]) -> RunnerError:
    """The registry's own answer counts; what the mirrors said stands behind it."""
    *before, (_, last) = failures
    if not before:
        return last
    told = "; ".join(f"mirror {place.name}: {error.cause}" for place, error in before)
    return RunnerError(f"{last.cause} (asked before: {told})", advice=last.advice, kind=last.kind)
