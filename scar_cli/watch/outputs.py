"""Where snapshots are shown: a live view on a terminal, lines of text, or JSON."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

import click

from scar_cli.watch.lines import json_object, text_lines
from scar_cli.watch.state import Snapshot

_LINE_EVERY_S = 10.0
_TERMINATED = 128 + signal.SIGTERM


class Output(Protocol):
    """Shows snapshots."""

    def show(self, found: Snapshot, *, is_over: bool) -> None:
        """Show the numbers; `is_over`: a look is over, not in its middle."""


@contextmanager
def output(title: str, url: str | None, *, as_json: bool) -> Iterator[Output]:
    """The output that fits standard output. `url` is the address of the page."""
    if as_json:
        yield _Json()
    elif sys.stdout.isatty() and os.environ.get("TERM") != "dumb":
        with _live(title, url) as shown:
            yield shown
    else:
        yield _Lines()


class _Json:
    def __init__(self) -> None:
        self._last: Snapshot | None = None

    def show(self, found: Snapshot, *, is_over: bool) -> None:
        if is_over:
            click.echo(json.dumps(json_object(found, self._last)))
            self._last = found


class _Lines:
    def __init__(self) -> None:
        self._last: Snapshot | None = None
        self._shown_at = -_LINE_EVERY_S

    def show(self, found: Snapshot, *, is_over: bool) -> None:
        if is_over and time.monotonic() >= self._shown_at + _LINE_EVERY_S:
            self._shown_at = time.monotonic()
            for line in text_lines(found, self._last):
                click.echo(line)
            self._last = found


@contextmanager
def _live(title: str, url: str | None) -> Iterator[Output]:
    """A view on the alternate screen, which a kill leaves, too."""
    from rich.console import Console
    from rich.live import Live

    from scar_cli.watch.view import View

    class Shown:
        def show(self, found: Snapshot, *, is_over: bool) -> None:
            live.update(View(title, found, url))

    before = signal.signal(signal.SIGTERM, lambda *_signal: sys.exit(_TERMINATED))
    try:
        # The view is drawn again several times a second, so that it follows the size of the terminal.
        with Live(console=Console(), screen=True, redirect_stdout=False, redirect_stderr=False) as live:
            yield Shown()
    finally:
        signal.signal(signal.SIGTERM, before)
