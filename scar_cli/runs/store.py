"""All runs in a temporary file, so that memory does not grow with their number."""

from __future__ import annotations

import sqlite3
import struct
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from scar_cli.runs.model import STAGES, STATUSES, Run
from scar_cli.scratch import explained_disk, temporary_table

STATUS_NUMBERS = {status: number for number, status in enumerate(STATUSES)}
_DONE, _FAILED, _DUPLICATE = (STATUS_NUMBERS[status] for status in ("done", "failed", "duplicate"))
_SUBMITTED = STATUS_NUMBERS["submitted"]
_NO_ATTEMPTS = (STATUS_NUMBERS["delegated"], _SUBMITTED, _DUPLICATE)
"""Runs that leave the file to another run."""
_AT_ONCE = 5000
_CACHE_KIB = 64 * 1024
_PART = 1 << 20
"""Traces are random: their last 20 bits select a sample of inputs."""
_NUMBERS = struct.Struct(f"<{len(STAGES)}f4dHBB")
_PACKED = 13
"""Column of the numbers."""
_OUTPUT_FILES = len(STAGES) + 2
"""Index among the numbers."""
_TABLE = """
runs (
    id INTEGER PRIMARY KEY, function INTEGER, trace INTEGER, span INTEGER, parent INTEGER, file INTEGER,
    started REAL, ended REAL, status INTEGER, reason INTEGER, folder INTEGER, name TEXT, request TEXT,
    outputs TEXT, bytes INTEGER, numbers BLOB
)
"""
# Most files have one run, which is not copied. Sorting two columns of all runs takes a third of the time of
# sorting all columns.
_REPEATED = """
CREATE TABLE repeated AS
SELECT id, function, file, folder, status, reason, name, ended, bytes, outputs, numbers FROM runs
WHERE (function, file) IN (
    SELECT function, file FROM runs WHERE file IS NOT NULL GROUP BY file, function HAVING count(*) > 1
)
"""
# SQLite takes the other columns of a group from the row with the maximum. A duplicate does not decide about a
# file if there are other runs.
_FILES = f"""
CREATE TABLE files AS SELECT function, file, folder, status, reason, name,
    sum(status = {_FAILED}) AS failures,
    sum(status NOT IN {_NO_ATTEMPTS}) AS attempts, avg(bytes) AS bytes,
    max(ended + 1e15 * (status != {_DUPLICATE}))
FROM repeated GROUP BY function, file
"""  # noqa: S608 (only numbers are inserted)
_REPLACED = f"""
SELECT function, outputs, numbers FROM (
    SELECT function, outputs, numbers,
        row_number() OVER (PARTITION BY function, file ORDER BY ended DESC, id DESC) AS place
    FROM repeated WHERE status = {_DONE}
) WHERE place > 1
"""  # noqa: S608 (only numbers are inserted)
_WITH_FAILURES = f"trace IN (SELECT trace FROM runs WHERE status = {_FAILED})"  # noqa: S608
# A function in batch mode submits a job without reading the input, so it does not know the trace.
_JOIN_SUBMITTED = f"""
UPDATE runs SET trace = job.trace
FROM (
    SELECT function, file, min(trace) AS trace FROM runs
    WHERE status != {_SUBMITTED} AND file IS NOT NULL GROUP BY function, file
) AS job
WHERE status = {_SUBMITTED} AND runs.function = job.function AND runs.file = job.file
"""  # noqa: S608 (only a number is inserted)
_COLLECTED = f"""
DROP INDEX IF EXISTS by_trace;
CREATE INDEX by_trace ON runs (trace, started);
DROP TABLE IF EXISTS inputs;
CREATE TABLE inputs AS SELECT trace, min(started) AS first FROM runs GROUP BY trace ORDER BY first, trace;
DROP TABLE IF EXISTS repeated;
{_REPEATED};
DROP TABLE IF EXISTS files;
{_FILES};
"""  # noqa: S608 (only numbers are inserted)
_INSERT = "INSERT INTO runs VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"


Row = tuple[Any, ...]
"""A row of the table, as `Columns` reads it."""
TRACE = 2


