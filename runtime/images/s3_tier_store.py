"""Storing an image in the second tier, beside the run of the user's container.

The work is done by two threads of the lowest priority while the container runs, and has to be complete
before the invocation ends, as AWS Lambda then freezes the process. `StoringImage.finish` waits for that; when
time is short it gives up instead, and another cold start will store the image. Memory is bounded: a part of
each thread, compressed and not.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import threading
import time
from collections.abc import Callable, Mapping

from runtime.images.manifest import ImageConfig
from runtime.images.s3_tier import TierClaim
from runtime.images.s3_tier_bucket import TierUnavailable
from runtime.images.s3_tier_index import ImageIndex, encode
from runtime.images.s3_tier_pack import CannotBePacked, Packer, Stock, compressor
from runtime.images.s3_tier_upload import Upload
from runtime.images.store import Lease

_THREADS = 2
_LOWEST_PRIORITY = 19
_GIVING_UP_S = 1.0

Log = Callable[[str, Mapping[str, object]], None]


class _GivenUp(Exception):  # noqa: N818 - the way out of a thread
    """Time is short."""


class StoringImage:
    """An image on its way into the tier. The lease keeps it on this machine's disk until that is done."""

    def __init__(
        self,
        claim: TierClaim,
        lease: Lease,
        *,
        stock: Stock,
        root: bytes,
        digest: str,
        config: ImageConfig,
        log: Log,
    ) -> None:
        self._claim = claim
        self._lease = lease
        self._stock = stock
        self._root = root
        self._digest = digest
        self._config = config
        self._log = log
        self._started = time.monotonic()
        self._given_up = threading.Event()
        self._thread = threading.Thread(target=self._run, name="image-store", daemon=True)
        self._thread.start()

    def finish(self, until: float) -> None:
        """Wait until it is done, or give up at `until` (`time.monotonic`)."""
        self._thread.join(max(0.0, until - time.monotonic()))
        if self._thread.is_alive():
            self.give_up()

    def give_up(self) -> None:
        """End it, and let another environment have the claim."""
        self._given_up.set()
        self._claim.claim.release()
        self._thread.join(_GIVING_UP_S)
        self._claim.claim.join(_GIVING_UP_S)

    def _run(self) -> None:
        try:
            stored = self._store()
        except _GivenUp:
            self._log("image not stored in the cache", {"reason": "the invocation ended before"})
        except (CannotBePacked, TierUnavailable, OSError) as problem:
            self._log("image not stored in the cache", {"reason": str(problem)})
        else:
            seconds = round(time.monotonic() - self._started, 3)
            told = {"digest": self._digest, "bytes": stored, "seconds": seconds}
            self._log("image stored in the cache", told)
        finally:
            self._lease.release()
            self._claim.claim.release()
            self._claim.claim.join(_GIVING_UP_S)

    def _store(self) -> int:
        stock, compress = self._stock, compressor()
        packer = Packer(stock, self._root)
        key = f"parts/{self._claim.key}/{secrets.token_hex(8)}"
        upload = Upload(self._claim.bucket, key)
        failures: list[BaseException] = []

        def work() -> None:
            _be_nice()
            try:
                with upload.writer() as writer:
                    while not failures and (part := packer.next_part()):
                        self._check()
                        writer.add(compress(part), len(part))
            except BaseException as error:
                failures.append(error)

        threads = [threading.Thread(target=work, name="image-store", daemon=True) for _ in range(_THREADS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if failures:
            raise failures[0]
        self._check()
        parts = upload.complete()
        index = ImageIndex(
            subject=self._claim.subject,
            digest=self._digest,
            architecture=self._claim.architecture,
            config=self._config,
            directories=stock.directories,
            symlinks=stock.symlinks,
            hard_links=stock.hard_links,
            fifos=stock.fifos,
            large=stock.large,
            content_key=key,
            parts=parts,
        )
        self._check()
        place = f"index/{self._claim.key}"
        if self._claim.bucket.put(place, encode(index, compress), self._claim.condition) is None:
            raise CannotBePacked("another environment has stored it meanwhile")
        return index.stored_bytes

    def _check(self) -> None:
        if self._given_up.is_set():
            raise _GivenUp
        if self._claim.claim.lost:
            raise CannotBePacked("another environment took over, as this one was frozen")


def _be_nice() -> None:
    """The user's container goes first. (In Linux a priority belongs to a thread.)"""
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _LOWEST_PRIORITY)
