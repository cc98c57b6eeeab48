"""`scar watch`: a workflow while it runs."""

from __future__ import annotations

import shlex
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NoReturn, Unpack

import click

from scar_cli.aws.deployed import DeployedFunction, of_launch, selected
from scar_cli.aws.kept_queues import KeptQueue, described, kept_queues_of
from scar_cli.aws.logs import moment_ms
from scar_cli.cost.spent import Costs
from scar_cli.errors import UserError
from scar_cli.examples import with_examples
from scar_cli.launch.progress import LaunchProgress
from scar_cli.options import Choice, selects_functions
from scar_cli.report.document import Asked
from scar_cli.watch.document import LiveDocument
from scar_cli.watch.lines import summary_lines
from scar_cli.watch.looks import Looks, clients
from scar_cli.watch.outputs import Output, output
from scar_cli.watch.state import State
from scar_cli.watch.web import EVENTS, LivePage, serving

_SINCE = "10m"
_SHOWN_EVERY_S = 0.5
_INTERRUPTED = 130


@with_examples(
    "watch",
    "scar watch",
    "scar watch -f workflow.yaml --web",
    "scar watch --launch ~/.local/state/scar-cdk/launches/thumbnails-20261122T091502.117Z.jsonl",
)
@selects_functions
@click.option(
    "--since",
    metavar="TIME",
    help=f"Count runs since 10m, 2h or 1d ago, or since 2026-01-31T12:00.  [default: {_SINCE}]",
)
@click.option(
    "--launch",
    "journal",
    metavar="JOURNAL",
    help="Show the progress of one launch, given by the journal of scar-launch.",
)
@click.option("--web", is_flag=True, help="Also serve the page of `scar report`, live, to your browser.")
@click.option(
    "--port",
    type=click.IntRange(1, 65535),
    metavar="PORT",
    help="Serve the page here.  [default: a free port]",
)
@click.option("-j", "--json", "as_json", is_flag=True, help="Print a JSON object for each look.")
def command(
    *,
    since: str | None,
    journal: str | None,
    web: bool,
    port: int | None,
    as_json: bool,
    **choice: Unpack[Choice],
) -> int:
    """Show a workflow while it runs, until Ctrl-C: queues, rates, failures, cost and estimated end.

    Without a terminal, prints a line every 10 seconds. Ctrl-C prints a summary. The exit code is 1 if a
    failure queue is not empty.

    \b
    QUEUED         files waiting in the input queue, and jobs waiting in AWS Batch; - for Lambda
                   without an input queue, which does not report it
    RUNNING        runs in progress, on Lambda or Batch
    DONE, FAILED   runs that ended; an event can fail several times, because each retry is a run
                   of its own
    FAILURE QUEUE  events that failed on their last attempt; `scar retry` sends them again
    RATE           runs that ended in the last minute, and as bars of 5 seconds
    """
    if since is not None and journal is not None:
        raise UserError("--launch cannot be combined with --since", "A launch has a start of its own")
    if port is not None and not web:
        raise UserError("--port needs --web", "Add --web, or omit --port")
    progress = None if journal is None else LaunchProgress.of(Path(journal).absolute())
    functions = selected(**choice)
    if not functions:
        raise UserError("No functions are deployed", "Deploy one: scar init -f FILE")
    if progress is not None:
        functions = of_launch(functions, progress.function)
    start_ms = moment_ms(since or _SINCE) if progress is None else progress.since_ms
    costs = Costs(functions)
    state = State(functions, start_ms, progress, costs.add)
    looks = Looks(functions, start_ms, state, clients())
    kept = kept_queues_of(functions, everything=not any(choice.values()))
    title = ", ".join(sorted({one.stack for one in functions}))
    try:
        with ExitStack() as held:
            page = (
                held.enter_context(
                    _page(functions, Asked(title, _command(choice), since_ms=start_ms), costs, state, port)
                )
                if web
                else None
            )
            shown = held.enter_context(output(title, page.live.url if page else None, as_json=as_json))
            _follow(looks, state, progress, shown, page)
    except KeyboardInterrupt:
        return _ended(state, kept, as_json=as_json)
    except UserError:
        _ended(state, kept, as_json=as_json)
        raise


@dataclass(frozen=True)
class _Page:
    document: LiveDocument
    live: LivePage


@contextmanager
def _page(
    functions: Sequence[DeployedFunction], asked: Asked, costs: Costs, state: State, port: int | None
) -> Iterator[_Page]:
    """Serve the page, whose address is printed."""
    from scar_cli.report.page import render

    document = LiveDocument(functions, asked, costs)
    first = document.written(state.snapshot(_now_ms()))
    with serving(port or 0, first or {}, partial(render, live=EVENTS)) as live:
        click.echo(f"Page: {live.url}", err=True)
        yield _Page(document, live)


def _command(choice: Choice) -> str:
    """The command that writes the page to a file."""
    options = {"-f": "fdl", "-n": "name", "--stack": "stack", "--stage": "stage"}
    chosen = [(name, choice[key]) for name, key in options.items()]  # type: ignore[literal-required]
    return shlex.join(["scar", "report", *(word for pair in chosen if pair[1] is not None for word in pair)])


def _follow(
    looks: Looks, state: State, progress: LaunchProgress | None, shown: Output, page: _Page | None
) -> NoReturn:
    """Look again and again."""
    shown.show(state.snapshot(_now_ms()), is_over=False)
    while True:
        shown_at = time.monotonic()
        for run in looks.look():
            if page is not None:
                page.document.add(run)
            if time.monotonic() >= shown_at + _SHOWN_EVERY_S:
                shown.show(state.snapshot(_now_ms()), is_over=False)
                shown_at = time.monotonic()
        if progress is not None:
            progress.read_on()
        found = state.snapshot(_now_ms())
        shown.show(found, is_over=True)
        if page is not None and (document := page.document.written(found)) is not None:
            page.live.publish(document)
        looks.wait()


def _ended(state: State, kept: Sequence[KeptQueue], *, as_json: bool) -> int:
    """Print a summary; returns the exit code, which is that of `scar status`."""
    found = state.snapshot(_now_ms())
    if not found.is_complete:
        return _INTERRUPTED
    if not as_json:
        for line in (*summary_lines(found), *described(kept, {one.function for one in found.functions})):
            click.echo(line)
        if any(one.failed for one in found.functions):
            click.echo("To see the failed runs: scar log --errors", err=True)
        if any(one.queues.failure_queue for one in found.functions):
            click.echo("To send the events in failure queues again: scar retry", err=True)
    return 1 if kept or any(one.queues.failure_queue for one in found.functions) else 0


def _now_ms() -> int:
    return int(time.time() * 1000)
