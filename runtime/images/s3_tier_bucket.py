"""The bucket of the second tier: small objects, read and written on conditions, and large ones, written in
chunks and read in ranges.

A role without the right to list gets 403 for an object that is not there, as it gets for one that it may not
read: both mean "not there" here, and the tier is then as good as switched off.
"""

from __future__ import annotations

import email.utils
import os
import time
import urllib.parse
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from runtime import aws
from runtime.errors import shown
from runtime.images.connections import NETWORK_ERRORS, Connections, Response
from runtime.images.s3_signature import object_url, signed_headers
from runtime.images.transport import Patience

PATIENCE = Patience(timeout_s=10.0, attempts=8, first_pause_s=0.2, longest_pause_s=5.0)
"""S3 asks bursts to slow down, and is worth waiting for."""
_UNREACHABLE_ATTEMPTS = 3
"""Where there is no way to S3, there will be none."""

MINIMUM_CHUNK_BYTES = 5 << 20
"""S3 takes no smaller chunk but the last one."""

ABSENT: Mapping[str, str] = {"If-None-Match": "*"}
"""The condition that nobody has written the object yet."""

_OK = range(200, 300)
_NOT_THERE = (403, 404)
_PARTIAL = 206
_LONGEST_LENGTH = 20
"""Digits of a Content-Length."""
_CONDITION_FAILED = (404, 409, 412)  # 404: If-Match on an object that is gone
_WORTH_RETRYING = frozenset({408, 429, 500, 502, 503, 504})


def unchanged(etag: str) -> Mapping[str, str]:
    """The condition that the object is still the one that was read or written."""
    return {"If-Match": etag}


class ObjectChanged(Exception):  # noqa: N818 - found out by whoever reads it
    """A large object is gone, or is not the one that was written; the text says how."""


class TierUnavailable(Exception):  # noqa: N818 - not an error for the run: the image comes from elsewhere
    """The bucket does not answer, or refuses; the text says why, short and escaped."""

    def __init__(self, reason: str) -> None:
        super().__init__(shown(reason))


@dataclass(frozen=True)
class StoredObject:
    """An object as it was read: `age_s` is the time since it was written, by S3's own clock."""

    content: bytes
    etag: str
    age_s: float


