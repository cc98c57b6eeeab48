"""Progress of long operations, on the last line of a terminal. Other output appears above that line."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
from functools import partial
from typing import TYPE_CHECKING, Any, TextIO, cast

if TYPE_CHECKING:
    from rich.console import Console

BYTES = ("BarColumn", "DownloadColumn", "TransferSpeedColumn", "TimeRemainingColumn")
"""A bar that moves by bytes."""


@contextmanager
def terminal_line(
    *parts: str, shown: bool, total: float | None = None, **fields: Any
) -> Iterator[Callable[..., None] | None]:
    """Show a line of progress; yields the function that updates it, or None if standard error is no terminal.

    `parts` are names of rich's columns, or text with fields of its task.
    """
    if not (shown and _is_terminal()):
        yield None
        return
    from rich import progress
    from rich.console import Console

    columns = [
        getattr(progress, part)() if part.endswith("Column") else progress.TextColumn(part, markup=False)
        for part in parts
    ]
    console = Console(stderr=True)
    with (
        _output_above(console),
        progress.Progress(
            *columns, console=console, transient=True, redirect_stdout=False, redirect_stderr=False
        ) as line,
    ):
        task = line.add_task("", total=total, **fields)
        yield partial(line.update, task)


@contextmanager
def activity(text: str) -> Iterator[Callable[[str], None]]:
    """Show a spinner with what is going on; yields the function that changes the text.

    Shows nothing if standard error is no terminal.
    """
    if not _is_terminal():
        yield lambda _text: None
        return
    from rich.console import Console
    from rich.live import Live
    from rich.spinner import Spinner
    from rich.text import Text

    console = Console(stderr=True)
    spinner = Spinner("dots", Text(text))
    with (
        _output_above(console),
        Live(
            spinner,
            console=console,
            refresh_per_second=12.5,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        ),
    ):
        yield lambda other: spinner.update(text=Text(other))


def _is_terminal() -> bool:
    return sys.stderr.isatty() and os.environ.get("TERM") != "dumb"


@contextmanager
def _output_above(console: Console) -> Iterator[None]:
    """Print what is written to the terminal above the line of progress, instead of behind it.

    rich can do that, too, but click does not use its stream, which has no `encoding`.
    """
    with ExitStack() as held:
        above = _Above(console)
        held.callback(above.end)
        if sys.stdout.isatty():
            held.enter_context(redirect_stdout(cast("TextIO", above)))
        held.enter_context(redirect_stderr(cast("TextIO", above)))
        yield


class _Above(io.TextIOBase):
    """Prints whole lines above a console's line of progress."""

    encoding = "utf-8"
    errors = "replace"

    def __init__(self, console: Console) -> None:
        self.rich_proxied_file = console.file
        """The terminal, for the console itself, which writes to `sys.stderr`."""
        self._console = console
        self._rest = ""

    def write(self, text: str) -> int:
        *lines, self._rest = (self._rest + text).split("\n")
        for line in lines:
            self._print(line)
        return len(text)

    def isatty(self) -> bool:
        return True

    def end(self) -> None:
        """Print a last line without its end."""
        if self._rest:
            self._print(self._rest)
            self._rest = ""

    def _print(self, line: str) -> None:
        from rich.text import Text

        self._console.print(Text.from_ansi(line), soft_wrap=True)
