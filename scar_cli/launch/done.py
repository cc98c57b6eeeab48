"""Files that are done: before a launch (`--skip-done`), and after it (`--wait`).

Before a launch, a file is done if it has an output that is not older than itself. An output belongs to an
input if its name starts with the *stem* of the input (its name without the last extension), followed by
nothing or by a character that is neither a letter nor a digit: `photo.png`, `photo.jpg.json`,
`photo-small.jpg`, `photo_001.png` and all files in a folder `photo/` belong to `photo.jpg`; `photo2.png` does
not. If an output fits several inputs, it belongs to the one with the longest stem.

Inputs and outputs are listed in different orders. The state is kept in temporary tables on disk, so that
memory use does not grow with the number of files.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Any

from fdl_schemas.model import StorageEntry
from scar_cli.launch.files import (
    InputFile,
    Listing,
    Selection,
    Source,
    fits,
    milliseconds,
    objects,
    sources_of,
)
from scar_cli.scratch import explained_disk, temporary_table

_CHANGES = re.compile(r"[\W_]")


def not_done(
    pages: Iterable[list[InputFile]], listing: Listing, outputs: Iterable[StorageEntry]
) -> Iterator[list[InputFile]]:
    """The pages of a listing without the files that are done, which are counted in the listing.

    All inputs and outputs of the function are listed before the first page is returned.

    Raises:
        UserError: they cannot be listed, or the disk is full.
    """
    inputs = listing.selection.entries
    everything = Listing(listing.s3, Selection(sources_of(inputs), inputs))
    with explained_disk():
        done = Done.of(chain.from_iterable(everything.pages()))
        for one in outputs:
            folder = Source(one.bucket, one.key_prefix)
            done.add_outputs(objects(listing.s3, folder), folder, inputs)
    for page in pages:
        left = [file for file in page if not done.has(file)]
        listing.left_out.done += len(page) - len(left)
        yield left


class Done:
    """The stems of the inputs, and the time of the newest output of each."""

    def __init__(self, table: sqlite3.Connection) -> None:
        self._table = table

    @classmethod
    def of(cls, inputs: Iterable[InputFile]) -> Done:
        """For all inputs of the function, selected for the launch or not; without outputs at first."""
        table = temporary_table("made (stem TEXT PRIMARY KEY, at_ms INTEGER)")
        table.executemany(
            "INSERT OR IGNORE INTO made VALUES (?, -1)", ((stem_of(file.key),) for file in inputs)
        )
        return cls(table)

    def add_output(self, below: str, modified_ms: int) -> None:
        """Record an output; `below` is its key below the output folder."""
        first, _slash, rest = below.partition("/")
        for name in {first, rest.rpartition("/")[2]} if rest else {first}:
            for stem in _stems(name):
                changed = self._table.execute(
                    "UPDATE made SET at_ms = max(at_ms, ?) WHERE stem = ?", (modified_ms, stem)
                )
                if changed.rowcount:
                    break

    def has(self, file: InputFile) -> bool:
        """Whether the input has an output that is not older than itself."""
        row = self._table.execute("SELECT at_ms FROM made WHERE stem = ?", (stem_of(file.key),)).fetchone()
        return row is not None and row[0] >= file.modified_ms

    def add_outputs(
        self, pages: Iterable[list[dict[str, Any]]], folder: Source, inputs: Iterable[StorageEntry]
    ) -> None:
        """Record all objects of an output folder, except those that are `inputs` themselves."""
        for page in pages:
            for found in page:
                key = found["Key"]
                is_input = any(one.bucket == folder.bucket and fits(one, key) for one in inputs)
                if not key.endswith("/") and not is_input:
                    self.add_output(key.removeprefix(folder.prefix), milliseconds(found["LastModified"]))


def stem_of(key: str) -> str:
    """The name of a file without its last extension."""
    name = key.rpartition("/")[2]
    return name.rpartition(".")[0] or name


def _stems(name: str) -> Iterator[str]:
    """Stems of inputs that may have an output of this name, longest first."""
    yield name
    for change in reversed(list(_CHANGES.finditer(name))):
        if change.start():
            yield name[: change.start()]


@dataclass(frozen=True)
class Count:
    """Number of files by state."""

    all: int
    done: int
    failed: int

    @property
    def left(self) -> int:
        """Files that are neither done nor failed yet."""
        return self.all - self.done - self.failed


class FileStates:
    """The state of each file of a launch, in a temporary table: memory does not grow with the files."""

    def __init__(self, table: sqlite3.Connection) -> None:
        self._table = table

    @classmethod
    def of(cls, files: Iterable[tuple[str, str]]) -> FileStates:
        """For sent files, given by bucket and key."""
        table = temporary_table("files (subject TEXT PRIMARY KEY, key TEXT, state TEXT, reason TEXT)")
        table.executemany(
            "INSERT OR IGNORE INTO files VALUES (?, ?, 'sent', NULL)",
            ((subject_of(bucket, key), f"{bucket}/{key}") for bucket, key in files),
        )
        return cls(table)

    def count(self) -> Count:
        """Number of files by state."""
        found = dict(self._table.execute("SELECT state, count(*) FROM files GROUP BY state"))
        return Count(sum(found.values()), found.get("done", 0), found.get("failed", 0))

    def failures(self) -> Iterator[tuple[str, str]]:
        """`bucket/key` and reason of each file that failed, in the order of the keys."""
        yield from self._table.execute(
            "SELECT key, coalesce(reason, 'see its log') FROM files WHERE state = 'failed' ORDER BY key"
        )

    def set(self, subject: str, state: str, reason: str | None = None) -> None:
        """Record that a file is `done` or `failed`; one that is done stays done."""
        self._table.execute(
            "UPDATE files SET state = ?, reason = coalesce(reason, ?) WHERE subject = ? AND state != 'done'",
            (state, reason, subject),
        )

    def note_reason(self, subject: str, reason: str) -> None:
        """Record why a run failed that may be retried."""
        self._table.execute(
            "UPDATE files SET reason = ? WHERE subject = ? AND state = 'sent'", (reason, subject)
        )


def subject_of(bucket: str, key: str) -> str:
    """A file as it is named in the log of the runner."""
    uri = f"s3://{bucket}/{key}"
    return uri if uri.isprintable() else ascii(uri)[1:-1]
