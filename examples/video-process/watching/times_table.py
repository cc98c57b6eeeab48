"""Functions and their durations, as a table on the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table

from watching.figures import FunctionFigures, Times


def seconds(milliseconds: float) -> str:
    """A duration for people: `0.42 s`, `3.1 s`, `75 s`."""
    value = milliseconds / 1000
    digits = 2 if value < 1 else 1 if value < 60 else 0  # noqa: PLR2004 - three significant digits or so
    return f"{value:.{digits}f} s"


def times_table(figures: Sequence[FunctionFigures]) -> Table:
    """One row for each function; at most 80 columns wide."""
    title = "Functions, with number, median and maximum of cold and warm runs"
    table = Table(header_style="bold", title=title, title_justify="left", box=None, padding=(0, 2, 0, 0))
    table.add_column("Function")
    for name in ("Files", "Failed", "Cold", "Warm"):
        table.add_column(name, justify="right")
    for one in figures:
        name = f"{one.name}\n[dim]{one.where}[/]"
        table.add_row(name, str(one.files), str(one.failures), _cell(one.cold), _cell(one.warm))
    return table


def _cell(times: Times) -> str:
    if not times.count:
        return "none"
    return f"{times.count}: {seconds(times.median_ms)}, {seconds(times.max_ms)}"
