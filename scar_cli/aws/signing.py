"""Signature Version 4 for many calls of one service.

botocore's signer takes longer than sending the call, as it derives the day's key for each one. Here the key
is reused while it is valid, and a signature is two hashes and one HMAC.
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote


class Signer:
    """Signs calls with the credentials of a session, which refresh themselves. Thread-safe."""

    def __init__(self, credentials: Any, region: str, service: str) -> None:
        """`credentials` are botocore's, from `Session.get_credentials()`."""
        self._credentials = credentials
        self._region = region
        self._service = service
        self._key: tuple[str, str, bytes] = ("", "", b"")
        """Secret and day, and the key derived from them."""

    def sign(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str],
        body: bytes,
        moment: datetime | None = None,
    ) -> dict[str, str]:
        """All headers to send: the given ones, which must include `Host`, and those of the signature.

        `path` is the path in the request, without a query.
        """
        frozen = self._credentials.get_frozen_credentials()
        time = (moment or datetime.now(UTC)).strftime("%Y%m%dT%H%M%SZ")
        all_headers = {**headers, "X-Amz-Date": time}
        if frozen.token:
            all_headers["X-Amz-Security-Token"] = frozen.token
        lines = sorted((name.lower(), value.strip()) for name, value in all_headers.items())
        names = ";".join(name for name, _value in lines)
        request = "\n".join(
            (
                method,
                quote(path, safe="/-_.~"),
                "",
                *(f"{name}:{value}" for name, value in lines),
                "",
                names,
                hashlib.sha256(body).hexdigest(),
            )
        )
        scope = f"{time[:8]}/{self._region}/{self._service}/aws4_request"
        text = f"AWS4-HMAC-SHA256\n{time}\n{scope}\n{hashlib.sha256(request.encode()).hexdigest()}"
        signature = hmac.digest(self._day_key(frozen.secret_key, time[:8]), text.encode(), "sha256").hex()
        all_headers["Authorization"] = (
            f"AWS4-HMAC-SHA256 Credential={frozen.access_key}/{scope}, "
            f"SignedHeaders={names}, Signature={signature}"
        )
        return all_headers

    def _day_key(self, secret: str, day: str) -> bytes:
        kept_secret, kept_day, key = self._key
        if (kept_secret, kept_day) != (secret, day):
            key = f"AWS4{secret}".encode()
            for part in (day, self._region, self._service, "aws4_request"):
                key = hmac.digest(key, part.encode(), "sha256")
            self._key = (secret, day, key)
        return key
