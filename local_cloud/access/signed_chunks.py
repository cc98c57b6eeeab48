"""S3 uploads in signed chunks (`STREAMING-AWS4-HMAC-SHA256-PAYLOAD`), checked as they arrive.

Source: Amazon S3 API Reference, "Signature calculations for the Authorization header: transferring payload in
multiple chunks", and "… including trailing headers".
"""

from __future__ import annotations

import hashlib
import hmac
import re

from local_cloud.access.signatures import (
    ALGORITHM,
    SIGNED_CHUNKS,
    TRAILER,
    Signature,
    mismatch,
    sign,
    signing_key,
)

_EMPTY = hashlib.sha256(b"").hexdigest()


class ChunkReader:
    """Checks the chunks of an upload (`STREAMING-AWS4-HMAC-SHA256-PAYLOAD`) as they arrive.

    Each chunk is signed together with the signature before it, the first with the request's own. Only the
    hash of a chunk is kept.
    """

    _LONGEST_LINE = 16 * 1024

    def __init__(self, signature: Signature, secret: str) -> None:
        self._signature = signature
        self._key = signing_key(signature, secret)
        self._previous = signature.value
        self._trailer = signature.payload == SIGNED_CHUNKS + TRAILER
        self._line = b""
        self._left: int | None = None
        """Bytes of the current chunk that are still to come; None between chunks."""
        self._wanted = ""
        self._hash = hashlib.sha256()
        self._trailers: list[bytes] | None = None
        self._ended = False

    def feed(self, data: bytes) -> None:
        """Add the next bytes of the body.

        Raises:
            SignatureError: a chunk does not match its signature.
        """
        view = memoryview(data)
        while view:
            if self._left:
                part = view[: self._left]
                self._hash.update(part)
                self._left -= len(part)
                view = view[len(part) :]
                continue
            end = bytes(view).find(b"\n")
            self._line += bytes(view if end < 0 else view[: end + 1])
            view = view[len(view) if end < 0 else end + 1 :]
            if len(self._line) > self._LONGEST_LINE or self._ended:
                raise mismatch("The upload continues after its last chunk. ")
            if end >= 0:
                line, self._line = self._line.rstrip(b"\r\n"), b""
                self._end_of_line(line)

    def finish(self) -> None:
        """The body has ended.

        Raises:
            SignatureError: the last chunk is missing.
        """
        if not self._ended:
            raise mismatch("The last chunk is missing. ")

    def _end_of_line(self, line: bytes) -> None:
        if self._trailers is not None:
            self._trailer_line(line)
        elif self._left == 0:  # the line end behind a chunk's data
            if line:
                raise mismatch("A chunk is longer than declared. ")
            self._check_chunk()
            self._left = None
        else:
            size, _semicolon, signed = line.partition(b";chunk-signature=")
            if not re.fullmatch(rb"[0-9a-fA-F]{1,16}", size):
                raise mismatch("A chunk has no size. ")
            self._left, self._wanted = int(size, 16), signed.decode("latin-1")
            self._hash = hashlib.sha256()
            if self._left == 0:
                self._check_chunk()
                self._trailers = []

    def _check_chunk(self) -> None:
        self._check_part(f"{ALGORITHM}-PAYLOAD", f"{_EMPTY}\n{self._hash.hexdigest()}", self._wanted)

    def _trailer_line(self, line: bytes) -> None:
        assert self._trailers is not None  # noqa: S101
        name, _colon, value = line.partition(b":")
        if name == b"x-amz-trailer-signature":
            content = b"".join(one + b"\n" for one in self._trailers)
            hashed = hashlib.sha256(content).hexdigest()
            self._check_part(f"{ALGORITHM}{TRAILER}", hashed, value.decode("latin-1"))
            self._trailer = False
        elif line:
            self._trailers.append(line)
        elif self._trailer:
            raise mismatch("The trailers are not signed. ")
        else:
            self._ended = True

    def _check_part(self, algorithm: str, content: str, wanted: str) -> None:
        of = self._signature
        to_sign = f"{algorithm}\n{of.signed_at}\n{of.scope}\n{self._previous}\n{content}"
        found = sign(self._key, to_sign)
        if not hmac.compare_digest(found.encode(), wanted.encode("latin-1")):
            raise mismatch("A chunk does not match its signature. ")
        self._previous = found
