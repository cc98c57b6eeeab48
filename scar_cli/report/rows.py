"""Runs as rows of a CSV file."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from typing import TextIO

from scar_cli.runs.model import STAGES, Run
from scar_cli.table import printable_line

_TEXTS = ("reason", "kind", "error", "signal")
_LONGEST_ERROR = 1000
COLUMNS = (
    "function",
    "region",
    "mode",
    "subject",
    "status",
    "start_ms",
    "end_ms",
    "total_ms",
    *(f"{stage.replace('-', '_')}_ms" for stage in STAGES),
    "cold",
    "attempt",
    "cpu_ms",
    "billed_ms",
    "input_bytes",
    "output_bytes",
    "output_files",
    "memory_used_bytes",
    "memory_given_bytes",
    "exit_code",
    *_TEXTS,
    "request_id",
    "delegated_to",
    "stream",
    "trace",
    "span",
    "parent",
)


def write_rows(file: TextIO, runs: Iterable[Run]) -> int:
    """Write one row for each run, after the names of the columns. Returns the number of runs."""
    rows = csv.writer(file, lineterminator="\n")
    rows.writerow(COLUMNS)
    count = 0
    for run in runs:
        count += 1
        stages = {f"{name.replace('-', '_')}_ms": one for name, one in zip(STAGES, run.stages(), strict=True)}
        rows.writerow([_cell(_value(run, column, stages)) for column in COLUMNS])
    return count


def _value(run: Run, column: str, stages: dict[str, float]) -> object:
    if column in stages:
        return round(stages[column], 1) or None
    if column == "start_ms":
        return round(run.started_ms)
    if column == "end_ms":
        return round(run.ended_ms)
    return getattr(run, column)


def _cell(value: object) -> str:
    """Control characters are escaped, and text that a spreadsheet would calculate is quoted."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(int(value))
    if not isinstance(value, str):
        return str(value)
    text = printable_line(value[:_LONGEST_ERROR].replace("\n", " "))
    return f"'{text}" if text[:1] in ("=", "+", "-", "@") else text