class Columns(NamedTuple):
    """What charts show of some runs, column by column."""

    id: Sequence[int]
    function: Sequence[int]
    trace: Sequence[int]
    span: Sequence[int | None]
    parent: Sequence[int | None]
    started_ms: Sequence[float]
    ended_ms: Sequence[float]
    status: Sequence[int]
    reason: Sequence[int]
    folder: Sequence[int]
    name: Sequence[str]
    request: Sequence[str | None]
    outputs: Sequence[str]
    """URIs, one a line."""
    stages: Sequence[Sequence[float]]
    input_bytes: Sequence[float]
    output_bytes: Sequence[float]
    output_files: Sequence[float]
    memory_bytes: Sequence[float]
    attempt: Sequence[int]
    cold: Sequence[int]
    in_batch: Sequence[int]

    @classmethod
    def of(cls, rows: Sequence[Row]) -> Columns:
        """Of some rows, at least one."""
        plain = list(zip(*rows, strict=True))
        numbers = list(zip(*map(_NUMBERS.unpack, plain[_PACKED]), strict=True))
        return cls._make((*plain[:_PACKED], numbers[: len(STAGES)], *numbers[len(STAGES) :]))


class Sample(NamedTuple):
    """Selects inputs: a share of all, a share of those with failed runs, and those of some runs."""

    share: float
    share_of_failed: float
    runs: tuple[int, ...]


class Files(NamedTuple):
    """Number of files of a function and an input folder with the same result."""

    function: int
    folder: int
    status: int
    """Of the latest run."""
    files: int
    recovered: int
    """Those among them with a failed run before."""
    bytes: float


