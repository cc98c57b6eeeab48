"""The bucket of the second tier: whole objects, read and written on conditions.

A role without the right to list gets 403 for an object that is not there, as it gets for one that it may not
read: both mean "not there" here, and the tier is then as good as switched off.
"""

from __future__ import annotations

import email.utils
import os
import time
import urllib.parse
from collections.abc import Mapping
from dataclasses import dataclass

from runtime import aws
from runtime.images.connections import NETWORK_ERRORS, Connections, Response
from runtime.images.s3_signature import object_url, signed_headers
from runtime.images.transport import Patience

PATIENCE = Patience(timeout_s=20.0, attempts=4, first_pause_s=0.2, longest_pause_s=5.0)

ABSENT: Mapping[str, str] = {"If-None-Match": "*"}
"""The condition that nobody has written the object yet."""

_OK = range(200, 300)
_NOT_THERE = (403, 404)
_CONDITION_FAILED = (404, 409, 412)  # 404: If-Match on an object that is gone
_WORTH_RETRYING = frozenset({408, 429, 500, 502, 503, 504})


def unchanged(etag: str) -> Mapping[str, str]:
    """The condition that the object is still the one that was read or written."""
    return {"If-Match": etag}


class TierUnavailable(Exception):  # noqa: N818 - not an error for the run: the image comes from elsewhere
    """The bucket does not answer, or refuses; the text says why."""


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
        if int(headers.get("content-length") or 0) > maximum_bytes:
            raise TierUnavailable(f"{key} is larger than {maximum_bytes} bytes")
        return StoredObject(content, headers.get("etag", ""), _age_s(headers))

    def put(self, key: str, content: bytes, condition: Mapping[str, str] | None = None) -> str | None:
        """Write the object; its new ETag, or None if `condition` did not hold. Raises TierUnavailable."""
        status, headers, answer = self._patiently("PUT", key, condition or {}, content, 1 << 16)
        if condition and status in _CONDITION_FAILED:
            # It may be that our own attempt was obeyed and its answer got lost.
            there = self.get(key, len(content)) if headers.get("retried") else None
            return there.etag if there is not None and there.content == content else None
        if status not in _OK:
            raise TierUnavailable(f"writing {key}: S3 answered HTTP {status} {_code(answer)}".rstrip())
        return headers.get("etag", "")

    def close(self) -> None:
        """Let go of the connections."""
        self._connections.close()

    def _patiently(
        self, method: str, key: str, headers: Mapping[str, str], body: bytes, maximum_bytes: int
    ) -> tuple[int, Mapping[str, str], bytes]:
        """Status, headers and body of the answer, asked for again where that may help."""
        url = self._base_url + key
        failures = 0
        while True:
            try:
                signed = signed_headers(
                    method, url, headers, body, region=self._region, credentials=self._credentials
                )
                with self._connections.request(method, url, signed, body or None) as response:
                    content = _read(response, maximum_bytes)
                if response.status not in _WORTH_RETRYING:
                    answered = {name.lower(): value for name, value in response.headers.items()}
                    return response.status, answered | _retried(failures), content
                problem = f"S3 keeps answering HTTP {response.status}"
            except NETWORK_ERRORS as error:
                host = urllib.parse.urlsplit(url).netloc
                problem = f"S3 cannot be reached at {host}: {error or type(error).__name__}"
            failures += 1
            if failures >= PATIENCE.attempts:
                raise TierUnavailable(problem)
            time.sleep(PATIENCE.pause_s(failures))


def _read(response: Response, maximum_bytes: int) -> bytes:
    announced = int(response.headers.get("Content-Length") or 0)
    content = response.read(min(announced, maximum_bytes) if announced else maximum_bytes)
    if len(content) < min(announced, maximum_bytes):
        raise ConnectionError("the connection was closed too early")
    return content


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


def _code(body: bytes) -> str:
    """The error's code in S3's XML."""
    return body.partition(b"<Code>")[2].partition(b"</Code>")[0].decode("ascii", "replace")[:50]
