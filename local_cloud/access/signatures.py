"""AWS Signature Version 4: who signed a request, and whether it is unchanged.

    signature = read(request)                  None: the request is unsigned
    check(request, signature, secret, body_sha256)

Four forms: an `Authorization` header, a query string (presigned URLs), the chunks of an S3 upload
(`signed_chunks.py`), and the policy of a browser's upload form (`policy_signature`). This module does not
depend on the emulator. Everything is computed from the received bytes, decoded and encoded again, so that the
emulator acts on exactly what was signed.

Source: AWS, "Create a signed AWS API request" (IAM User Guide) and "Authenticating Requests (AWS Signature
Version 4)" (Amazon S3 API Reference).
"""

from __future__ import annotations

import functools
import hashlib
import hmac
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from urllib.parse import quote_from_bytes, unquote_to_bytes

from botocore.utils import normalize_url_path

ALGORITHM = "AWS4-HMAC-SHA256"
UNSIGNED_PAYLOAD = "UNSIGNED-PAYLOAD"
SIGNED_CHUNKS = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
UNSIGNED_CHUNKS = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
TRAILER = "-TRAILER"
_HASH = re.compile(r"[0-9a-f]{64}")
_TIME = re.compile(r"[0-9]{8}T[0-9]{6}Z")
_MAX_SKEW = timedelta(minutes=15)
_MAX_EXPIRES_S = 7 * 24 * 3600
_IN_QUERY = ("Algorithm", "Credential", "Date", "Expires", "SignedHeaders", "Signature")
_OF_CREDENTIALS = frozenset(f"x-amz-{name}".lower() for name in (*_IN_QUERY, "Security-Token"))
_OLD_QUERY = frozenset({"AWSAccessKeyId", "SignatureVersion", "SignatureMethod"})


class SignatureError(Exception):
    """A signature that is not accepted: `code` is the emulator's name for the reason."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


@dataclass(frozen=True)
class Request:
    """A request as it arrived."""

    method: str
    path: bytes
    """Percent-encoded."""
    query: bytes
    """Percent-encoded, without the question mark."""
    headers: Sequence[tuple[bytes, bytes]]

    def values(self, name: str) -> list[bytes]:
        """All lines of a header, its name in lower case."""
        return self.by_name.get(name, [])

    @functools.cached_property
    def by_name(self) -> dict[str, list[bytes]]:
        """All headers, their names in lower case."""
        found: dict[str, list[bytes]] = {}
        for key, value in self.headers:
            found.setdefault(key.decode("latin-1").lower(), []).append(value)
        return found

    def header(self, name: str) -> str:
        """The one value of a header, or ''.

        Raises:
            SignatureError: the header is repeated, so that two readers could see different values.
        """
        found = self.values(name)
        if len(found) > 1:
            raise SignatureError("IncompleteSignature", f"The header {name} is repeated")
        return found[0].decode("latin-1").strip() if found else ""


@dataclass(frozen=True)
class Signature:
    """The signature of a request."""

    access_key_id: str
    signed_at: str
    """`YYYYMMDDTHHMMSSZ`."""
    region: str
    service: str
    signed_headers: tuple[str, ...]
    value: str
    token: str
    """Session token, or ''."""
    payload: str | None
    """The body's SHA-256, or one of the constants above; None: the body must be hashed."""
    expires_s: int | None
    """Of a presigned URL; None: the signature is in the header."""

    @property
    def scope(self) -> str:
        """The credential scope: date, region and service that the signing key is good for."""
        return f"{self.signed_at[:8]}/{self.region}/{self.service}/aws4_request"


def read(request: Request) -> Signature | None:
    """The signature of the request, or None if it is unsigned.

    Raises:
        SignatureError: it is incomplete, ambiguous, or of another algorithm.
    """
    authorization = request.header("authorization")
    query = _pairs(request.query)
    names = [name.decode("latin-1") for name, _value in query]
    in_query = [name for name in names if name.lower() in _OF_CREDENTIALS]
    # Credentials in two places, or spelled as the emulator reads them too: one verified, another one used.
    if not _OLD_QUERY.isdisjoint(names) or (authorization and in_query):
        raise SignatureError("UnsupportedSignature", "A request must be signed once, with " + ALGORITHM)
    if in_query:
        return _read_query(request, query, in_query)
    if not authorization:
        return None
    return _read_header(request, authorization)


