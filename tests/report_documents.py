"""Documents of reports about synthetic runs, for tests of the page and for pictures of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from benchmarks import synthetic_runs
from scar_cli.aws.logs import Line, groups
from scar_cli.report.document import Asked, document
from scar_cli.runs.assembling import assembler
from scar_cli.runs.model import Run
from scar_cli.runs.summary import Overview


def synthetic(inputs: int) -> Iterator[Run]:
    """The runs of three functions, read from their log lines."""
    for function in synthetic_runs.functions():
        for group in groups(function):
            runs = assembler(function, group)
            for time_ms, stream, text in synthetic_runs.lines(group, inputs):
                yield from runs.take(Line(time_ms, function.name, stream, text))
            yield from runs.flush()


def document_of(
    inputs: int, *, title: str = "synthetic", changed: Callable[[Run], Run] = lambda run: run
) -> dict[str, Any]:
    """The document of synthetic runs with costs and failure queues; `changed` can replace each run."""
    overview = Overview(synthetic_runs.functions())
    for run in synthetic(inputs):
        overview.add(changed(run))
    costs = {
        name: {"usd": usd * inputs, "per_file_usd": usd, "items": {"Lambda compute": usd * inputs}}
        for name, usd in (("resize", 1e-5), ("examine", 4e-5), ("index", 2e-5))
    }
    return document(
        overview,
        Asked(title, "scar report -f synthetic.yaml --since 1d"),
        queues={"resize": synthetic_runs.failed_files(inputs), "examine": 0, "index": 0},
        costs=costs,
        prices={"date": "2026-11-01", "regions": ["eu-west-1"]},
    )
