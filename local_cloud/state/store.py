"""What must not be lost, in one SQLite database: `state.db` in the state folder.

- Snapshots of the emulator's services (`saving.py`), committed in one transaction shortly after a change.
- Frequently changing data, one entry each, committed before any answer: asynchronous events, Batch jobs,
  messages of queues, items of DynamoDB tables, log lines.

The latter are changed inside of `transaction`, which holds the cloud's only lock and commits at its end: one
transaction removes a failed event from Lambda's queue and puts its record into the failure queue.

A commit is a `write` to the write-ahead log, without an `fsync` (`synchronous=NORMAL`): `kill -9` loses
nothing. A power failure may lose changes after the last checkpoint, but never damages the database or splits
a transaction ("PRAGMA synchronous" in SQLite's documentation). An `fsync` for each commit would limit the
cloud to a few hundred events a second.
"""

from __future__ import annotations

import contextvars
import itertools
import logging
import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

NAME = "state.db"
_WAL_LIMIT = 16_000_000
"""Bytes that the write-ahead log is truncated to after a complete checkpoint."""
_PUT = (
    "INSERT INTO item (kind, key, value) VALUES (?, ?, ?) "
    "ON CONFLICT (kind, key) DO UPDATE SET value = excluded.value"
)
_REMOVE = "DELETE FROM item WHERE kind = ? AND key = ?"
_REMOVE_BELOW = "DELETE FROM item WHERE kind = ? AND key >= ? AND key < ?"
_log = logging.getLogger("store")

not_saved: contextvars.ContextVar[list[str] | None] = contextvars.ContextVar("not_saved", default=None)
"""Of the request that is being served: why something that it caused could not be written to disk."""


class Store:
    """The database. All methods may be called from any thread."""

    def __init__(self, path: Path) -> None:
        """Open or create the database.

        Raises:
            sqlite3.Error: it is damaged, or cannot be written.
        """
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        self._path = path
        self.lock = threading.RLock()
        """The lock for all data in the store. Code that waits for something else must not hold it."""
        self._depth = 0
        self._owed: list[tuple[str, tuple[str, ...]]] = []
        self._sequence = itertools.count()
        self._database: sqlite3.Connection | None = self._connect()
        self._database.execute(
            "CREATE TABLE IF NOT EXISTS item "
            "(kind TEXT NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY (kind, key))"
        )

    def new_key(self) -> str:
        """A key that no item has had before; later ones sort behind earlier ones."""
        return f"{time.time_ns():020d}-{next(self._sequence)}"

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Hold the lock, and commit all changes together at the end of the outermost transaction.

        Nothing is raised if the disk is full: `not_saved` contains the error, and the changes are written
        with the next ones. The data in memory has already changed, and memory and disk must not diverge.
        """
        with self.lock:
            self._depth += 1
            try:
                yield
            finally:
                self._depth -= 1
                if self._depth == 0 and self._owed:
                    self._commit()

    def put(self, kind: str, key: str, value: str) -> None:
        """Store a value under a key, or change it; a changed item keeps its place in the order."""
        self._change(_PUT, kind, key, value)

    def remove(self, kind: str, key: str) -> None:
        """Forget an item."""
        self._change(_REMOVE, kind, key)

    def remove_below(self, kind: str, prefix: str) -> None:
        """Forget all items whose keys begin so."""
        self._change(_REMOVE_BELOW, kind, prefix, prefix + "\U0010ffff")

    def clear(self) -> None:
        """Forget everything."""
        self._change("DELETE FROM item")

    def items(self, kind: str) -> list[tuple[str, str]]:
        """Keys and values of a kind, in insertion order."""
        with self.lock:
            if self._database is None:
                return []
            return self._database.execute(
                "SELECT key, value FROM item WHERE kind = ? ORDER BY rowid", (kind,)
            ).fetchall()

    @property
    def owes(self) -> bool:
        """Whether changes did not fit on the disk."""
        return bool(self._owed)

    def checkpoint(self) -> None:
        """Checkpoint the write-ahead log into the database, which may take a while, because it waits for the
        disk.

        Most of it happens without the lock, on a connection of its own.
        """
        with suppress(sqlite3.Error):
            database = self._connect()
            try:
                database.execute("PRAGMA wal_checkpoint(PASSIVE)")
                with self.lock:  # changes in the meantime; without this, the log would grow under steady load
                    database.execute("PRAGMA wal_checkpoint(PASSIVE)")
            finally:
                database.close()

    def close(self) -> None:
        """Write the pending changes; later changes are not written."""
        with self.transaction():
            pass
        with self.lock:
            if self._database is not None:
                self._database.close()
                self._database = None

    def _connect(self) -> sqlite3.Connection:
        database = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False)
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = NORMAL")
        # Never in the middle of a request: `checkpoint` does it.
        database.execute("PRAGMA wal_autocheckpoint = 0")
        database.execute(f"PRAGMA journal_size_limit = {_WAL_LIMIT}")
        return database

    def _change(self, statement: str, *arguments: str) -> None:
        with self.transaction():
            self._owed.append((statement, arguments))

    def _commit(self) -> None:
        if self._database is None:
            return
        try:
            self._database.execute("BEGIN IMMEDIATE")
            for statement, arguments in self._owed:
                self._database.execute(statement, arguments)
            self._database.execute("COMMIT")
        except sqlite3.Error as error:
            with suppress(sqlite3.Error):
                self._database.execute("ROLLBACK")
            _log.warning("the state could not be saved, and is kept in memory for now: %s", error)
            if (failed := not_saved.get()) is not None:
                failed.append(str(error))
        else:
            self._owed.clear()
