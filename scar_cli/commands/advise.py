"""`scar advise`: better sizes for the functions of an FDL file, from their measured runs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import click

from fdl_schemas.stages import staged
from scar_cli.advice.proposals import Advice, Proposal
from scar_cli.advice.reported import advice_for
from scar_cli.aws.deployed import selected, workflow_of
from scar_cli.aws.logs import moment_ms
from scar_cli.cost.known import known_prices
from scar_cli.examples import with_examples
from scar_cli.files import read_file
from scar_cli.options import of_stage, prints_json
from scar_cli.runs.reading import RunReader, clients_of
from scar_cli.table import counted

_SINCE = "7d"


@with_examples(
    "advise", "scar advise -f workflow.yaml", "scar advise -f workflow.yaml -n my-function --since 1d"
)
@click.option(
    "-f", "--file", "--conf-file", "fdl", metavar="FILE", required=True, help="The FDL file of the functions."
)
@click.option("-n", "--name", metavar="FUNCTION", help="Only this function.")
@of_stage
@click.option(
    "--since",
    metavar="TIME",
    default=_SINCE,
    help="Use runs of the last 10m, 2h or 1d, or since 2026-01-31T12:00.",
)
@prints_json
def command(*, fdl: str, name: str | None, stage: str | None, since: str, as_json: bool) -> int:
    """Propose memory, timeout, mode and architecture of functions, from their measured runs.

    Shows the lines of the FDL file to change, the reason, and what 1,000 runs would cost. Nothing is changed.
    """
    text = read_file(fdl).decode("utf-8", "replace")
    deployed = selected(fdl, name, stage=stage)
    functions = {staged(one.name, stage): one for one in workflow_of(fdl).functions}
    overview = RunReader(deployed, clients_of(deployed), moment_ms(since)).overview()
    found = advice_for(overview, functions, known_prices())
    if as_json:
        click.echo(json.dumps({"file": fdl, "functions": [_as_json(advice, text) for advice in found]}))
        return 0
    for advice in found:
        click.echo(f"{advice.function}: {advice.note or _runs(advice)}")
        for proposal in advice.proposals:
            for line in _shown(advice.function, proposal, fdl, text):
                click.echo(f"  {line}")
    return 0


def _runs(advice: Advice) -> str:
    return f"from {counted(advice.runs, 'successful run')}"


def _shown(function: str, proposal: Proposal, fdl: str, text: str) -> Iterator[str]:
    from scar_cli.advice.places import place_of  # loads YAML, which --help does not need

    place = place_of(text, function, proposal.path)
    key = proposal.path[-1]
    where = fdl if place is None else f"{fdl}:{place.line}"
    if place is not None and place.is_present:
        yield f"{where}: {key}: {proposal.proposed}  (now {proposal.now})"
    else:
        yield f"{where}: add {_nested(proposal)}  (default {proposal.now})"
    yield f"  {proposal.reason}"
    if proposal.usd_now is not None and proposal.usd_then is not None:
        change = proposal.usd_then / proposal.usd_now - 1 if proposal.usd_now else 0.0
        yield f"  1,000 runs: {_usd(proposal.usd_then)} instead of {_usd(proposal.usd_now)} ({change:+.0%})"


def _nested(proposal: Proposal) -> str:
    """`memory: 512` in the entry `lambda`, or `batch: {memory: 512}` beside it."""
    value = proposal.proposed
    keys = proposal.path[1:] if proposal.path[0] == "lambda" else proposal.path
    for key in reversed(keys[1:]):
        value = f"{{{key}: {value}}}"
    return f"{keys[0]}: {value}"


def _usd(usd: float) -> str:
    return f"{usd:,.2f} USD" if usd >= 1 else f"{usd:.4f} USD"


def _as_json(advice: Advice, text: str) -> dict[str, Any]:
    from scar_cli.advice.places import place_of

    proposals = []
    for one in advice.proposals:
        place = place_of(text, advice.function, one.path)
        proposals.append(
            {
                "setting": ".".join(one.path),
                "line": place.line if place is not None else None,
                "now": one.now,
                "proposed": one.proposed,
                "reason": one.reason,
                "usd_now_per_1000": one.usd_now,
                "usd_then_per_1000": one.usd_then,
            }
        )
    return {"function": advice.function, "runs": advice.runs, "proposals": proposals, "note": advice.note}
