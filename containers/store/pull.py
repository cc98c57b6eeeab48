"""Downloads an image from its source and unpacks it, once for each machine."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from containers.errors import ErrorKind, ExplainedError, store_unusable
from containers.image.origin import FoundImage, find_image
from containers.layers.unpack import Unpacker
from containers.registry.mirrors import Answer, Place
from containers.registry.references import ImageReference
from containers.store.root_filesystem import RootFilesystem
from containers.store.store import DiskBudget, ImageStore

Log = Callable[[str, Mapping[str, object]], None]
"""Takes a message and its fields."""

# Not a fault of the source: the next one would return the same.
_FINAL = frozenset({ErrorKind.DISK_FULL, ErrorKind.STORE_UNUSABLE})


@dataclass(frozen=True)
class WantedImage:
    """An image in a registry, with everything that determines its version and its sources."""

    reference: ImageReference
    places: list[Place]
    mirrors: str
    architecture: str
    deadline: float | None = None
    """When the run must have ended (`time.monotonic`)."""

    def __str__(self) -> str:
        """As messages name it."""
        return f"image {self.reference}"


def pull(wanted: WantedImage, version: str, images: ImageStore, log: Log) -> RootFilesystem:
    """The image of `version` (tag or digest) from the first place that has it. Raises ExplainedError."""

    def ask(place: Place) -> RootFilesystem:
        with contextlib.closing(place.open()) as blobs:
            found = find_image(blobs, version, wanted.architecture, str(wanted))
            return obtain_image(found, images, str(wanted), log)

    return ask_in_turn(wanted.places, ask, log)


def ask_in_turn(places: Iterable[Place], question: Callable[[Place], Answer], log: Log) -> Answer:
    """The result of the first source that can answer `question`. Raises ExplainedError: the registry's own,
    followed by those of its mirrors."""
    failures: list[tuple[Place, ExplainedError]] = []
    for place in places:
        try:
            return place.ask(partial(question, place), log)
        except ExplainedError as error:
            if error.kind in _FINAL:
                raise
            failures.append((place, error))
    *before, (_, last) = failures
    if not before:
        raise last
    told = "; ".join(f"mirror {place.name}: {error.cause}" for place, error in before)
    raise ExplainedError(f"{last.cause} (tried before: {told})", advice=last.advice, kind=last.kind) from last


def from_store(images: ImageStore, digest: str) -> RootFilesystem | None:
    """The image, if it is on this machine."""
    acquired = images.acquire(digest)
    if acquired is None:
        return None
    lease, config = acquired
    return RootFilesystem(images.path(digest) / "root", digest, config, True, 0, lease)


def obtain_image(found: FoundImage, images: ImageStore, what: str, log: Log) -> RootFilesystem:
    """A lease on the image, unpacked now if it is not in the store."""

    def build() -> int:
        config = found.load_config()
        budget = DiskBudget(images, what, found.compressed_bytes)
        log("unpacking image", {"image": what, "digest": found.digest, "bytes": found.compressed_bytes})
        with new_image(images, found.digest, what, budget) as folder:
            unpacker = Unpacker(folder / "root", charge=budget.charge, what=what)
            unpacker.apply(*found.layers)
            unpacker.finish()
            images.publish(folder, found.digest, config)
        return found.compressed_bytes

    return obtain(images, found.digest, build)


def obtain(images: ImageStore, digest: str, build: Callable[[], int]) -> RootFilesystem:
    """A lease on the image. If it is not in the store, `build` puts it there, in one process of this machine
    at a time; it returns the number of bytes that it has downloaded."""
    downloaded = 0
    while True:
        here = from_store(images, digest)
        if here:
            return replace(here, cached=False, bytes_downloaded=downloaded) if downloaded else here
        with images.exclusive(digest):
            if not images.holds(digest):
                downloaded = build()


@contextlib.contextmanager
def new_image(images: ImageStore, digest: str, what: str, budget: DiskBudget) -> Iterator[Path]:
    """An empty folder to create the image in; errors of the disk are explained."""
    with images.new_image(digest) as folder:
        try:
            yield folder
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise budget.disk_full() from error
            raise store_unusable(f"{what} cannot be unpacked into {images.folder}", error) from error
