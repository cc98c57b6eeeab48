"""The developer's own access key: random, made once for each state folder, and kept in it.

Whoever has it may do everything in that cloud, as the root of an AWS account may.
"""

from __future__ import annotations

import json
import os
import secrets
from dataclasses import dataclass, field
from pathlib import Path

_FILE = "credentials.json"
_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"


@dataclass(frozen=True)
class Credentials:
    """An access key."""

    access_key_id: str
    secret_access_key: str = field(repr=False)


def load(state: Path) -> Credentials:
    """The access key of the cloud in `state`.

    Raises:
        OSError: there is none yet.
        ValueError: the file is damaged.
    """
    try:
        return Credentials(**json.loads((state / _FILE).read_text()))
    except TypeError as error:
        raise ValueError(f"{state / _FILE} is damaged") from error


def make(state: Path) -> Credentials:
    """The access key of the cloud in `state`, made now if there is none. The caller holds the cloud's lock.

    Raises:
        OSError: it cannot be written.
        ValueError: the file is damaged.
    """
    try:
        return load(state)
    except FileNotFoundError:
        pass
    credentials = Credentials(
        "AKIA" + "".join(secrets.choice(_ALPHABET) for _ in range(16)), secrets.token_urlsafe(30)
    )
    partial = state / f"{_FILE}.partial"
    partial.unlink(missing_ok=True)
    # Nobody else on this machine may read it: with this key everything in the cloud can be run and read.
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        json.dump(
            {
                "access_key_id": credentials.access_key_id,
                "secret_access_key": credentials.secret_access_key,
            },
            file,
        )
    partial.replace(state / _FILE)
    return credentials
