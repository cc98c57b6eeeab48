"""Individual runs in the document: compressed columns, of which the page unpacks only what it shows.

The runs of an input are in adjacent rows, so that a reader can follow the input from row to row. Most outputs
are named after their input, so in the names of the other rows, `STEM` stands for the stem of the first name.
Numbers of large reports are rounded. If a report would become too large, it contains a sample of the inputs:
the slowest ones, as many as possible of those with a failed run, and some of the others.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from typing import Any

from scar_cli.processes import mapped
from scar_cli.report.packing import packed_json, packed_text
from scar_cli.runs.folders import Folders
from scar_cli.runs.model import STAGES
from scar_cli.runs.store import TRACE, Columns, Row, RunStore, Sample

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
    make = partial(_made, folders, wanted, exact)
    for chunk, places in (map if exact else mapped)(make, _grouped(store.rows(sample, has_requests=exact))):
        used += len(chunk["numbers"]) + len(chunk["names"])
        if used > budget and found.kept:
            raise _TooLargeError(found.kept)
        found.places |= {number: (len(found.chunks), row) for number, row in places}
        found.kept += chunk["rows"]
        found.chunks.append(chunk)
    return found


def _made(
    folders: Folders, wanted: frozenset[int], exact: bool, grouped: tuple[list[Row], list[int]]
) -> tuple[dict[str, Any], list[tuple[int, int]]]:
    """A chunk, and number and row of the wanted runs in it."""
    rows, firsts = grouped
    columns = Columns.of(rows)
    places = [(number, row) for row, number in enumerate(columns.id) if number in wanted]
    return _chunk(columns, firsts, folders, exact=exact), places


def _grouped(rows: Iterator[Row]) -> Iterator[tuple[list[Row], list[int]]]:
    """Rows of chunks, and the numbers of the rows with which an input begins."""
    chunk: list[Row] = []
    firsts: list[int] = []
    trace: int | None = None
    for row in rows:
        if row[TRACE] != trace or not chunk or len(chunk) >= _MOST_ROWS:
            if len(chunk) >= _ROWS:
                yield chunk, firsts
                chunk, firsts = [], []
            firsts.append(len(chunk))
            trace = row[TRACE]
        chunk.append(row)
    if chunk:
        yield chunk, firsts


def _chunk(runs: Columns, firsts: list[int], folders: Folders, *, exact: bool) -> dict[str, Any]:
    start = round(min(runs.started_ms))
    starts = [start, *map(round, runs.started_ms)]
    rounded = _exact if exact else _rounded
    columns: dict[str, Sequence[Any]] = {
        "function": runs.function,
        "status": runs.status,
        "batch": runs.in_batch,
        "cold": runs.cold,
        "attempt": runs.attempt,
        "start": [later - earlier for earlier, later in pairwise(starts)],
        "input_bytes": rounded(runs.input_bytes),
        "output_bytes": rounded(runs.output_bytes),
        "output_files": rounded(runs.output_files),
        "memory_mib": rounded([number / _MIB for number in runs.memory_bytes]),
        "reason": runs.reason,
        "folder": runs.folder,
        **{stage: rounded(column) for stage, column in zip(STAGES, runs.stages, strict=True)},
    }
    columns["parent"], columns["first"], names = _lineage(runs, firsts, folders)
    if exact:
        columns["request"] = runs.request
    return {
        "start_ms": start,
        "end_ms": round(max(runs.ended_ms)),
        "rows": len(names),
        "numbers": packed_json({name: column for name, column in columns.items() if any(column)}),
        "names": packed_text("\n".join(names)),
    }


def _lineage(runs: Columns, firsts: list[int], folders: Folders) -> tuple[list[int], list[int], list[str]]:
    """How many rows above each row is its parent, whether an input begins with it, and its line of names."""
    count = len(runs.name)
    parents = [0] * count
    begins = [0] * count
    names: list[str] = []
    for first, end in pairwise([*firsts, count]):
        begins[first] = 1
        row_of_span: dict[int | None, int] = {}
        continued = set()
        for number in range(first, end):
            if (parent := row_of_span.get(runs.parent[number])) is not None:
                parents[number] = number - parent
                continued.add(parent)
            if (span := runs.span[number]) is not None:
                row_of_span[span] = number
        stem = _stem(runs.name[first])
        for number in range(first, end):
            name = runs.name[number]
            if number != first and stem:
                name = name.replace(stem, STEM, 1)
            if runs.outputs[number] and number not in continued:
                for uri in runs.outputs[number].split("\n", _RESULTS)[:_RESULTS]:
                    folder, below = folders.split(uri)
                    name += f"\t{folder}:{below.replace(stem, STEM, 1) if stem else below}"
            names.append(name)
    return parents, begins, names


def _stem(name: str) -> str:
    last = name[name.rfind("/") + 1 :]
    return last.rpartition(".")[0] or last


def _exact(numbers: Sequence[float]) -> list[float]:
    return [int(number) if number == int(number) else round(number, 1) for number in numbers]


_SMALL = 10_000
_ROUNDED: list[int] = [
    (number + unit // 2) // unit * unit
    for number in range(_SMALL)
    for unit in (10 ** max(0, len(str(number)) - _DIGITS),)
]


def _to_digits(number: float) -> int:
    """The number, rounded to its first digits, which the table has for all numbers."""
    left, unit = int(number + 0.5), 1
    while left >= _SMALL:
        left, unit = left // 100, unit * 100
    return _ROUNDED[left] * unit


def _rounded(numbers: Sequence[float]) -> list[float]:
    """Nothing for a column of zeros, which is left out."""
    return list(map(_to_digits, numbers)) if any(numbers) else []