def check(
    request: Request, signature: Signature, secret: str, body_sha256: str, now: datetime | None = None
) -> None:
    """Verify the signature. `body_sha256` is `signature.payload`, or the body's hash if that is None.

    Raises:
        SignatureError: it is invalid, or not valid at this time.
    """
    _check_time(signature, now or datetime.now(UTC))
    # Adding a header such as x-amz-copy-source must not turn a presigned URL into another request.
    headers = request.by_name
    unsigned = sorted(
        name for name in headers if name.startswith("x-amz-") and name not in signature.signed_headers
    )
    if unsigned or "host" not in signature.signed_headers:
        raise mismatch(f"These headers must be signed: {', '.join(unsigned or ['host'])}. ")
    if any(name not in headers for name in signature.signed_headers):
        raise mismatch("A signed header is missing. ")
    hashed = hashlib.sha256(_canonical_request(request, signature, body_sha256)).hexdigest()
    to_sign = f"{ALGORITHM}\n{signature.signed_at}\n{signature.scope}\n{hashed}"
    if not hmac.compare_digest(sign(signing_key(signature, secret), to_sign), signature.value):
        raise mismatch("")


def signing_key(signature: Signature, secret: str) -> bytes:
    """The key derived from a secret for the signature's day, region and service."""
    return _derived_key(secret, signature.signed_at[:8], signature.region, signature.service)


def policy_signature(policy: str, *, credential: str, signed_at: str, secret: str) -> str:
    """The signature of a browser's upload form: of its policy, in Base64 as in the form.

    Raises:
        SignatureError: the credential is not for S3.
    """
    _key, date, region, service = _split_credential(credential)
    if service != "s3" or date != signed_at[:8]:
        raise SignatureError(
            "IncompleteSignature", "The credential of a form must be for S3 and for the day of the form"
        )
    return sign(_derived_key(secret, date, region, service), policy)


def _read_header(request: Request, authorization: str) -> Signature:
    algorithm, _space, rest = authorization.partition(" ")
    if algorithm != ALGORITHM:
        raise SignatureError("UnsupportedSignature", f"Requests must be signed with {ALGORITHM}")
    fields = [part.strip().partition("=")[::2] for part in rest.split(",")]
    if sorted(name for name, _value in fields) != ["Credential", "Signature", "SignedHeaders"]:
        raise SignatureError(
            "IncompleteSignature", "The Authorization header needs Credential, SignedHeaders and Signature"
        )
    given = dict(fields)
    return _signature(
        given["Credential"],
        signed_at=request.header("x-amz-date"),
        signed_headers=given["SignedHeaders"],
        value=given["Signature"],
        token=request.header("x-amz-security-token"),
        payload=request.header("x-amz-content-sha256") or None,
    )


def _read_query(request: Request, query: list[tuple[bytes, bytes]], names: list[str]) -> Signature:
    given = {name.decode("latin-1"): value.decode("latin-1") for name, value in query}
    if len(set(names)) != len(names) or any(f"X-Amz-{name}" not in given for name in _IN_QUERY):
        raise SignatureError(
            "IncompleteSignature",
            "A presigned URL must have each of these once: "
            + ", ".join(f"X-Amz-{name}" for name in _IN_QUERY),
        )
    if given["X-Amz-Algorithm"] != ALGORITHM:
        raise SignatureError("UnsupportedSignature", f"Requests must be signed with {ALGORITHM}")
    expires = given["X-Amz-Expires"]
    if not re.fullmatch(r"[0-9]{1,6}", expires) or not 0 < int(expires) <= _MAX_EXPIRES_S:
        raise SignatureError("RequestExpired", f"X-Amz-Expires must be 1 to {_MAX_EXPIRES_S} seconds")
    return _signature(
        given["X-Amz-Credential"],
        signed_at=given["X-Amz-Date"],
        signed_headers=given["X-Amz-SignedHeaders"],
        value=given["X-Amz-Signature"],
        token=given.get("X-Amz-Security-Token", ""),
        payload=request.header("x-amz-content-sha256") or given.get("X-Amz-Content-Sha256"),
        expires_s=int(expires),
    )


