"""The parts of an image on their way into one object of the second tier, from several threads at once.

Each thread gathers parts until they are as large as S3 wants its chunks to be. What is left at the end makes
the last chunk, or the whole object.
"""

from __future__ import annotations

import contextlib
import hashlib
import threading
from collections.abc import Iterator
from typing import Any

from runtime.images.s3_tier_bucket import MINIMUM_CHUNK_BYTES, TierBucket

_Parts = list[list[Any]]


class Upload:
    """The object `key`. Everything here raises TierUnavailable."""

    def __init__(self, bucket: TierBucket, key: str) -> None:
        self._bucket = bucket
        self._key = key
        self._lock = threading.Lock()
        self._upload: str | None = None
        self._count = 0
        self._chunks: dict[int, tuple[str, _Parts]] = {}
        """ETag and parts by number."""
        self._rest = bytearray()
        self._parts_of_rest: _Parts = []

    @contextlib.contextmanager
    def writer(self) -> Iterator[PartWriter]:
        """For one thread."""
        writer = PartWriter(self)
        yield writer
        with self._lock:
            self._rest += writer.content
            self._parts_of_rest += writer.parts

    def put(self, content: bytearray, parts: _Parts) -> None:
        """One chunk, with the parts that it holds."""
        with self._lock:
            if self._upload is None:
                self._upload = self._bucket.begin(self._key)
            self._count += 1
            number = self._count
        etag = self._bucket.put_chunk(self._key, self._upload, number, content)
        self._chunks[number] = (etag, parts)

    def complete(self) -> _Parts:
        """Make the object appear; its parts in the order in which they lie there. Not before all writers have
        ended."""
        if self._upload is None:
            if self._rest:
                self._bucket.put(self._key, self._rest)
            return self._parts_of_rest
        if self._rest:
            self.put(self._rest, self._parts_of_rest)
        chunks = [self._chunks[number] for number in sorted(self._chunks)]
        self._bucket.complete(self._key, self._upload, [etag for etag, _ in chunks])
        return [part for _, parts in chunks for part in parts]


class PartWriter:
    """Gathers parts for one thread."""

    def __init__(self, upload: Upload) -> None:
        self._upload = upload
        self.content = bytearray()
        self.parts: _Parts = []

    def add(self, packed: bytes, content_size: int) -> None:
        """One compressed part, and its size before that."""
        self.parts.append([len(packed), hashlib.sha256(packed).hexdigest(), content_size])
        self.content += packed
        if len(self.content) >= MINIMUM_CHUNK_BYTES:
            self._upload.put(self.content, self.parts)
            self.content, self.parts = bytearray(), []
