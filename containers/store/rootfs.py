"""Turns the name of an image into an unpacked root file system, once for each machine.

1. The name is resolved to a digest: from the cache, or by the mirrors and the registry in turn. A tag is
   looked up once for each execution environment, and not again within a quarter of an hour by another process
   on the same machine. Sources on this machine (file:// mirrors, loopback registries) are checked every time,
   because that costs nothing and a rebuilt image is used at once.
2. If the store has the digest, only a lease on it is needed.
3. Otherwise, one process downloads and unpacks it, and the others wait for that one.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from containers.errors import ErrorKind, ExplainedError
from containers.image.manifests import host_architecture
from containers.registry.mirrors import places_for
from containers.registry.references import parse_reference
from containers.store.archive import find_in_archive, s3_archive
from containers.store.pull import Log, WantedImage, from_store, obtain_image, pull
from containers.store.root_filesystem import RootFilesystem
from containers.store.store import ImageStore

__all__ = ["ImageSource", "RootFilesystem", "prepare_image"]

_NAME_VALID_S = 15 * 60.0
# The registry does not answer for now: an image that is here already will do.
_PASSING = frozenset({ErrorKind.REGISTRY_UNAVAILABLE, ErrorKind.PULL_LIMIT})

_resolved: dict[tuple[Path, str], str] = {}


@dataclass(frozen=True)
class ImageSource:
    """The source of an image: a registry, or an archive in S3."""

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


def prepare_image(
    source: ImageSource,
    *,
    store: Path,
    mirrors: str | None = None,
    architecture: str | None = None,
    registry_credentials: str | None = None,
    deadline: float | None = None,
    log: Log = lambda _message, _fields: None,
) -> RootFilesystem:
    """The image of `source`, unpacked in `store` and leased.

    `mirrors` has the format of SCAR_REGISTRY_MIRRORS, which is the default. `architecture` defaults to
    this machine's. `registry_credentials` is the name or ARN of a secret with the registry's login (see
    `credentials`); Amazon ECR needs none. `deadline` (`time.monotonic`) is when the run must have ended: it
    bounds waiting for other environments. Raises ExplainedError; its kinds are listed in the docstring of the
    package.
    """
    architecture = architecture or host_architecture()
    images = ImageStore(store)
    if source.archive_uri is not None:
        return _prepare_archive(source.archive_uri, images, architecture, log)
    if source.reference is None:
        raise ExplainedError(
            "no image was given",
            advice="Set container.image or container.image_file",
            kind=ErrorKind.NO_IMAGE,
        )
    reference = parse_reference(source.reference)
    mirrors = os.environ.get("SCAR_REGISTRY_MIRRORS", "") if mirrors is None else mirrors
    places = places_for(reference, mirrors, registry_credentials)
    wanted = WantedImage(reference, places, mirrors, architecture, deadline)
    return _prepare_reference(wanted, images, log)


def _prepare_reference(wanted: WantedImage, images: ImageStore, log: Log) -> RootFilesystem:
    name = f"{wanted.reference} {wanted.architecture} {wanted.mirrors}"
    known = images.recall(name)
    pinned = wanted.reference.digest is not None
    if not wanted.places[0].local and (digest := _still_valid(images, name, known, pinned=pinned)):
        found_here = from_store(images, digest)
        if found_here:
            return found_here
    try:
        root = pull(wanted, wanted.reference.version, images, log)
    except ExplainedError as error:
        if known and error.kind in _PASSING and (stale := from_store(images, known[0])):
            log(
                "registry does not answer, using the cached image",
                {"image": str(wanted.reference), "cause": error.cause},
            )
            return stale
        raise
    _note(images, name, root.digest, known)
    return root


def _prepare_archive(uri: str, images: ImageStore, architecture: str, log: Log) -> RootFilesystem:
    name = f"{uri} {architecture}"
    known = images.recall(name)
    digest = _still_valid(images, name, known, pinned=False)
    if digest and (found_here := from_store(images, digest)):
        return found_here
    what = f"image archive {uri}"
    found = find_in_archive(s3_archive(uri, what), architecture, what)
    root = obtain_image(found, images, what, log)
    _note(images, name, found.digest, known)
    return root


def _still_valid(
    images: ImageStore, name: str, known: tuple[str, float] | None, *, pinned: bool
) -> str | None:
    """The cached digest for `name`, if it is recent enough."""
    if digest := _resolved.get((images.folder, name)):
        return digest
    if known and (pinned or known[1] < _NAME_VALID_S):
        return known[0]
    return None


def _note(images: ImageStore, name: str, digest: str, known: tuple[str, float] | None) -> None:
    _resolved[images.folder, name] = digest
    if known is None or known[0] != digest or known[1] > _NAME_VALID_S / 2:
        images.remember(name, digest)