@dataclass
class RunStore:
    """Runs, numbered from 1."""

    count: int = 0
    _rows: list[tuple[Any, ...]] = field(default_factory=list)
    _has_submitted: bool = False
    _of_files: Counter[tuple[int, int, int]] = field(default_factory=Counter)
    """Number of the runs that process a file, by function, folder and status."""
    _bytes: Counter[tuple[int, int, int]] = field(default_factory=Counter)
    """The same for the bytes of their inputs."""
    _collected: int = -1
    """Number of runs when inputs and files were last collected."""
    _database: sqlite3.Connection = field(init=False)

    def __post_init__(self) -> None:
        self._database = temporary_table(_TABLE, "")
        self._database.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")

    def add(
        self, run: Run, function: int, stages: tuple[float, ...], *, reason: int, place: tuple[int, str]
    ) -> int:
        """Store a run, with the number of its reason, and with folder and name of its input.

        Returns the number of the run.

        Raises:
            UserError: the disk is full.
        """
        self.count += 1
        is_uri = "://" in run.subject
        file: int | None = hash(run.subject) if is_uri else hash((run.request_id, run.trace))
        if run.status == "node done" or (run.status == "submitted" and not is_uri):
            file = None  # a job for several files
        trace = _signed(run.trace)
        status = STATUS_NUMBERS[run.status]
        if file is not None:
            self._of_files[function, place[0], status] += 1
            self._bytes[function, place[0], status] += run.input_bytes or 0
        self._has_submitted |= run.status == "submitted" and file is not None
        self._rows.append(
            (
                self.count,
                function,
                hash((function, file)) if trace is None else trace,
                _signed(run.span),
                _signed(run.parent),
                file,
                run.started_ms,
                run.ended_ms,
                status,
                reason,
                place[0],
                _one_line(place[1]),
                run.request_id,
                "\n".join(run.outputs),
                run.input_bytes,
                _NUMBERS.pack(
                    *stages,
                    run.input_bytes or 0,
                    run.output_bytes or 0,
                    run.output_files or 0,
                    run.memory_used_bytes or 0,
                    min(run.attempt or 0, 0xFFFF),
                    run.cold is True,
                    run.mode == "batch",
                ),
            )
        )
        if len(self._rows) >= _AT_ONCE:
            self._write()
        return self.count

    def inputs(self) -> int:
        """Number of inputs of the workflow: of traces."""
        return int(self._query("SELECT count(*) FROM inputs").fetchone()[0])

    def files(self) -> Iterator[Files]:
        """The files of each function by the result of their latest run."""
        yield from self._with_one_run()
        for row in self._query(
            f"SELECT function, folder, status, count(*), sum(failures > (status = {_FAILED})), total(bytes) "  # noqa: S608
            "FROM files GROUP BY function, folder, status"
        ):
            yield Files(*row)

    def attempts(self, most: int) -> Iterator[tuple[int, int, int]]:
        """Function, number of attempts, and number of files that took them, which may come in several parts;
        `most` includes all above it."""
        for one in self._with_one_run():
            if one.status not in _NO_ATTEMPTS:
                yield one.function, 1, one.files
        found = self._query(
            f"SELECT function, min(attempts, {most}) AS n, count(*) FROM files "  # noqa: S608
            "WHERE attempts > 0 GROUP BY function, n"
        )
        yield from found

    def failed_files(self) -> Iterator[tuple[int, int, str]]:
        """Reason, folder and name of each file whose latest run failed, sorted."""
        found = self._query(
            f"SELECT reason, folder, name FROM files WHERE status = {_FAILED} "  # noqa: S608
            f"UNION ALL SELECT reason, folder, name FROM runs WHERE status = {_FAILED} "
            "AND file IS NOT NULL AND (function, file) NOT IN (SELECT function, file FROM files) "
            "ORDER BY reason, folder, name"
        )
        yield from found

    def replaced(self) -> Iterator[tuple[int, Sequence[str], int]]:
        """Runs that processed a file which a later run of the same function processed again: the function,
        the known URIs of outputs, and the number of outputs."""
        for function, outputs, numbers in self._query(_REPLACED):
            yield (
                function,
                outputs.split("\n") if outputs else (),
                int(_NUMBERS.unpack(numbers)[_OUTPUT_FILES]),
            )

    def runs_with_failures(self) -> int:
        """Number of runs of inputs of which a run failed."""
        return int(self._query(f"SELECT count(*) FROM runs WHERE {_WITH_FAILURES}").fetchone()[0])  # noqa: S608

    def rows(self, sample: Sample | None = None, *, has_requests: bool = True) -> Iterator[Row]:
        """The runs of all inputs, or of a sample of them. Inputs are sorted by the start of their first run,
        and the runs of an input by start. Without `has_requests`, the ids of requests are null.
        """
        columns = "id, function, runs.trace, span, parent, started, ended, status, reason, folder, name"
        request = "request" if has_requests else "NULL"
        where = ""
        if sample is not None:
            chosen = ", ".join(map(str, sample.runs))
            where = (
                f"WHERE trace & {_PART - 1} < {int(sample.share * _PART)} "  # noqa: S608
                f"OR trace IN (SELECT trace FROM runs WHERE id IN ({chosen})) "
                f"OR (trace & {_PART - 1} < {int(sample.share_of_failed * _PART)} AND {_WITH_FAILURES})"
            )
        # Sorting the inputs instead of all runs takes a third of the time.
        found = self._query(
            f"SELECT {columns}, {request}, outputs, numbers "  # noqa: S608
            f"FROM (SELECT rowid AS place, trace FROM inputs {where}) AS chosen "
            "CROSS JOIN runs ON runs.trace = chosen.trace ORDER BY place, started, id"
        )
        yield from found

    def close(self) -> None:
        """Delete the temporary file."""
        self._database.close()

    def _with_one_run(self) -> Iterator[Files]:
        """The files that one run has processed."""
        runs, sizes = Counter(self._of_files), Counter(self._bytes)
        for *key, count, size in self._query(
            "SELECT function, folder, status, count(*), sum(ifnull(bytes, 0)) FROM repeated "
            "GROUP BY function, folder, status"
        ):
            runs[tuple(key)] -= count
            sizes[tuple(key)] -= size
        for (function, folder, status), count in runs.items():
            if count:
                yield Files(function, folder, status, count, 0, sizes[function, folder, status])

    def _query(self, query: str) -> sqlite3.Cursor:
        with explained_disk():
            self._write()
            if self._collected < self.count:
                if self._has_submitted:
                    self._database.execute(_JOIN_SUBMITTED)
                self._database.executescript(_COLLECTED)
                self._collected = self.count
            return self._database.execute(query)

    def _write(self) -> None:
        if self._rows:
            with explained_disk():
                self._database.executemany(_INSERT, self._rows)
            self._rows.clear()


def _signed(digits: str | None) -> int | None:
    """The first 64 bits of a hexadecimal number, as SQLite stores them."""
    if not digits:
        return None
    try:
        number = int(digits[:16], 16)
    except ValueError:
        return None
    return number - (1 << 64) if number >> 63 else number


def _one_line(name: str) -> str:
    """The runner escapes control characters in names; an old one may not."""
    return name if name.isprintable() else name.replace("\n", "\\n").replace("\t", "\\t")
