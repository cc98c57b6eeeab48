"""The runs of one launch of `scar-launch`: those of its files, and those that descend from them."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from scar_cli.errors import UserError
from scar_cli.launch.done import subject_of
from scar_cli.launch.journal import accepted_files, head_of
from scar_cli.runs.model import Run
from scar_cli.scratch import explained_disk, temporary_table


@dataclass
class Launched:
    """Selects the runs of a launch. The runs of the launched function must come first."""

    journal: Path
    function: str
    """Name of the deployed function."""
    since_ms: int
    accepted: int
    """Number of files."""
    _files: sqlite3.Connection
    _traces: set[int] = field(default_factory=set)

    @classmethod
    def of(cls, journal: Path) -> Launched:
        """
        Raises:
            UserError: the file is not a journal, or the disk is full.
        """
        from fdl_schemas.stages import staged

        head: dict[str, Any] = head_of(journal)
        files = temporary_table("files (subject TEXT PRIMARY KEY)")
        try:
            buckets = [str(bucket) for bucket, _prefix in head["sources"]]
            name, since_ms = staged(str(head["function"]), head["options"]["stage"]), int(head["since_ms"])
            subjects = ((subject_of(buckets[source], key),) for source, key in accepted_files(journal))
            with explained_disk():
                files.executemany("INSERT OR IGNORE INTO files VALUES (?)", subjects)
        except (ValueError, KeyError, TypeError, IndexError, RecursionError):
            raise UserError(
                f"The journal {journal} is damaged", "To report the same period without it, use --since"
            ) from None
        (accepted,) = files.execute("SELECT count(*) FROM files").fetchone()
        return cls(journal, name, since_ms, accepted, files)

    def of_launch(self, runs: Iterable[Run]) -> Iterator[Run]:
        """The runs among these that belong to the launch."""
        for run in runs:
            trace = int(run.trace[-16:], 16) if run.trace else None
            if run.function == self.function:
                is_own = self._files.execute(
                    "SELECT 1 FROM files WHERE subject = ?", (run.subject,)
                ).fetchone()
                if is_own is None:
                    continue
                if trace is not None:
                    self._traces.add(trace)
            elif trace is None or trace not in self._traces:
                continue
            yield run

    def as_json(self) -> dict[str, Any]:
        """For the document."""
        return {"journal": str(self.journal), "function": self.function, "accepted": self.accepted}
