"""Input files with the same name in different folders.

Most scripts name their outputs after the input file, so the outputs of two such files have the same key, and
one replaces the other.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from contextlib import suppress

from scar_cli.scratch import temporary_table
from scar_cli.table import printable

FOLDER_VARIABLE = "SCAR_INPUT_FOLDER"
"""The variable of a script by which it can keep such outputs apart, see docs/scripts.md."""


class SameNames:
    """The names of files so far, in a temporary table: memory does not grow with the files."""

    def __init__(self) -> None:
        self._table = temporary_table("names (name TEXT PRIMARY KEY, key TEXT)")

    def first_pair(self, keys: Iterable[str]) -> tuple[str, str] | None:
        """Add keys; returns the first two keys that end in the same name."""
        with suppress(sqlite3.OperationalError):  # a full disk: a warning is not worth an error
            for key in keys:
                name = key.rpartition("/")[2]
                added = self._table.execute("INSERT OR IGNORE INTO names VALUES (?, ?)", (name, key))
                if not added.rowcount:
                    (other,) = self._table.execute("SELECT key FROM names WHERE name = ?", (name,)).fetchone()
                    if other != key:
                        return str(other), key
        return None


def same_names_warning(pair: tuple[str, str], function: str) -> str:
    """What may happen to two files of one name, and the remedy."""
    first, second = (printable(key) for key in pair)
    return (
        f"{first} and {second} have the same name. If {function} names its outputs after the input file, one "
        f"output replaces the other. To keep both, use ${FOLDER_VARIABLE} in the script (docs/scripts.md)."
    )
