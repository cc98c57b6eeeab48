"""An image by way of the second tier: from S3, or from its registry and then into S3."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path

from runtime.errors import RunnerError
from runtime.images.pull import Log, WantedImage, from_store, new_image, obtain, pull
from runtime.images.root_filesystem import RootFilesystem
from runtime.images.s3_tier import S3Tier, TierClaim, TierImage
from runtime.images.s3_tier_bucket import TierUnavailable
from runtime.images.s3_tier_index import DamagedEntry
from runtime.images.s3_tier_pack import CannotBePacked, Stock, take_stock
from runtime.images.s3_tier_store import StoringImage
from runtime.images.store import DiskBudget, ImageStore

_ATTEMPTS = 2
"""An entry that is damaged when it was replaced just now is left alone."""


def by_tier(wanted: WantedImage, images: ImageStore, log: Log) -> RootFilesystem | None:
    """The image, or None if the tier cannot help. Raises RunnerError as `pull` does, and DiskFull."""
    tier = S3Tier.from_environment(os.environ, wanted.architecture, log)
    if tier is None:
        return None
    try:
        subject = tier.resolve(wanted.reference, f"{wanted.reference} {wanted.mirrors}", wanted.places)
        return None if subject is None else _by_subject(tier, subject, wanted, images, log)
    except TierUnavailable as problem:
        log("image cache not used", {"reason": str(problem)})
        return None


def _by_subject(
    tier: S3Tier, subject: str, wanted: WantedImage, images: ImageStore, log: Log
) -> RootFilesystem | None:
    name = f"{subject} {wanted.architecture}"

    def here() -> RootFilesystem | None:
        known = images.recall(name)
        return from_store(images, known[0]) if known else None

    def is_here() -> bool:
        known = images.recall(name)
        return known is not None and images.holds(known[0])

    if root := here():
        return root
    until = float("inf")
    if wanted.deadline is not None:
        now = time.monotonic()
        until = now + (wanted.deadline - now) / 2
    damaged: str | None = None
    for _ in range(_ATTEMPTS):
        found = tier.find_or_claim(subject, damaged=damaged, until=until, here=is_here)
        if isinstance(found, TierClaim):
            root = _pull_and_store(found, wanted, images, log)
        elif isinstance(found, TierImage):
            try:
                root = _restore(found, wanted, images, log)
            except DamagedEntry as problem:
                log("image cache entry is damaged", {"digest": subject, "reason": str(problem)})
                damaged = found.etag
                continue
        else:
            root = here()
        if root is not None:
            images.remember(name, root.digest)
        return root
    return None


def _restore(image: TierImage, wanted: WantedImage, images: ImageStore, log: Log) -> RootFilesystem:
    index, what = image.index, str(wanted)

    def build() -> int:
        budget = DiskBudget(images, what, index.stored_bytes, unpacked_bytes=index.content_bytes)
        told = {"image": what, "digest": index.digest, "bytes": index.stored_bytes, "parts": len(index.parts)}
        log("reading image from the cache", told)
        with new_image(images, index.digest, what, budget) as folder:
            image.restore(os.fsencode(folder / "root"), budget.charge)
            images.publish(folder, index.digest, index.config)
        return index.stored_bytes

    return obtain(images, index.digest, build)


def _pull_and_store(
    claim: TierClaim, wanted: WantedImage, images: ImageStore, log: Log
) -> RootFilesystem | None:
    """The image from its registry; it is being stored when this returns. None if its digest is gone there."""
    stocks: list[Stock] = []

    def look_at(root: Path) -> None:
        try:
            stocks.append(take_stock(os.fsencode(root)))
        except (CannotBePacked, OSError) as problem:
            log("image not stored in the cache", {"reason": str(problem)})

    try:
        root = pull(wanted, claim.subject, images, log, look_at)
        # Already on this machine, and used: an engine may have changed it.
        acquired = images.acquire(root.digest) if stocks else None
        if acquired is None:
            claim.claim.release()
            return root
        lease, config = acquired
        storing = StoringImage(
            claim,
            lease,
            stock=stocks[0],
            root=os.fsencode(root.path),
            digest=root.digest,
            config=config,
            log=log,
        )
        return replace(root, storing=storing)
    except BaseException as error:
        claim.claim.release()
        if isinstance(error, RunnerError) and error.kind == "ImageNotFound":
            return None  # what the name stood for is gone: whoever asks by name is told what there is now
        raise