def _signature(
    credential: str,
    *,
    signed_at: str,
    signed_headers: str,
    value: str,
    token: str,
    payload: str | None,
    expires_s: int | None = None,
) -> Signature:
    key, date, region, service = _split_credential(credential)
    if payload is None and service == "s3" and expires_s is not None:
        payload = UNSIGNED_PAYLOAD
    payload = _payload(payload, service)
    if not _TIME.fullmatch(signed_at) or not _HASH.fullmatch(value):
        raise SignatureError("IncompleteSignature", "X-Amz-Date or the signature is missing or malformed")
    if date != signed_at[:8]:
        raise SignatureError("CredentialDateMismatch", "The credential is not for the day of X-Amz-Date")
    headers = tuple(name for name in signed_headers.split(";") if name)
    return Signature(key, signed_at, region, service, headers, value, token, payload, expires_s)


def _split_credential(credential: str) -> tuple[str, str, str, str]:
    match credential.split("/"):
        case [key, date, region, service, "aws4_request"] if key and date and region and service:
            return key, date, region, service
    raise SignatureError("IncompleteSignature", "A credential is KEY/DATE/REGION/SERVICE/aws4_request")


def _payload(payload: str | None, service: str) -> str | None:
    if payload is None or _HASH.fullmatch(payload):
        return payload
    # Only S3 accepts a body that its signature does not cover.
    known = (UNSIGNED_PAYLOAD, UNSIGNED_CHUNKS, SIGNED_CHUNKS, SIGNED_CHUNKS + TRAILER)
    if service == "s3" and payload in known:
        return payload
    raise SignatureError("UnsupportedSignature", "x-amz-content-sha256 must be the body's SHA-256")


def _check_time(signature: Signature, now: datetime) -> None:
    at = _time(signature.signed_at)
    if at > now + _MAX_SKEW:
        raise SignatureError("RequestTimeTooSkewed", f"Signature not yet current: {signature.signed_at}")
    if signature.expires_s is None:
        if at < now - _MAX_SKEW:
            raise SignatureError("RequestTimeTooSkewed", f"Signature expired: {signature.signed_at}")
    elif at + timedelta(seconds=signature.expires_s) < now:
        raise SignatureError("RequestExpired", "Request has expired")


@functools.lru_cache(maxsize=64)
def _time(text: str) -> datetime:
    try:
        return datetime.strptime(f"{text}+0000", "%Y%m%dT%H%M%SZ%z")
    except ValueError:
        raise SignatureError("IncompleteSignature", "X-Amz-Date is not a valid time") from None


def _canonical_request(request: Request, signature: Signature, payload: str) -> bytes:
    if signature.service == "s3":
        path = _encode(unquote_to_bytes(request.path), "/")
    else:  # without empty parts, `.` and `..`, and encoded twice
        path = _encode(normalize_url_path(request.path.decode("latin-1")).encode("latin-1"), "/")
    left_out = b"X-Amz-Signature" if signature.expires_s is not None else None
    pairs = sorted(
        (_encode(name), _encode(value)) for name, value in _pairs(request.query) if name != left_out
    )
    headers = b"".join(
        name.encode() + b":" + b",".join(b" ".join(value.split()) for value in request.values(name)) + b"\n"
        for name in signature.signed_headers
    )
    return b"\n".join(
        [
            request.method.encode(),
            path.encode(),
            "&".join(f"{name}={value}" for name, value in pairs).encode(),
            headers,
            ";".join(signature.signed_headers).encode(),
            payload.encode(),
        ]
    )


def _pairs(query: bytes) -> list[tuple[bytes, bytes]]:
    """Names and values, decoded as the emulator decodes them: a `+` is a space."""
    decoded = []
    for part in query.split(b"&"):
        if part:
            name, _equals, value = part.replace(b"+", b" ").partition(b"=")
            decoded.append((unquote_to_bytes(name), unquote_to_bytes(value)))
    return decoded


def _encode(text: bytes, safe: str = "") -> str:
    return quote_from_bytes(text, safe=safe + "-_.~")


@functools.lru_cache(maxsize=256)
def _derived_key(secret: str, date: str, region: str, service: str) -> bytes:
    key = ("AWS4" + secret).encode()
    for part in (date, region, service, "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    return key


def sign(key: bytes, text: str) -> str:
    """The signature of a text, in hexadecimal digits."""
    return hmac.digest(key, text.encode(), "sha256").hex()


def mismatch(reason: str) -> SignatureError:
    """The answer for a signature that does not match."""
    return SignatureError(
        "SignatureDoesNotMatch",
        f"{reason}The request signature we calculated does not match the signature you provided. Check your "
        "AWS Secret Access Key and signing method. Consult the service documentation for details.",
    )