class TierBucket:
    """The bucket and prefix at `address` (`s3://bucket[/prefix]`), with the function's credentials."""

    def __init__(self, address: str, environ: Mapping[str, str] | None = None) -> None:
        environ = os.environ if environ is None else environ
        bucket, _, prefix = address.removeprefix("s3://").partition("/")
        if not address.startswith("s3://") or not bucket:
            raise TierUnavailable(f"'{address}' is not an address like s3://bucket/prefix")
        self._credentials = aws.credentials(environ)
        self._region = self._credentials.get("AWS_REGION", "")
        if not self._region or "AWS_SECRET_ACCESS_KEY" not in self._credentials:
            raise TierUnavailable("there are no AWS credentials, or no region")
        base = f"{prefix.strip('/')}/" if prefix.strip("/") else ""
        self._base_url = object_url(bucket, base, self._region, environ)
        self._connections = Connections(PATIENCE.timeout_s)

    def get(self, key: str, maximum_bytes: int) -> StoredObject | None:
        """The object, None if it is not there. Raises TierUnavailable, also for one that is too large."""
        status, headers, content = self._patiently("GET", key, {}, b"", maximum_bytes)
        if status in _NOT_THERE:
            return None
        if status not in _OK:
            raise TierUnavailable(f"reading {key}: S3 answered HTTP {status}")
        if _announced_bytes(headers.get("content-length")) > maximum_bytes:
            raise TierUnavailable(f"{key} is larger than {maximum_bytes} bytes")
        return StoredObject(content, headers.get("etag", ""), _age_s(headers))

    def pieces(self, key: str, total: int, places: Sequence[tuple[int, int]]) -> Iterator[bytes]:
        """The pieces (offset, size) of an object of `total` bytes; they lie one behind the other, and are
        read by one request where nothing breaks. Raises ObjectChanged, TierUnavailable."""
        position = failures = 0
        while position < len(places):
            last = places[-1][0] + places[-1][1] - 1
            headers = {"Range": f"bytes={places[position][0]}-{last}"}
            try:
                with self._send("GET", key, headers, b"") as response:
                    if response.status in _WORTH_RETRYING:
                        raise ConnectionError(f"HTTP {response.status}")
                    _require_range(key, response, total)
                    while position < len(places):
                        size = places[position][1]
                        piece = response.read(size)
                        if len(piece) != size:
                            raise ConnectionError("the connection was closed too early")
                        yield piece
                        position += 1
                        failures = 0
            except NETWORK_ERRORS as error:
                failures += 1
                if failures >= PATIENCE.attempts:
                    raise TierUnavailable(
                        f"reading {key}: {shown(str(error)) or type(error).__name__}"
                    ) from error
                time.sleep(PATIENCE.pause_s(failures))

    def put(
        self, key: str, content: bytes | bytearray, condition: Mapping[str, str] | None = None
    ) -> str | None:
        """Write the object; its new ETag, or None if `condition` did not hold. Raises TierUnavailable."""
        status, headers, answer = self._patiently("PUT", key, condition or {}, content)
        if condition and status in _CONDITION_FAILED:
            # It may be that our own attempt was obeyed and its answer got lost.
            there = self.get(key, len(content)) if headers.get("retried") else None
            return there.etag if there is not None and there.content == content else None
        if status not in _OK:
            raise TierUnavailable(
                f"writing {key}: S3 answered HTTP {status} {shown(_element(answer, 'Code'))}".rstrip()
            )
        return headers.get("etag", "")

    def begin(self, key: str) -> str:
        """Begin to write an object in chunks; the id of the upload. What is not completed is removed by a
        rule of the bucket. Raises TierUnavailable."""
        status, _, answer = self._patiently("POST", f"{key}?uploads=", {}, b"")
        upload = _element(answer, "UploadId")
        if status not in _OK or not upload:
            raise TierUnavailable(
                f"writing {key}: S3 answered HTTP {status} {shown(_element(answer, 'Code'))}".rstrip()
            )
        return upload

    def put_chunk(self, key: str, upload: str, number: int, content: bytes | bytearray) -> str:
        """Write one chunk, numbered from 1; its ETag. Raises TierUnavailable."""
        query = f"partNumber={number}&uploadId={urllib.parse.quote(upload, safe='-_.~')}"
        etag = self.put(f"{key}?{query}", content)
        return etag or ""

    def complete(self, key: str, upload: str, etags: Sequence[str]) -> None:
        """Make one object of the chunks. Raises TierUnavailable."""
        chunks = "".join(
            f"<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag></Part>"
            for number, etag in enumerate(etags, 1)
        )
        body = (
            '<CompleteMultipartUpload xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
            f"{chunks}</CompleteMultipartUpload>"
        )
        query = f"uploadId={urllib.parse.quote(upload, safe='-_.~')}"
        status, _, answer = self._patiently("POST", f"{key}?{query}", {}, body.encode())
        if status not in _OK or b"<Error>" in answer:  # S3 may find out after it has answered 200
            raise TierUnavailable(
                f"writing {key}: S3 answered HTTP {status} {shown(_element(answer, 'Code'))}".rstrip()
            )

    def close(self) -> None:
        """Let go of the connections."""
        self._connections.close()

    def _patiently(
        self,
        method: str,
        key: str,
        headers: Mapping[str, str],
        body: bytes | bytearray,
        maximum_bytes: int = 1 << 16,
    ) -> tuple[int, Mapping[str, str], bytes]:
        """Status, headers and body of the answer, asked for again where that may help."""
        failures = unreachable = 0
        while True:
            try:
                with self._send(method, key, headers, body) as response:
                    content = _read(response, maximum_bytes)
                if response.status not in _WORTH_RETRYING:
                    answered = {name.lower(): value for name, value in response.headers.items()}
                    return response.status, answered | _retried(failures), content
                problem = f"S3 keeps answering HTTP {response.status}"
            except NETWORK_ERRORS as error:
                problem = f"S3 cannot be reached: {error or type(error).__name__}"
                unreachable += 1
            failures += 1
            if failures >= PATIENCE.attempts or unreachable >= _UNREACHABLE_ATTEMPTS:
                raise TierUnavailable(problem)
            time.sleep(PATIENCE.pause_s(failures))

    def _send(self, method: str, key: str, headers: Mapping[str, str], body: bytes | bytearray) -> Response:
        url = self._base_url + key
        signed = signed_headers(
            method, url, headers, body, region=self._region, credentials=self._credentials
        )
        return self._connections.request(method, url, signed, body or None)


def _read(response: Response, maximum_bytes: int) -> bytes:
    announced = _announced_bytes(response.headers.get("Content-Length"))
    content = response.read(min(announced, maximum_bytes) if announced else maximum_bytes)
    if len(content) < min(announced, maximum_bytes):
        raise ConnectionError("the connection was closed too early")
    return content


def _announced_bytes(header: str | None) -> int:
    """What a Content-Length says, 0 without one. Raises ConnectionError if it is no length."""
    if not header:
        return 0
    if not (header.isascii() and header.isdigit() and len(header) < _LONGEST_LENGTH):
        raise ConnectionError("the answer has a malformed Content-Length")
    return int(header)


def _retried(failures: int) -> dict[str, str]:
    return {"retried": "yes"} if failures else {}


def _age_s(headers: Mapping[str, str]) -> float:
    try:
        now, written = (
            email.utils.parsedate_to_datetime(headers[name]) for name in ("date", "last-modified")
        )
        return max(0.0, (now - written).total_seconds())
    except (KeyError, ValueError, TypeError):
        return float("inf")


def _element(body: bytes, name: str) -> str:
    """The text of an element of S3's XML."""
    start, end = f"<{name}>".encode(), f"</{name}>".encode()
    return body.partition(start)[2].partition(end)[0].decode("ascii", "replace")[:1024]


def _require_range(key: str, response: Response, total: int) -> None:
    """Raise unless this is a range of an object of `total` bytes."""
    if response.status in _NOT_THERE:
        raise ObjectChanged(f"{key} is missing")
    told = response.headers.get("Content-Range", "").rpartition("/")[2]
    if response.status != _PARTIAL or told != str(total):
        raise ObjectChanged(f"{key} has not the {total} bytes that were written (HTTP {response.status})")
