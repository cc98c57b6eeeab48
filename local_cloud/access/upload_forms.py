"""Browsers' upload forms to S3, which are signed in a field of their own: the form's policy."""

from __future__ import annotations

import hmac
from typing import Any

import ministack.app
from ministack.core.iam_evaluator import AuthError
from ministack.services import s3

from local_cloud.access import callers, signatures
from local_cloud.access.signatures import SignatureError
from local_cloud.patches import Original, replaces

_FORBIDDEN = 403


def install() -> None:
    """Check a form's signature when its fields are read; ministack checks its policy."""

    @replaces(s3, "_enforce_signed_post_policy")
    def check_form(check_policy: Original, fields: dict[str, str], *more: Any) -> Any:
        return _signature_failure(fields) or check_policy(fields, *more)

    # For a form without a signature, ministack would check only the size.
    s3._enforce_post_policy_size = lambda *_form: s3._error("AccessDenied", "Access Denied", _FORBIDDEN)
    # Presigned URLs were verified by the gatekeeper, as every other signature.
    s3._verify_presigned_sigv4 = lambda *_request: None


def is_form(request: signatures.Request, path: str, headers: dict[str, str]) -> bool:
    """A browser's upload form to a bucket. Only its signed fields determine the action."""
    form = headers.get("content-type", "").startswith("multipart/form-data")
    bucket = ministack.app._s3_cors_target(headers["host"], path)
    others = any(name.startswith("x-amz-") for name in headers)
    return bool(
        request.method == "POST" and form and bucket and not bucket[1] and not request.query and not others
    )


def _signature_failure(fields: dict[str, str]) -> Any:
    caller = callers.current.get()
    if caller is None or not caller.to_form:
        return None
    key = fields.get("x-amz-credential", "").partition("/")[0]
    try:
        secret = callers.secret_of(key, fields.get("x-amz-security-token", ""))
        expected = signatures.policy_signature(
            fields.get("policy", ""),
            credential=fields.get("x-amz-credential", ""),
            signed_at=fields.get("x-amz-date", ""),
            secret=secret,
        )
    except SignatureError as error:
        return _refusal(error)
    if not hmac.compare_digest(expected.encode(), fields.get("x-amz-signature", "").encode()):
        return _refusal(signatures.mismatch(""))
    caller.access_key_id, caller.is_root = key, callers.is_root(key)
    return None


def _refusal(error: SignatureError) -> Any:
    return ministack.app._credential_failure("s3", "", "", AuthError(error.code, error.message), {})
