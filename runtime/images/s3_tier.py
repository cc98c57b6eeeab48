"""The second tier: images that one environment has pulled, kept for all others in a bucket of the stack.

`SCAR_IMAGE_CACHE` (`s3://bucket[/prefix]`, set by the template) names it. It holds

    names/<hash>.json                            which digest a name stood for, and since when
    index/<digest>/<architecture>-<who>          an image is there when its index is        (s3_tier_index)
    parts/<digest>/<architecture>-<who>/<writer>   the content of its files                (s3_tier_pack)
    claims/<digest>/<architecture>-<who>         who is storing it just now                 (s3_tier_claim)

The digest is the one that the name stands for, of an index of several architectures as it may be. Who is
`root` or `user`: unpacked by anybody but root, files have lost their owners.

A cold start asks in this order: the name's record, the registry by HEAD (which Docker Hub does not count as
a pull) if the record is older than a minute, the index, the parts. Where there is no index, one environment
claims the image, pulls and stores it, and the others wait for that, for `WAIT_S` at most, and never longer
than half of the time that they have. An entry that turns out to be damaged is replaced in the same way.

Nothing here makes a run fail. If the bucket does not answer, refuses, or has not got the image in time, the
image comes from its registry, as it does without the tier.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial

from runtime.bounded_json import read_json
from runtime.errors import RunnerError
from runtime.images.manifest import is_digest
from runtime.images.mirrors import Place
from runtime.images.reference import ImageReference
from runtime.images.s3_tier_bucket import ABSENT, StoredObject, TierBucket, TierUnavailable, unchanged
from runtime.images.s3_tier_claim import Claim, ClaimWatch
from runtime.images.s3_tier_index import MAXIMUM_INDEX_BYTES, DamagedEntry, ImageIndex, decode
from runtime.images.s3_tier_restore import restore

VARIABLE = "SCAR_IMAGE_CACHE"
NAME_VALID_S = 60.0
"""A name's record is believed for so long without asking the registry: through a burst, but not so long that
a new image under an old tag seems to be ignored."""
WAIT_S = 120.0
POLL_S = 1.0
NO_ANSWER = frozenset({"RegistryUnavailable", "PullLimit"})
"""Kinds of RunnerError of a registry that does not answer for now: what it said before will do."""

_MAXIMUM_RECORD_BYTES = 4096

Log = Callable[[str, Mapping[str, object]], None]


@dataclass(frozen=True)
class _NameRecord:
    """What a name stood for `age_s` ago."""

    digest: str
    age_s: float
    etag: str


@dataclass(frozen=True)
class TierImage:
    """An image in the tier; it may still turn out to be damaged."""

    bucket: TierBucket
    index: ImageIndex
    etag: str

    def restore(self, root: bytes, charge: Callable[[int], None]) -> None:
        """Make its tree in an empty folder; see `s3_tier_restore`."""
        restore(self.index, self.bucket, root, charge)


@dataclass(frozen=True)
class TierClaim:
    """This environment is to pull the image, and to store it: in the place of the entry with the ETag
    `replaces`, if it is given."""

    bucket: TierBucket
    key: str
    claim: Claim
    subject: str
    architecture: str
    replaces: str | None

    @property
    def condition(self) -> Mapping[str, str]:
        """What must hold for the index to be written."""
        return ABSENT if self.replaces is None else unchanged(self.replaces)


class S3Tier:
    """The tier in `bucket`, for images of `architecture`."""

    def __init__(self, bucket: TierBucket, architecture: str, log: Log) -> None:
        self._bucket = bucket
        self._architecture = architecture
        self._log = log

    @classmethod
    def from_environment(cls, environ: Mapping[str, str], architecture: str, log: Log) -> S3Tier | None:
        """The tier that the environment names, None if it names none or one that cannot be used."""
        if not environ.get(VARIABLE):
            return None
        try:
            return cls(TierBucket(environ[VARIABLE], environ), architecture, log)
        except TierUnavailable as problem:
            log("image cache not used", {"reason": str(problem)})
            return None

    # -- names
    # ------------------------------------------------------------------------------------------------------

    def resolve(self, reference: ImageReference, name: str, places: Iterable[Place]) -> str | None:
        """The digest that `reference` stands for, None if that is not to be found out here. `name` is the
        reference and whatever else decides about it. Raises TierUnavailable."""
        if reference.digest is not None:
            return reference.digest
        record = self._recall(name)
        if record is not None and record.age_s < NAME_VALID_S:
            return record.digest
        problem: RunnerError | None = None
        for place in places:
            try:
                digest = (
                    place.ask(partial(place.read_digest, reference.version), self._log)
                    if place.read_digest
                    else None
                )
            except RunnerError as error:
                problem = error
                continue
            if digest is not None:
                content = json.dumps({"name": name, "digest": digest}).encode()
                self._bucket.put(_name_key(name), content, unchanged(record.etag) if record else ABSENT)
            return digest
        if record is not None and record.digest and problem is not None and problem.kind in NO_ANSWER:
            told = {"image": str(reference), "cause": problem.cause}
            self._log("registry does not answer, using the image as it was", told)
            return record.digest
        return None

    def _recall(self, name: str) -> _NameRecord | None:
        stored = self._bucket.get(_name_key(name), _MAXIMUM_RECORD_BYTES)
        if stored is None:
            return None
        try:
            record = read_json(stored.content)
            digest = record["digest"]
            if record["name"] == name and is_digest(digest):
                return _NameRecord(digest, stored.age_s, stored.etag)
        except (ValueError, LookupError, TypeError):
            pass
        return _NameRecord("", float("inf"), stored.etag)  # damaged: to be written anew

    # -- images
    # -----------------------------------------------------------------------------------------------------

    def find_or_claim(
        self, subject: str, *, damaged: str | None = None, until: float, here: Callable[[], bool]
    ) -> TierImage | TierClaim | None:
        """The image, or the right to store it, or None if neither is to be had in time or need be.

        `damaged` is the ETag of an entry that is no good. `until` bounds the waiting (`time.monotonic`), and
        so does `here`, which says whether somebody else has put the image on this machine meanwhile. Raises
        TierUnavailable.
        """
        place = f"{subject.replace(':', '-')}/{self._architecture.replace('/', '-')}-{_who()}"
        watch = ClaimWatch(self._bucket, f"claims/{place}")
        until = min(until, time.monotonic() + WAIT_S)
        waited = False
        while True:
            stored = self._bucket.get(f"index/{place}", MAXIMUM_INDEX_BYTES)
            if stored is not None and stored.etag != damaged:
                image = self._decoded(stored, subject)
                if image is not None:
                    return image
                damaged = stored.etag
            claim = watch.try_to_take()
            if claim is not None:
                return self._claimed(claim, place, subject, damaged)
            if not waited:
                self._log("waiting for another environment to store the image", {"digest": subject})
                waited = True
            pause = POLL_S * (0.5 + random.random())  # noqa: S311 - not for secrets
            if here() or time.monotonic() + pause > until:
                return None
            time.sleep(pause)

    def _claimed(
        self, claim: Claim, place: str, subject: str, damaged: str | None
    ) -> TierImage | TierClaim | None:
        """The claim, unless the image was stored between the look for it and the claim."""
        try:
            stored = self._bucket.get(f"index/{place}", MAXIMUM_INDEX_BYTES)
        except BaseException:
            claim.release()
            raise
        if stored is not None and stored.etag != damaged and (image := self._decoded(stored, subject)):
            claim.release()
            return image
        return TierClaim(
            self._bucket,
            place,
            claim,
            subject,
            self._architecture,
            None if stored is None else stored.etag,
        )

    def _decoded(self, stored: StoredObject, subject: str) -> TierImage | None:
        try:
            index = decode(stored.content, subject, self._architecture)
        except DamagedEntry as problem:
            self._log("image cache entry is damaged", {"digest": subject, "reason": str(problem)})
            return None
        return TierImage(self._bucket, index, stored.etag)


def _name_key(name: str) -> str:
    return f"names/{hashlib.sha256(name.encode()).hexdigest()}.json"


def _who() -> str:
    return "root" if os.geteuid() == 0 else "user"
