"""No other user of the machine may read a cloud's state: it contains files, secrets, keys of functions, and
logs.

Each entry of the state folder is closed separately, so that files below it can have any mode: code of
functions must be readable for the users of their containers, which receive it by a bind mount.
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path

_FOLDERS = ("ecr", "s3", "services", "tmp")
"""Created here, because the emulator creates them readable for everyone."""
_OTHERS = stat.S_IRWXG | stat.S_IRWXO


def make_private(state: Path) -> None:
    """Close an existing state folder, and everything in it, to other users.

    A folder that was open to others (of an earlier version, or created manually) is closed down to its last
    file, because a link or an open descriptor may point to it. Raises OSError: the folder belongs to another
    user.
    """
    was_open = state.stat().st_mode & _OTHERS
    if was_open:
        for folder, _, files in os.walk(state):
            for path in (folder, *(os.path.join(folder, name) for name in files)):  # noqa: PTH118 (many)
                if path != os.fspath(state):
                    _close(path)
    for name in _FOLDERS:
        (state / name).mkdir(mode=0o700, exist_ok=True)
    for entry in os.scandir(state):
        _close(entry.path)
    state.chmod(0o700)  # last: if interrupted before, everything is done again


def write_private(path: Path, text: str) -> None:
    """Write a file that no other user of this machine may read, completely or not at all. Raises OSError."""
    partial = path.with_name(f"{path.name}.partial")
    partial.unlink(missing_ok=True)
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
    partial.replace(path)


def _close(path: str) -> None:
    with suppress(FileNotFoundError):
        mode = os.lstat(path).st_mode
        if mode & _OTHERS and (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):  # never through a link
            os.chmod(path, stat.S_IMODE(mode) & ~_OTHERS, follow_symlinks=True)  # noqa: PTH101
