"""Reading and writing files that the user names."""

from __future__ import annotations

import os
from pathlib import Path

from scar_cli.errors import UserError


def read_file(path: str, what: str = "", limit: int = -1) -> bytes:
    """The content of a file, or its first `limit` bytes. In errors, `what` precedes its path.

    Raises:
        UserError: it cannot be read.
    """
    try:
        with Path(path).open("rb") as file:
            return file.read(limit)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"{what}{path} cannot be read: {reason}", "Check the path") from None


def write_file(path: str, content: bytes) -> None:
    """Write a file, and replace an existing one.

    Raises:
        UserError: it cannot be written.
    """
    try:
        Path(path).write_bytes(content)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"Cannot write {path}: {reason}", "Use another path") from None


def require_writable(output: str) -> None:
    """Check a path before anything runs, so that no output is lost.

    Raises:
        UserError: the file cannot be written.
    """
    path = Path(output)
    reason = None
    if path.is_dir():
        reason = "it is a folder"
    elif not path.parent.is_dir():
        reason = f"the folder {path.parent} does not exist"
    elif not os.access(path if path.exists() else path.parent, os.W_OK):
        reason = "permission denied"
    if reason is not None:
        raise UserError(f"{output} cannot be written: {reason}", "Use another path")
