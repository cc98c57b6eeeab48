"""`scar cost`: what a workflow costs, before it is deployed and after it has run.

Before, nothing calls AWS: the FDL file, the number of files and their duration are enough. After, the logs
say what ran. `--prices` downloads AWS's public price list.
"""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Final, Unpack

import click

from scar_cli.aws.deployed import workflow_of
from scar_cli.cost.known import configured_region, known_prices, prices_of
from scar_cli.errors import UserError
from scar_cli.examples import with_examples
from scar_cli.options import Choice, prints_json, selects_functions
from scar_cli.table import counted, printable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fdl_schemas.model import Workflow
    from scar_cli.cost.estimate import Load

_UNITS: Final = {"": 1, "K": 1000, "M": 1000**2, "G": 1000**3, "KI": 1024, "MI": 1024**2, "GI": 1024**3}


@with_examples(
    "cost",
    "scar cost workflow.yaml --files 10000 --seconds 12 --size 5MB",
    "scar cost --since 1d",
    "scar cost --prices --region eu-west-1",
)
@click.argument("file", required=False, metavar="[FILE]")
@click.option("--files", "number", type=click.IntRange(1), default=1000, metavar="N", help="Number of files.")
@click.option("--seconds", type=click.FloatRange(0.001), metavar="S", help="Duration of one run.")
@click.option("--size", default="1MB", metavar="SIZE", help="Size of a file: 500KB, 5MB, 1GB.")
@click.option(
    "--image-size",
    default="500MB",
    metavar="SIZE",
    help="Compressed size of an image, for its storage in ECR.",
)
@click.option(
    "--region", metavar="REGION", help="Region.  [default: that of the environment, else us-east-1]"
)
@click.option(
    "-c",
    "--context",
    "values",
    multiple=True,
    metavar="KEY=VALUE",
    help="Context value of the deployment: metrics=false, dashboard=true, alarm_email=ADDRESS.",
)
@click.option("--prices", "refresh", is_flag=True, help="Download the current prices of the region from AWS.")
@click.option(
    "--since",
    metavar="TIME",
    help="Show what runs of the last 10m, 2h or 1d, or since 2026-01-31T12:00, have cost.",
)
@selects_functions
@prints_json
def command(
    *,
    file: str | None,
    number: int,
    seconds: float | None,
    size: str,
    image_size: str,
    region: str | None,
    values: tuple[str, ...],
    refresh: bool,
    since: str | None,
    as_json: bool,
    **choice: Unpack[Choice],
) -> int:
    """Estimate what a workflow costs, or show what it has cost.

    With an FDL file and --seconds, the estimate compares where each function could run: Lambda, Fargate,
    Fargate Spot, EC2 and EC2 Spot. Prices are AWS's list prices, without the free tier, discounts and taxes.
    """
    if file is not None and choice["fdl"] is not None:
        raise click.UsageError("Specify the FDL file once.")
    fdl = file or choice["fdl"]
    region = region or configured_region()
    if refresh:
        _refresh(region, as_json=as_json)
        if fdl is None and since is None:
            return 0
    if since is not None:
        if seconds is not None:
            raise click.UsageError("--seconds is for an estimate: it cannot be combined with --since.")
        choice["fdl"] = fdl
        return _after(since, choice, as_json=as_json)
    if fdl is None:
        raise UserError("No FDL file to estimate", "Specify one: scar cost FILE --files 1000 --seconds 10")
    if seconds is None:
        raise UserError(
            "The duration of a run is unknown",
            "Specify it: --seconds 10. To see what runs have cost: scar cost --since 1d",
        )
    from scar_cli.cost.estimate import Load

    context = _context(values)
    load = Load(number, seconds, bytes_of(size), metrics=context.get("metrics") != "false")
    workflow = _selected(fdl, choice["name"])
    _estimate(workflow, region, load, bytes_of(image_size), context, as_json=as_json)
    return 0


def bytes_of(text: str) -> int:
    """A size such as `5MB` (decimal), `5MiB` (binary) or `5000`.

    Raises:
        UserError: it is not a size.
    """
    match = re.fullmatch(r"(\d{1,12}(?:\.\d{1,6})?)\s*([KMG]?I?)B?", text.strip().upper())
    if match is None or match[2] == "I":
        raise UserError(f"Invalid size: {text!r}", "Use, for example, 500KB, 5MB or 1GB")
    return round(float(match[1]) * _UNITS[match[2]])


