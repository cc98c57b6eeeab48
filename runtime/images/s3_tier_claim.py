"""Who stores an image in the second tier: one environment of a burst, the others wait for it.

A claim is a small object that is written on the condition that nobody wrote it before. Its holder writes it
again every few seconds; whoever sees it unchanged for `LEASE_S` takes its holder for dead (killed, or frozen
between two invocations), and takes it over on the condition that it is still the same. Clocks are compared
nowhere: each environment measures by its own how long it has seen no change.
"""

from __future__ import annotations

import json
import secrets
import threading
import time

from runtime.bounded_json import read_json
from runtime.images.s3_tier_bucket import ABSENT, StoredObject, TierBucket, TierUnavailable, unchanged

LEASE_S = 15.0
"""A claim that was not renewed for so long belongs to nobody."""

_MAXIMUM_BYTES = 4096


class Claim:
    """This environment's right to store one image, kept up by a thread until it is released.

    The claim is lost if another environment took it over, because this one was frozen for too long.
    """

    def __init__(self, bucket: TierBucket, key: str, etag: str, holder: str) -> None:
        self._bucket = bucket
        self._key = key
        self._etag = etag
        self._holder = holder
        self._beats = 0
        self._released = threading.Event()
        self.lost = False
        self._thread = threading.Thread(target=self._keep_up, name="image-claim", daemon=True)
        self._thread.start()

    def release(self) -> None:
        """Let others have it. Does not wait: the thread writes that down."""
        self._released.set()

    def join(self, seconds: float) -> None:
        """Wait until the release is written down, so long at most."""
        self._thread.join(max(0.0, seconds))

    def _keep_up(self) -> None:
        while not self._released.wait(LEASE_S / 4):
            self._write(released=False)
            if self.lost:
                return
        self._write(released=True)

    def _write(self, *, released: bool) -> None:
        self._beats += 1
        try:
            etag = self._bucket.put(
                self._key, _content(self._holder, self._beats, released=released), unchanged(self._etag)
            )
        except TierUnavailable:
            return  # a beat is missed: the next one may come through
        if etag is None:
            self.lost = True
        else:
            self._etag = etag


class ClaimWatch:
    """Sees how a claim of somebody else fares, and takes it when it is free."""

    def __init__(self, bucket: TierBucket, key: str) -> None:
        self._bucket = bucket
        self._key = key
        self._seen = ""
        self._seen_at = 0.0
        self._unreadable = 0

    def try_to_take(self) -> Claim | None:
        """The claim, if it is nobody's. Raises TierUnavailable."""
        holder = secrets.token_hex(8)
        fresh = _content(holder, 0, released=False)
        if not self._seen and (etag := self._bucket.put(self._key, fresh, ABSENT)) is not None:
            return Claim(self._bucket, self._key, etag, holder)
        there = self._bucket.get(self._key, _MAXIMUM_BYTES)
        if there is None:  # removed, as old claims are: once, then it can be written anew
            self._seen = ""
            self._unreadable += 1
            if self._unreadable > 1:
                raise TierUnavailable(f"{self._key} is there, but may not be read")
            return None
        if there.etag != self._seen:
            self._seen, self._seen_at = there.etag, time.monotonic()
        if not _is_released(there) and time.monotonic() - self._seen_at < LEASE_S:
            return None
        taken = self._bucket.put(self._key, fresh, unchanged(there.etag))
        return None if taken is None else Claim(self._bucket, self._key, taken, holder)


def _content(holder: str, beats: int, *, released: bool) -> bytes:
    return json.dumps({"holder": holder, "beats": beats, "released": released}).encode()


def _is_released(claim: StoredObject) -> bool:
    try:
        return bool(read_json(claim.content)["released"])
    except (ValueError, LookupError, TypeError):
        return True  # written by nobody of us
