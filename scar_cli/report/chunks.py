"""Individual runs in the document: compressed columns, of which the page unpacks only what it shows.

The runs of an input are in adjacent rows, so that a reader can follow the input from row to row. Most outputs
are named after their input, so in the names of the other rows, `STEM` stands for the stem of the first name.
Numbers of large reports are rounded. If a report would become too large, it contains a sample of the inputs:
the slowest ones, as many as possible of those with a failed run, and some of the others.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from scar_cli.report.packing import packed_json, packed_text
from scar_cli.runs.folders import Folders
from scar_cli.runs.model import STAGES
from scar_cli.runs.store import RunStore, Sample, StoredRun

STEM = "\x01"
_ROWS = 4096
_MOST_ROWS = 4 * _ROWS
"""Of one chunk. An input with more runs is in several chunks."""
_ALL_SHOWN = 20_000
"""Up to this number of runs, numbers are exact, and the report has the ids of requests."""
_BUDGET = 15 * 1024**2
"""Bytes of all chunks."""
_DIGITS = 2
_RESULTS = 3
"""Outputs that are named, of a run that no other run continues."""
_MIB = 1024**2


@dataclass
class Chunks:
    """The runs of the document."""

    kept: int
    of: int
    rounded: int
    """Significant digits of numbers; 0: exact."""
    chunks: list[dict[str, Any]] = field(default_factory=list)
    places: dict[int, tuple[int, int]] = field(default_factory=dict)
    """Chunk and row of the runs that were asked for, by their number."""

    def as_json(self) -> dict[str, Any]:
        """For the document."""
        return {"kept": self.kept, "of": self.of, "rounded": self.rounded, "chunks": self.chunks}


class _TooLargeError(Exception):
    """The chunks exceed the budget; how many rows fit."""

    def __init__(self, rows: int) -> None:
        super().__init__(rows)
        self.rows = rows


def chunks_of(store: RunStore, folders: Folders, wanted: Iterable[int], budget: int = _BUDGET) -> Chunks:
    """All runs, or a sample of the inputs that fits into the budget and contains the `wanted` runs."""
    numbers = frozenset(wanted)
    sample: Sample | None = None
    fitting = store.count
    while True:
        try:
            return _chunks(store, folders, numbers, sample, budget)
        except _TooLargeError as error:
            # The sizes of the first chunks are only an estimate for all of them.
            fitting = int(min(error.rows, fitting * 0.9) * (0.95 if sample is None else 1))
            failed = store.runs_with_failures()
            share_of_failed = min(1.0, fitting / 2 / failed) if failed else 0.0
            others = max(1, store.count - failed)
            share = min(1.0, max(0.0, fitting - share_of_failed * failed) / others)
            sample = Sample(share, share_of_failed, tuple(sorted(numbers)))


def _chunks(
    store: RunStore, folders: Folders, wanted: frozenset[int], sample: Sample | None, budget: int
) -> Chunks:
    exact = store.count <= _ALL_SHOWN
    found = Chunks(0, store.count, 0 if exact else _DIGITS)
    used = 0
    for rows, firsts in _grouped(store.rows(sample)):
        chunk = _chunk(rows, firsts, folders, exact=exact)
        used += len(chunk["numbers"]) + len(chunk["names"])
        if used > budget and found.kept:
            raise _TooLargeError(found.kept)
        for row, run in enumerate(rows):
            if run.id in wanted:
                found.places[run.id] = (len(found.chunks), row)
        found.kept += len(rows)
        found.chunks.append(chunk)
    return found


def _grouped(runs: Iterator[StoredRun]) -> Iterator[tuple[list[StoredRun], list[int]]]:
    """Rows of chunks, and the numbers of the rows with which an input begins."""
    rows: list[StoredRun] = []
    firsts: list[int] = []
    trace: int | None = None
    for run in runs:
        if run.trace != trace or not rows or len(rows) >= _MOST_ROWS:
            if len(rows) >= _ROWS:
                yield rows, firsts
                rows, firsts = [], []
            firsts.append(len(rows))
            trace = run.trace
        rows.append(run)
    if rows:
        yield rows, firsts


def _chunk(rows: list[StoredRun], firsts: list[int], folders: Folders, *, exact: bool) -> dict[str, Any]:
    start = round(min(run.started_ms for run in rows))
    starts = [start, *(round(run.started_ms) for run in rows)]
    rounded = _exact if exact else _rounded
    columns: dict[str, list[Any]] = {
        "function": [run.function for run in rows],
        "status": [run.status for run in rows],
        "batch": [int(run.in_batch) for run in rows],
        "cold": [int(run.cold) for run in rows],
        "attempt": [run.attempt for run in rows],
        "start": [later - earlier for earlier, later in pairwise(starts)],
        "input_bytes": [rounded(run.input_bytes) for run in rows],
        "output_bytes": [rounded(run.output_bytes) for run in rows],
        "output_files": [rounded(run.output_files) for run in rows],
        "memory_mib": [rounded(run.memory_bytes / _MIB) for run in rows],
        "reason": [run.reason for run in rows],
        "folder": [run.folder for run in rows],
    }
    for index, stage in enumerate(STAGES):
        columns[stage] = [rounded(run.stages[index]) for run in rows]
    columns["parent"], columns["first"], names = _lineage(rows, firsts, folders)
    if exact:
        columns["request"] = [run.request for run in rows]
    return {
        "start_ms": start,
        "end_ms": round(max(run.ended_ms for run in rows)),
        "rows": len(rows),
        "numbers": packed_json({name: column for name, column in columns.items() if any(column)}),
        "names": packed_text("\n".join(names)),
    }


def _lineage(
    rows: list[StoredRun], firsts: list[int], folders: Folders
) -> tuple[list[int], list[int], list[str]]:
    """How many rows above each row is its parent, whether an input begins with it, and its line of names."""
    parents: list[int] = []
    begins = [0] * len(rows)
    names: list[str] = []
    for first, end in pairwise([*firsts, len(rows)]):
        begins[first] = 1
        row_of_span: dict[int, int] = {}
        continued = set()
        for number in range(first, end):
            run = rows[number]
            parent = row_of_span.get(run.parent) if run.parent is not None else None
            parents.append(0 if parent is None else number - parent)
            if parent is not None:
                continued.add(parent)
            if run.span is not None:
                row_of_span[run.span] = number
        stem = _stem(rows[first].name)
        for number in range(first, end):
            run = rows[number]
            parts = [run.name if number == first else _with_stem(run.name, stem)]
            if run.outputs and number not in continued:
                for uri in run.outputs.split("\n", _RESULTS)[:_RESULTS]:
                    folder, name = folders.split(uri)
                    parts.append(f"{folder}:{_with_stem(name, stem)}")
            names.append("\t".join(map(_one_line, parts)))
    return parents, begins, names


def _stem(name: str) -> str:
    last = name[name.rfind("/") + 1 :]
    return last.rpartition(".")[0] or last


def _with_stem(name: str, stem: str) -> str:
    return name.replace(stem, STEM, 1) if stem else name


def _one_line(name: str) -> str:
    """The runner escapes control characters in names; an old one may not."""
    return name.replace("\n", "\\n").replace("\t", "\\t")


def _exact(number: float) -> float:
    whole = int(number)
    return whole if whole == number else round(number, 1)


def _to_digits(number: int) -> int:
    unit: int = 10 ** max(0, len(str(number)) - _DIGITS)
    return (number + unit // 2) // unit * unit


_ROUNDED = [_to_digits(number) for number in range(10_000)]
"""Of the most frequent numbers, which saves half of the time."""


def _rounded(number: float) -> int:
    whole = round(number)
    return _ROUNDED[whole] if whole < len(_ROUNDED) else _to_digits(whole)