def _refresh(region: str, *, as_json: bool) -> None:
    from scar_cli.cost.refresh import refresh_prices

    done = refresh_prices(region)
    click.echo(f"{done.number:,} prices of {region} written to {printable(str(done.table))}.", err=as_json)
    if done.missing:
        click.echo(
            f"AWS's price list of {region} does not contain: {', '.join(done.missing)}. "
            "Their earlier prices, if any, stay in the table.",
            err=True,
        )


def _selected(fdl: str, name: str | None) -> Workflow:
    """The workflow, with this function only."""
    workflow = workflow_of(fdl)
    functions = tuple(one for one in workflow.functions if name in (None, one.name))
    if not functions:
        known = ", ".join(one.name for one in workflow.functions)
        raise UserError(f"There is no function {name} in {fdl}", f"Its functions: {known}")
    return replace(workflow, functions=functions)


def _context(values: tuple[str, ...]) -> dict[str, str]:
    from scar_cli.commands.init import context_of

    return context_of(None, None, None, values)


def _estimate(
    workflow: Workflow,
    region: str,
    load: Load,
    image_bytes: int,
    context: Mapping[str, str],
    *,
    as_json: bool,
) -> None:
    from scar_cli.cost import shown
    from scar_cli.cost.estimate import estimates
    from scar_cli.cost.idle import idle_by_region, images_of
    from scar_cli.cost.items import total

    prices = known_prices()
    by_region = {one.region: prices_of(one.region or region, prices) for one in workflow.functions}
    found = estimates(workflow, load, by_region)
    idle = idle_by_region(workflow, by_region, image_bytes=image_bytes, context=context)
    per_month = sum(total(items) for _, items in idle)
    if as_json:
        answer = {
            "files": load.files,
            "seconds": load.seconds,
            "bytes": load.size,
            "free_tier": False,
            "functions": [shown.estimate_as_json(one, load, prices) for one in found],
            "idle": {
                "usd_per_month": per_month,
                "items": [
                    {"region": own.region, **item}
                    for own, items in idle
                    for item in shown.items_as_json(items, prices, own)
                ],
            },
        }
        click.echo(json.dumps(answer))
        return
    shown.print_estimate(workflow.source.name, found, load, prices)
    images = images_of(workflow)[0]
    with_images = f", with {counted(images, 'image')} in ECR" if images else ""
    click.echo(f"While nothing runs: {shown.usd(per_month)} USD a month{with_images}.")
    for own, items in idle:
        used = [item for one in found if one.prices.region == own.region for item in one.items]
        for line in shown.missing_in_words([*used, *items], own.region):
            click.echo(line, err=True)


def _after(since: str, choice: Choice, *, as_json: bool) -> int:
    """What the runs of deployed functions have cost."""
    from scar_cli.aws.deployed import selected
    from scar_cli.aws.logs import moment_ms
    from scar_cli.cost import shown
    from scar_cli.cost.deployed import sizes_of
    from scar_cli.cost.items import added, priced
    from scar_cli.cost.runs import RunCosts
    from scar_cli.progress import activity
    from scar_cli.runs.reading import FunctionRuns, clients_of

    start_ms, functions, prices = moment_ms(since), selected(**choice), known_prices()
    if not functions:
        raise UserError("No functions are deployed", "Deploy one: scar init -f FILE")
    by_region = {one.region: prices_of(one.region, prices) for one in functions}
    costs = RunCosts(sizes_of(functions), by_region)
    clients = clients_of(functions)
    with activity("Reading logs") as tell:
        for function in functions:
            tell(f"Reading the runs of {function.name}")
            for run in FunctionRuns(function, start_ms).read(clients):
                costs.add(run)
    regions = {one.name: one.region for one in functions}
    if as_json:
        answer = [
            {"function": name, "region": regions[name], "runs": cost.runs, "files": cost.files}
            | shown.bill_as_json(cost, prices, by_region[regions[name]])
            for name, cost in costs.functions.items()
        ]
        click.echo(json.dumps({"since": since, "free_tier": False, "functions": answer}))
        return 0
    shown.print_bills([(cost, by_region[regions[name]]) for name, cost in costs.functions.items()])
    for region, own in by_region.items():
        usages = [cost.usage for name, cost in costs.functions.items() if regions[name] == region]
        items = priced(added(*usages), own)
        click.echo()
        shown.print_items(f"ALL RUNS ({region})", items)
        for line in shown.sources_in_words(prices, region, items):
            click.echo(line)
        for line in shown.missing_in_words(items, region):
            click.echo(line, err=True)
    if unknown := sum(cost.unknown for cost in costs.functions.values()):
        click.echo(f"{counted(unknown, 'run')} without a price: no price of their instances.", err=True)
    return 0
