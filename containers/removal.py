"""Removes folders with untrusted content, of any depth and with any permissions, and never anything
outside."""

# ruff: noqa: PTH101, PTH104, PTH106, PTH108
# There may be tens of thousands of files, and their names need not be text.

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
from pathlib import Path


def remove_tree(folder: Path) -> None:
    """Remove a folder and its content, as far as this user may. What cannot be removed remains.

    Symlinks are removed, not followed, and mounts are skipped. A container can nest folders so deep that
    neither Python's stack nor a path (4096 bytes) reaches the last one, so each is moved to the top before it
    is emptied.
    """
    top = os.fsencode(folder)
    try:
        if not stat.S_ISDIR(os.lstat(top).st_mode):
            return
    except OSError:
        return
    prefix = os.path.join(top, b".removed-" + secrets.token_hex(8).encode())  # noqa: PTH118 - bytes
    folders = [top]
    for current in folders:  # grows on the way
        _open_up(current)
        with contextlib.suppress(OSError), os.scandir(current) as entries:
            for entry in list(entries):
                with contextlib.suppress(OSError):
                    if not entry.is_dir(follow_symlinks=False):
                        os.unlink(entry.path)
                    elif current == top:
                        folders.append(entry.path)
                    else:
                        folders.append(_moved(entry.path, b"%b-%d" % (prefix, len(folders))))
    for current in reversed(folders):
        with contextlib.suppress(OSError):
            os.rmdir(current)


def _moved(path: bytes, target: bytes) -> bytes:
    """Where the folder is now."""
    _open_up(path)  # its owner must be able to write to it: its `..` changes
    try:
        os.rename(path, target)
    except OSError as error:
        if error.errno != errno.EXDEV:  # as overlayfs answers for folders of its lower layers
            raise
        return path
    return target


def _open_up(path: bytes) -> None:
    """The owner of a folder may have removed the permission to empty it."""
    if os.geteuid() != 0:
        with contextlib.suppress(OSError):
            os.chmod(path, 0o700)
