"""The developer's own access key: random, made once for each state folder, and kept in it.

Whoever has it may do everything in that cloud, as the root of an AWS account may.
"""

from __future__ import annotations

import json
import secrets
from dataclasses import asdict, dataclass, field
from pathlib import Path

from local_cloud.state.privacy import write_private

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
    # Nobody else on this machine may read it: with this key everything in the cloud can be run and read.
    write_private(state / _FILE, json.dumps(asdict(credentials)))
    return credentials
