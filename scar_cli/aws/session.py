"""boto3 clients for the commands, and explanations of boto3's errors.

boto3 takes a third of a second to load, so it is imported when a client is needed.
"""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from functools import lru_cache
from typing import Any, NamedTuple
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from scar_cli.errors import UserError

_EXPIRED = frozenset({"ExpiredToken", "ExpiredTokenException", "RequestExpired", "TokenRefreshRequired"})
_UNKNOWN_KEY = frozenset(
    {
        "InvalidAccessKeyId",
        "InvalidClientTokenId",
        "UnrecognizedClientException",
        "SignatureDoesNotMatch",
        "AuthFailure",
        "InvalidToken",
    }
)
_DENIED = frozenset(
    {"AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "AuthorizationError", "403"}
)
_CONNECT_WITHIN_S = 10
_creating = threading.Lock()
"""Sessions are not thread-safe, but the clients are."""
_LOG_IN = "Log in again, for example with `aws sso login`"
LOOPBACK = ("127.0.0.1", "localhost", "::1")
"""Hosts of the embedded cloud."""
_THROTTLED = frozenset(
    {
        "TooManyRequestsException",
        "TooManyRequests",
        "ThrottlingException",
        "Throttling",
        "ThrottledException",
        "RequestThrottled",
        "RequestThrottledException",
        "RequestLimitExceeded",
        "SlowDown",
    }
)


def client(service: str, *, region: str | None = None, **settings: Any) -> Any:
    """A boto3 client with the credentials of the environment, that slows down when it is throttled.

    `settings` are arguments of botocore's Config.

    Raises:
        UserError: no region is set, the profile does not exist, or the endpoint is not reachable.
    """
    with explained():
        from botocore.config import Config
        from botocore.exceptions import NoCredentialsError

        settings.setdefault("retries", {"mode": "adaptive", "max_attempts": 10})
        session = _sessions(frozenset(os.environ.items())).boto3
        if session.get_credentials() is None:
            raise NoCredentialsError
        try:
            with _creating:
                made = session.client(service, region, config=Config(**settings))
                if getproxies() and urlsplit(made.meta.endpoint_url).hostname in LOOPBACK:
                    made = session.client(service, region, config=Config(**settings, proxies={}))
        except ValueError as error:  # botocore raises it for an invalid URL
            raise UserError(
                str(error).rstrip("."), "Set AWS_ENDPOINT_URL to a URL such as http://127.0.0.1:4566"
            ) from error
    _check_that_it_listens(made.meta.endpoint_url)
    return made


def botocore_session() -> Any:
    """The session of all clients.

    Raises:
        UserError: the profile does not exist.
    """
    with explained():
        return _sessions(frozenset(os.environ.items())).botocore


class _Sessions(NamedTuple):
    boto3: Any
    botocore: Any
    """The one that boto3's is based on."""


@lru_cache(maxsize=1)
def _sessions(_environment: frozenset[tuple[str, str]]) -> _Sessions:
    """The sessions of an environment, for all clients.

    The descriptions of AWS's services are read once, which takes longer than most calls, and a profile with
    MFA asks for one code. Times are parsed quickly, because a listing has one for each file.
    """
    import boto3
    import botocore.session
    from botocore.utils import parse_timestamp

    def moment(value: Any) -> Any:
        try:
            read = datetime.fromisoformat(value)
        except (ValueError, TypeError):
            return parse_timestamp(value)
        return read if read.tzinfo is not None else parse_timestamp(value)

    below = botocore.session.get_session()
    below.get_component("response_parser_factory").set_parser_defaults(timestamp_parser=moment)
    return _Sessions(boto3.Session(botocore_session=below), below)


@contextmanager
def explained(*expected: str) -> Iterator[None]:
    """Turn boto3's errors in the block into a UserError with advice.

    An error of AWS with one of the codes `expected` ends the block silently.
    """
    try:
        yield
    except (UserError, KeyboardInterrupt):
        raise
    except Exception as error:
        if error_code(error) in expected:
            return
        told = explain(error)
        if told is None:
            raise
        raise told from error


def explain(error: BaseException) -> UserError | None:
    """The explanation of an error of boto3; None for other errors."""
    from boto3.exceptions import Boto3Error, S3UploadFailedError
    from botocore import exceptions

    told: UserError | None = None
    if isinstance(error, S3UploadFailedError) and isinstance(error.__context__, exceptions.ClientError):
        error = error.__context__  # which S3UploadFailedError repeats at length
    if isinstance(error, exceptions.ClientError):
        told = _explain_refusal(error)
    elif isinstance(error, (exceptions.NoCredentialsError, exceptions.PartialCredentialsError)):
        told = UserError(
            "No AWS credentials were found",
            'Run `aws configure`, set AWS_PROFILE, or use the embedded cloud: eval "$(scar local env)"',
        )
    elif isinstance(error, exceptions.NoRegionError):
        told = UserError("No AWS region is set", "Set AWS_REGION, for example to us-east-1")
    elif isinstance(error, exceptions.ProfileNotFound):
        told = UserError(str(error), "Set AWS_PROFILE to a profile in ~/.aws/config, or unset it")
    elif isinstance(error, (exceptions.EndpointConnectionError, exceptions.ConnectionClosedError)):
        told = _explain_silence(str(error.kwargs.get("endpoint_url", "AWS")))
    elif isinstance(
        error, (exceptions.SSOError, exceptions.TokenRetrievalError, exceptions.CredentialRetrievalError)
    ):
        told = UserError(f"The AWS login failed: {str(error).rstrip('.')}", _LOG_IN)
    elif isinstance(error, (exceptions.ReadTimeoutError, exceptions.ConnectTimeoutError)):
        endpoint = str(error.kwargs.get("endpoint_url", "AWS"))
        told = UserError(f"{endpoint} did not respond in time", "Try again, or check the network connection")
    elif isinstance(error, (exceptions.BotoCoreError, Boto3Error)):
        told = UserError(str(error).rstrip("."))
    return told


def error_code(error: BaseException) -> str:
    """The code of an error of AWS, such as `NoSuchBucket`; empty for other errors."""
    response = getattr(error, "response", None) or {}
    return str(response.get("Error", {}).get("Code", ""))


def is_passing(error: BaseException) -> bool:
    """Whether the same call may succeed later: the network is down, or AWS is overloaded."""
    from botocore import exceptions

    if isinstance(error, exceptions.ClientError):
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        return error_code(error) in _THROTTLED or status >= 500  # noqa: PLR2004 (HTTP: the server's fault)
    return isinstance(error, (exceptions.HTTPClientError, exceptions.ConnectionError))


def is_throttled(error: BaseException) -> bool:
    """Whether AWS rejected a call because there were too many: nothing was done."""
    return error_code(error) in _THROTTLED


def _check_that_it_listens(endpoint: str) -> None:
    """Report an unreachable endpoint at once, instead of after ten attempts and several minutes."""
    address = urlsplit(endpoint)
    host = address.hostname or ""
    if host not in LOOPBACK and address.scheme in getproxies() and not proxy_bypass(host):
        return  # only the proxy may be able to resolve the name
    port = address.port or (443 if address.scheme == "https" else 80)
    try:
        socket.create_connection((host, port), timeout=_CONNECT_WITHIN_S).close()
    except OSError as error:
        raise _explain_silence(endpoint) from error


def _explain_silence(endpoint: str) -> UserError:
    if urlsplit(endpoint).hostname in LOOPBACK:
        advice = 'To use the embedded cloud: `scar local start`, then eval "$(scar local env)"'
    else:
        advice = "Check the network connection, AWS_REGION and AWS_ENDPOINT_URL"
    return UserError(f"Cannot connect to {endpoint}", advice)


def _explain_refusal(error: Any) -> UserError:
    code, message = error_code(error), str(error.response.get("Error", {}).get("Message", "")).rstrip(".")
    if code in _EXPIRED:
        return UserError("The AWS credentials have expired", _LOG_IN)
    if code == "RequestTimeTooSkewed" or "Signature expired" in message or "Signature not yet" in message:
        return UserError("The clock of this machine is wrong", "Set it, for example with NTP")
    if code in _UNKNOWN_KEY:
        return UserError(
            "AWS rejected the credentials",
            "Check AWS_ACCESS_KEY_ID or AWS_PROFILE, and unset AWS_SESSION_TOKEN if it is outdated",
        )
    if code in _DENIED:
        return UserError(
            f"{error.operation_name} is not allowed: {message or code}",
            "Ask for this permission, or set AWS_PROFILE to another profile",
        )
    if code in _THROTTLED:
        return UserError(
            f"AWS is throttling requests ({error.operation_name})", "Wait a moment and try again"
        )
    return UserError(f"{error.operation_name} failed: {message or code}")
