"""The credentials endpoint of Batch jobs.

A job's SDK reads its address from `AWS_CONTAINER_CREDENTIALS_FULL_URI`, and asks again before the credentials
expire. (On AWS, the address is in `AWS_CONTAINER_CREDENTIALS_RELATIVE_URI`.) The random path is the secret:
these requests are not signed. It is valid while the job's container runs.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Mapping

Credentials = Mapping[str, str]
_PATH = "/_scar/credentials/"
_offered: dict[str, Callable[[], Credentials]] = {}


def offer(current: Callable[[], Credentials]) -> str:
    """The path at which a job gets credentials, which `current` returns, until they are withdrawn."""
    path = _PATH + secrets.token_urlsafe(32)
    _offered[path] = current
    return path


def withdraw(path: str) -> None:
    """The job has ended."""
    _offered.pop(path, None)


def answer(method: str, path: str) -> bytes | None:
    """The body of the answer to a request; None if no job has this path."""
    current = _offered.get(path) if method == "GET" else None
    return None if current is None else json.dumps(current()).encode()
