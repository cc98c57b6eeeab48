"""The caller of a request in the emulator: the one whose signature the gatekeeper has verified.

ministack's own verification treats `test`, an empty key and any account number as the root of an account, and
derives the secrets of execution roles from their ARNs. It is switched off. `install` must run before anything
else of ministack is imported, since its modules copy these names.
"""

from __future__ import annotations

import base64
import contextvars
import hmac
import re
import time
from dataclasses import dataclass
from typing import Any

from ministack.core import iam_evaluator
from ministack.core.iam_evaluator import AuthError, CredentialResolutionError, ResolvedCredential

from local_cloud.access.credentials import Credentials
from local_cloud.access.signatures import SignatureError
from local_cloud.patches import Original, replaces

ACCOUNT = "000000000000"
_ACCOUNT = re.compile("[0-9]{12}")
_PERIOD_S = 3600
"""After which a job gets other credentials."""


@dataclass
class Caller:
    """Who sent the request that is being served."""

    access_key_id: str = ""
    """Of a verified signature, or ''."""
    is_root: bool = False
    """The developer's own key."""
    for_s3: bool = False
    """Signed for S3, whose signatures need not cover the body: no other service may act on that."""
    failure: SignatureError | None = None
    """Why the signature of a call to an HTTP endpoint is not verified; its authorizer decides."""
    to_endpoint: bool = False
    """The request is for an HTTP endpoint of a function, which may be open to everyone."""
    to_form: bool = False
    """A browser's upload form, verified when its fields are read."""
    allowed: bool = False
    """A policy has allowed the action of a role."""


current: contextvars.ContextVar[Caller | None] = contextvars.ContextVar("caller", default=None)
"""None: one service of the emulator calls another."""


_sessions: RoleSessions | None = None


def install(root: Credentials) -> None:
    """Answer ministack's questions about callers. Its own check of signatures is off from here on."""

    @replaces(iam_evaluator, "resolve_credential")
    def resolve_credential(
        resolve: Original, access_key_id: str, account_id: str | None = None, *token: Any
    ) -> Any:
        if is_root(access_key_id):
            account = access_key_id if _ACCOUNT.fullmatch(access_key_id) else ACCOUNT
            return ResolvedCredential(
                access_key_id=access_key_id,
                secret_access_key=root.secret_access_key,
                account_id=account,
                principal_arn=f"arn:aws:iam::{account}:root",
                principal_id=account,
                principal_type="Root",
                source_access_key_id=access_key_id,
            )
        return resolve(access_key_id, account_id, *token)

    def is_root(access_key_id: str) -> bool:
        # With the developer's secret, an account's number is the key of the root of that account.
        return access_key_id == root.access_key_id or _ACCOUNT.fullmatch(access_key_id) is not None

    iam_evaluator.is_root_access_key = is_root
    iam_evaluator.authenticate = _authenticate
    iam_evaluator.caller_verified = _is_verified
    iam_evaluator.pin_signed_request = _nothing
    iam_evaluator.pin_signed_body = _nothing

    from ministack.core import lambda_runtime

    global _sessions  # noqa: PLW0603 (as `current`, of this process)
    _sessions = RoleSessions(root)
    lambda_runtime.execution_credentials = _sessions.of_function


def is_root(access_key_id: str) -> bool:
    """Whether this is the developer's own key: of the cloud's account, or of another one that they play."""
    return bool(iam_evaluator.is_root_access_key(access_key_id))


def secret_of(access_key_id: str, token: str) -> str:
    """The secret of an access key, with which its signature is verified.

    Raises:
        SignatureError: no such key, an expired session, or another session's token.
    """
    found = iam_evaluator.resolve_credential(access_key_id, ACCOUNT, token)
    if isinstance(found, CredentialResolutionError):
        # A session's key without its token is unknown, as on AWS.
        code = found.code if token or found.code != "InvalidToken" else "UnrecognizedClientException"
        raise SignatureError(code, found.message)
    return str(found.secret_access_key)


def job_credentials(role: str, job_id: str) -> dict[str, str]:
    """Temporary credentials of a job's role, in the shape of the container credentials endpoint.

    They change every hour, and are valid for at least one more hour.
    """
    assert _sessions is not None  # noqa: S101 (install)
    return _sessions.of_job(role, job_id, time.time())


class RoleSessions:
    """Credentials of the roles of functions and jobs.

    They are derived from the cloud's own secret, so that they cannot be guessed from a role's ARN.
    """

    def __init__(self, root: Credentials) -> None:
        self._secret = root.secret_access_key.encode()

    def of_function(self, config: dict[str, Any]) -> dict[str, str]:
        """Environment variables for a function's process, whose session is known from now on."""
        function = str(config["FunctionArn"])
        session = str(config.get("FunctionName", "function"))[:64]
        key, secret, token = self._register(str(config.get("Role", "")), session, function)
        return {"AWS_ACCESS_KEY_ID": key, "AWS_SECRET_ACCESS_KEY": secret, "AWS_SESSION_TOKEN": token}

    def of_job(self, role: str, job_id: str, now: float) -> dict[str, str]:
        """See `job_credentials`."""
        period = int(now / _PERIOD_S)
        expiration = (period + 2) * _PERIOD_S
        session = re.sub(r"[^\w+=,.@-]", "-", job_id)
        key, secret, token = self._register(role, session, f"{job_id} {period}", Expiration=expiration)
        return {
            "RoleArn": role,
            "AccessKeyId": key,
            "SecretAccessKey": secret,
            "Token": token,
            "Expiration": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(expiration)),
        }

    def _register(self, role: str, session: str, owner: str, **more: float) -> tuple[str, str, str]:
        """Key, secret and token of a session, which is known from now on."""
        from ministack.services import sts

        name = role.rpartition("/")[2]
        key = "ASIA" + base64.b32encode(self._derived("key", owner, role)).decode()[:16]
        secret = base64.b64encode(self._derived("secret", owner, role)).decode()
        token = base64.b64encode(self._derived("token", owner, role)).decode()
        sts.register_session(
            key,
            {
                "Arn": f"arn:aws:sts::{ACCOUNT}:assumed-role/{name}/{session}",
                "UserId": f"{name}:{session}",
                "AccountId": ACCOUNT,
                "PrincipalType": "AssumedRole",
                "SecretAccessKey": secret,
                "SessionToken": token,
                "IssuedAt": time.time(),
                **more,
            },
        )
        return key, secret, token

    def _derived(self, *parts: str) -> bytes:
        return hmac.digest(self._secret, "\n".join(("role session", *parts)).encode(), "sha256")


def _is_verified(access_key_id: str, _account_id: str) -> bool:
    caller = current.get()
    return caller is None or (bool(access_key_id) and caller.access_key_id == access_key_id)


def _authenticate(access_key_id: str, account_id: str) -> Any:
    """Whether the key that ministack has read out of the request is the one that was verified."""
    caller = current.get()
    if caller is None:
        return None
    if not access_key_id or access_key_id != caller.access_key_id:
        failure = caller.failure or SignatureError(
            "MissingAuthenticationToken", "Missing Authentication Token"
        )
        return AuthError(failure.code, failure.message)
    found = iam_evaluator.resolve_credential(access_key_id, account_id)
    return AuthError(found.code, found.message) if isinstance(found, CredentialResolutionError) else found


def _nothing(*_arguments: Any, **_options: Any) -> None:
    """In place of what ministack would keep of a request, body included, to verify it later."""
