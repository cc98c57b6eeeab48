"""Progress of what takes a while, on one line of a terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

BYTES = ("BarColumn", "DownloadColumn", "TransferSpeedColumn", "TimeRemainingColumn")
"""A line that moves by bytes."""


@contextmanager
def terminal_line(
    *parts: str, shown: bool, total: float | None = None, **fields: Any
) -> Iterator[Callable[..., None] | None]:
    """A line of progress; gives what updates it, or None where standard error is no terminal.

    `parts` are names of rich's columns, or text with fields of its task.
    """
    if not (shown and sys.stderr.isatty()):
        yield None
        return
    from rich import progress
    from rich.console import Console

    columns = [
        getattr(progress, part)() if part.endswith("Column") else progress.TextColumn(part, markup=False)
        for part in parts
    ]
    with progress.Progress(*columns, console=Console(stderr=True), transient=True) as line:
        task = line.add_task("", total=total, **fields)
        yield partial(line.update, task)
