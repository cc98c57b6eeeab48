"""Temporary databases, so that memory use does not grow with the number of files or runs."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from scar_cli.errors import UserError


@contextmanager
def explained_disk() -> Iterator[None]:
    """Turn errors of SQLite about its temporary file into a UserError."""
    try:
        yield
    except sqlite3.OperationalError as error:
        raise UserError(
            f"A temporary file cannot be written: {error}",
            "Free some space, or set SQLITE_TMPDIR to a folder with free space",
            exit_code=1,
        ) from error


def temporary_table(columns: str, options: str = "WITHOUT ROWID") -> sqlite3.Connection:
    """A database with one table, in a temporary file that is deleted when the connection is closed.

    `columns` is the name of the table with its columns, one of them the primary key.
    """
    database = sqlite3.connect("")
    database.execute("PRAGMA journal_mode = OFF")  # nothing is ever rolled back
    database.execute(f"CREATE TABLE {columns} {options}")
    return database
