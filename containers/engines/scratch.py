"""A private folder for one run, which is removed afterwards, even if the run is killed.

Each folder has a lock file that its owner holds. A folder whose lock is free is abandoned, and the next run
removes it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import time
from collections.abc import Iterator
from pathlib import Path

from containers.errors import store_unusable
from containers.removal import remove_tree

_STARTING_S = 60.0


@contextlib.contextmanager
def scratch_folder(store: Path) -> Iterator[Path]:
    """A new, empty folder under `store` until the end of the block."""
    base = store / "scratch"
    try:
        base.mkdir(mode=0o700, parents=True, exist_ok=True)
        if base.stat().st_uid == os.geteuid():
            base.chmod(0o700)  # an existing folder may be open to others
        _remove_orphans(base)
        name = secrets.token_hex(6)
        lock = base / f"{name}.lock"
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise store_unusable(f"the folder {base} cannot be used", error) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        folder = base / name
        folder.mkdir(mode=0o700)
        yield folder
    finally:
        remove_tree(base / name)
        lock.unlink(missing_ok=True)
        os.close(descriptor)


def _remove_orphans(base: Path) -> None:
    for lock in base.glob("*.lock"):
        with contextlib.suppress(OSError):
            descriptor = os.open(lock, os.O_RDWR | os.O_CLOEXEC)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                # Between its creation and its lock a file looks orphaned: give a starting run the time to
                # lock it.
                status = os.fstat(descriptor)
                if status.st_nlink and time.time() - status.st_mtime > _STARTING_S:
                    remove_tree(lock.with_suffix(""))
                    lock.unlink(missing_ok=True)
            finally:
                os.close(descriptor)
