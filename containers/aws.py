"""Clients of AWS services, created once for each execution environment, and their credentials.

boto3 reads region, credentials and (on the embedded cloud) `AWS_ENDPOINT_URL` from the environment.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from functools import cache
from typing import Any

_KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
_CONTAINER_ADDRESSES = ("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_CREDENTIALS_FULL_URI")
_TOKENS = ("AWS_CONTAINER_AUTHORIZATION_TOKEN", "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE")
_creating = threading.Lock()
"""Sessions are not thread-safe, but the clients are."""


def client(service: str, region: str | None = None, **settings: int) -> Any:
    """A client that retries errors that AWS declares as retryable, with increasing delays; in the
    environment's region, or in another one. `settings` are those of `client_config`."""
    key_id = os.environ.get("AWS_ACCESS_KEY_ID")
    return _client(service, own_endpoint(os.environ, service), key_id, region, **settings)


@cache
def _client(
    service: str, endpoint: str | None, key_id: str | None, region: str | None, **settings: int
) -> Any:
    """One for each place and identity that the environment names; boto3 reads the rest by itself."""
    # At an endpoint of one's own, `bucket.endpoint` is rarely a name that resolves.
    config = client_config(path_style=endpoint is not None, **settings)
    with _creating:
        return _session(key_id).client(service, region_name=region, config=config)


@cache
def _session(_: str | None) -> Any:
    """One for each identity: a session takes longer to create than a client."""
    import boto3

    return boto3.session.Session()


def client_config(
    *, path_style: bool = False, attempts: int = 6, read_timeout_s: int = 60, **more: Any
) -> Any:
    """botocore's `Config` of every client here."""
    from botocore.config import Config

    return Config(
        connect_timeout=5,
        read_timeout=read_timeout_s,
        max_pool_connections=16,
        retries={"mode": "standard", "total_max_attempts": attempts},
        s3={"addressing_style": "path"} if path_style else None,
        **more,
    )


def own_endpoint(environ: Mapping[str, str], service: str | None = None) -> str | None:
    """The configured endpoint that replaces all of AWS, or one service."""
    of_service = environ.get(f"AWS_ENDPOINT_URL_{service.upper()}") if service else None
    return of_service or environ.get("AWS_ENDPOINT_URL") or None


def credentials(environ: Mapping[str, str]) -> dict[str, str]:
    """The function's credentials and region under the names that AWS's SDKs read; unknown values are left
    out.

    On Lambda, the environment contains them. In a Batch job, it contains the address from which every SDK
    gets them: those of the role expire after some hours, and a job may take longer.
    """
    found = {name: environ[name] for name in _KEYS if environ.get(name)}
    if "AWS_SECRET_ACCESS_KEY" not in found and any(name in environ for name in _CONTAINER_ADDRESSES):
        found = {name: environ[name] for name in (*_CONTAINER_ADDRESSES, *_TOKENS) if environ.get(name)}
    elif "AWS_SECRET_ACCESS_KEY" not in found:
        found = _from_session()
    return found | _place(environ)


def _place(environ: Mapping[str, str]) -> dict[str, str]:
    """Region and endpoint."""
    found: dict[str, str] = {}
    region = environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION")
    if region:
        # Not every SDK reads AWS_REGION.
        found |= {"AWS_REGION": region, "AWS_DEFAULT_REGION": region}
    if endpoint := own_endpoint(environ):
        # Otherwise, a script on the embedded cloud would call the real AWS.
        found["AWS_ENDPOINT_URL"] = endpoint
    return found


def _from_session() -> dict[str, str]:
    import boto3

    session_credentials = boto3.session.Session().get_credentials()
    if session_credentials is None:
        return {}
    frozen = session_credentials.get_frozen_credentials()
    names = {
        "AWS_ACCESS_KEY_ID": frozen.access_key,
        "AWS_SECRET_ACCESS_KEY": frozen.secret_key,
        "AWS_SESSION_TOKEN": frozen.token,
    }
    return {name: value for name, value in names.items() if value}
