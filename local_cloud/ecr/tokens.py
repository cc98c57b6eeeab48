"""Authorization tokens: issued by GetAuthorizationToken, and required for requests to the registry.

As on AWS, a token is a password for the user `AWS`, is valid for twelve hours, and has the permissions of the
caller who requested it. Tokens are random and kept in memory only: they end with the cloud.
"""

from __future__ import annotations

import base64
import hashlib
import secrets
import time
from dataclasses import dataclass

VALID_S = 12 * 3600


@dataclass(frozen=True)
class Bearer:
    """The caller who requested a token."""

    account: str
    region: str
    access_key: str
    is_root: bool
    """It is the developer's own."""
    expires_at: float
    """Seconds since the epoch."""


class Tokens:
    """The tokens that are valid."""

    def __init__(self) -> None:
        self._bearers: dict[bytes, Bearer] = {}

    def issue(self, account: str, region: str, access_key: str, *, is_root: bool) -> tuple[str, float]:
        """A new token, and when it expires (seconds since the epoch)."""
        now = time.time()
        self._bearers = {key: bearer for key, bearer in self._bearers.items() if bearer.expires_at > now}
        password = secrets.token_urlsafe(48)
        self._bearers[_key(password)] = Bearer(account, region, access_key, is_root, now + VALID_S)
        return base64.b64encode(f"AWS:{password}".encode()).decode(), now + VALID_S

    def bearer(self, authorization: str) -> Bearer | None:
        """Who sends this Authorization header; None if its token was never issued, or has expired."""
        scheme, _, encoded = authorization.partition(" ")
        if scheme.lower() != "basic":
            return None
        try:
            user, _, password = base64.b64decode(encoded.strip(), validate=True).decode().partition(":")
        except ValueError:
            return None
        bearer = self._bearers.get(_key(password)) if user == "AWS" else None
        return bearer if bearer is not None and bearer.expires_at > time.time() else None


def _key(password: str) -> bytes:
    # Looked up by a hash, so that timing does not reveal how much of a guess is correct.
    return hashlib.sha256(password.encode()).digest()
