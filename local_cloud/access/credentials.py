"""The developer's own access key: random, created once for each state folder, and stored in it.

It permits everything in that cloud, like the root user of an AWS account.
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
        OSError: it does not exist yet.
        ValueError: the file is damaged.
    """
    try:
        return Credentials(**json.loads((state / _FILE).read_text()))
    except TypeError as error:
        raise ValueError(f"{state / _FILE} is damaged") from error


def make(state: Path) -> Credentials:
    """The access key of the cloud in `state`, created now if it is missing. The caller holds the cloud's
    lock.

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
    # No other user of this machine may read it: the key permits running and reading everything in the cloud.
    write_private(state / _FILE, json.dumps(asdict(credentials)))
    return credentials
