"""Files that the user names, read and written as a whole."""

from __future__ import annotations

import os
from pathlib import Path

from scar_cli.errors import UserError


def read_file(path: str, what: str = "", limit: int = -1) -> bytes:
    """The content of a file, or its first `limit` bytes; errors name it with the word `what` before its path.

    Raises:
        UserError: it cannot be read.
    """
    try:
        with Path(path).open("rb") as file:
            return file.read(limit)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"{what}{path} cannot be read: {reason}", "Look at the path") from None


def write_file(path: str, content: bytes) -> None:
    """Write a file, over one that is there.

    Raises:
        UserError: it cannot be written.
    """
    try:
        Path(path).write_bytes(content)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"Cannot write {path}: {reason}", "Name another file") from None


def require_writable(output: str) -> None:
    """Called before anything runs: its output would be lost if that showed afterwards.

    Raises:
        UserError: there is no place for a file of that name.
    """
    path = Path(output)
    reason = None
    if path.is_dir():
        reason = "it is a folder"
    elif not path.parent.is_dir():
        reason = f"there is no folder {path.parent}"
    elif not os.access(path if path.exists() else path.parent, os.W_OK):
        reason = "permission denied"
    if reason is not None:
        raise UserError(f"{output} cannot be written: {reason}", "Name another file")
