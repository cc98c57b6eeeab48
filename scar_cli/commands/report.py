"""`scar report`: what ran, how long it took, what failed and what it cost, as one HTML file."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Unpack

import click

from fdl_schemas.model import Function
from fdl_schemas.stages import staged
from scar_cli.advice.reported import advice_in_report
from scar_cli.aws.deployed import DeployedFunction, of_launch, selected, workflow_of
from scar_cli.aws.failure_queues import depth
from scar_cli.aws.logs import moment_ms
from scar_cli.cost.known import known_prices
from scar_cli.cost.spent import Costs
from scar_cli.errors import UserError
from scar_cli.examples import with_examples
from scar_cli.files import require_writable, write_file
from scar_cli.options import Choice, prints_json, selects_functions
from scar_cli.report.document import Asked, document
from scar_cli.report.launched import Launched
from scar_cli.report.page import render
from scar_cli.report.rows import write_rows
from scar_cli.runs.reading import Clients, RunReader, clients_of
from scar_cli.table import counted

_DEFAULT = "report.html"
_SINCE = "24h"


@with_examples(
    "report",
    "scar report -f workflow.yaml --since 2h",
    "scar report --launch ~/.local/state/scar-cdk/launches/thumbnails.jsonl -o thumbnails.html",
    "scar report -n my-function --csv -o runs.csv",
)
@selects_functions
@click.option(
    "--since",
    metavar="TIME",
    help=f"Report runs of the last 10m, 2h or 1d, or since 2026-01-31T12:00.  [default: {_SINCE}]",
)
@click.option("--until", metavar="TIME", help="Report runs that ended before this time.  [default: now]")
@click.option(
    "--launch",
    "journal",
    metavar="JOURNAL",
    help="Report the runs of one launch, given by the journal of scar-launch.",
)
@click.option(
    "-o",
    "--output",
    metavar="FILE",
    help=f"Write to this file.  [default: {_DEFAULT}; standard output with --json or --csv]",
)
@prints_json
@click.option("--csv", "as_csv", is_flag=True, help="Write one row for each run as CSV.")
def command(
    *,
    since: str | None,
    until: str | None,
    journal: str | None,
    output: str | None,
    as_json: bool,
    as_csv: bool,
    **choice: Unpack[Choice],
) -> int:
    """Write a report of what ran: one HTML file that needs neither a server nor a network.

    The report shows the workflow with the number of files on each arrow, a timeline of all runs, durations,
    memory and cost of each function, and failures by reason with the command that sends them again. You can
    follow each input through the workflow.
    """
    if as_json and as_csv:
        raise UserError("--json cannot be combined with --csv", "Use only one of them")
    if journal is not None and since is not None:
        raise UserError("--launch cannot be combined with --since", "A launch has a start of its own")
    if output is None and not (as_json or as_csv):
        output = _DEFAULT
    if output is not None:
        require_writable(output)
    launched = Launched.of(Path(journal).absolute()) if journal is not None else None
    functions = selected(**choice)
    if not functions:
        raise UserError("No functions are deployed", "Deploy one: scar init -f FILE")
    if launched is not None:
        functions = of_launch(functions, launched.function)
    start_ms = launched.since_ms if launched is not None else moment_ms(since or _SINCE)
    clients = clients_of(functions)
    reader = RunReader(functions, clients, start_ms, moment_ms(until) if until is not None else None)
    if launched is not None:
        reader.select = launched.of_launch
    if as_csv:
        count = _write_csv(reader, output)
    else:
        asked = Asked(
            title=_title(functions, choice, launched),
            command=_command(since, until, journal, choice),
            since_ms=start_ms,
            until_ms=reader.end_ms,
            launch=launched.as_json() if launched is not None else None,
        )
        costs = Costs(functions)
        overview = reader.overview(costs.add)
        content = document(
            overview,
            asked,
            queues=_queues(functions, clients),
            advice=advice_in_report(overview, _in_fdl(choice), known_prices()),
            is_full=not as_json,
            **costs.in_report(),
        )
        count = content["totals"]["runs"]
        _write(content, output, as_json=as_json)
    if output is not None:
        click.echo(f"Report of {counted(count, 'run')}: {output}", err=True)
    return 0


def _write_csv(reader: RunReader, output: str | None) -> int:
    """Write rows as they are read. Returns their number."""
    if output is None:
        return write_rows(sys.stdout, reader.runs())
    with Path(output).open("w", encoding="utf-8", newline="") as file:
        return write_rows(file, reader.runs())


def _write(content: dict[str, Any], output: str | None, *, as_json: bool) -> None:
    text = json.dumps(content) + "\n" if as_json else render(content)
    if output is None:
        click.echo(text, nl=False)
    else:
        write_file(output, text.encode("utf-8"))


def _in_fdl(choice: Choice) -> dict[str, Function]:
    """The functions of the given FDL file, by the names of the deployed ones."""
    if choice["fdl"] is None:
        return {}
    return {staged(one.name, choice["stage"]): one for one in workflow_of(choice["fdl"]).functions}


def _title(functions: Sequence[DeployedFunction], choice: Choice, launched: Launched | None) -> str:
    if launched is not None:
        return f"Launch of {launched.function}"
    if choice["fdl"] is not None:
        return Path(choice["fdl"]).stem + (f" ({choice['stage']})" if choice["stage"] else "")
    stacks = sorted({one.stack for one in functions})
    return functions[0].name if len(functions) == 1 else ", ".join(stacks[:3]) + ("…" if stacks[3:] else "")


def _command(since: str | None, until: str | None, journal: str | None, choice: Choice) -> str:
    given = {
        "-f": choice["fdl"],
        "-n": choice["name"],
        "--stack": choice["stack"],
        "--stage": choice["stage"],
        "--since": since,
        "--until": until,
        "--launch": journal,
    }
    return shlex.join(
        ["scar", "report", *(word for pair in given.items() if pair[1] for word in pair if word)]
    )


def _queues(functions: Sequence[DeployedFunction], clients: Clients) -> dict[str, Any]:
    """Number of events in each failure queue, as far as they can be read."""
    found = {}
    for function in functions:
        with suppress(UserError):
            found[function.name] = depth(clients["sqs", function.region], function.failure_queue_url)
    return found
