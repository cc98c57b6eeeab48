"""`scar ls`: the functions that are deployed, or the files in a folder of a bucket."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any, Unpack

import click

from scar_cli.aws.deployed import Choice, DeployedFunction, reachable_url, selected, selects_functions
from scar_cli.aws.session import client, explained
from scar_cli.aws.transfers import client_of, objects_below
from scar_cli.commands.put import parse_target, readable_size
from scar_cli.commands.status import last_activity, local_time, moment
from scar_cli.errors import UserError
from scar_cli.examples import examples
from scar_cli.table import printable, table, takes_colours

_TO_THE_MINUTE = len("2026-01-31 12:00")
_HEAD = ("NAME", "MODE", "MEMORY", "TIME-OUT", "IMAGE", "STATE", "LAST ACTIVITY", "STACK", "STAGE", "API URL")
_OPTIONAL_COLUMNS = ("STAGE", "API URL")
"""Left out if no function has one."""


@click.command("ls", epilog=examples("scar ls", "scar ls -f workflow.yaml -j", "scar ls -b my-bucket/output"))
@selects_functions
@click.option("-b", "--bucket", "target", metavar="BUCKET/FOLDER", help="List the files there instead.")
@click.option("-v", "--verbose", is_flag=True, help="Tell all that Lambda tells of them, in JSON.")
@click.option("-j", "--json", "as_json", is_flag=True, help="Answer in JSON.")
def command(*, target: str | None, verbose: bool, as_json: bool, **choice: Unpack[Choice]) -> int:
    """List the deployed functions: memory, time-out, image, API, mode, last activity. Or files, with -b."""
    if target is not None:
        if choice["fdl"] or choice["name"] or choice["stack"]:
            raise UserError("-b lists files, and -f, -n and --stack choose functions", "Use one of them")
        return _list_files(target, choice["stage"], as_json or verbose)
    entries = described(selected(**choice), verbose=verbose)
    if as_json or verbose:
        click.echo(json.dumps({"Functions": entries}, default=str))
    elif not entries:
        click.echo("No function is deployed here. To deploy one: scar init -f FILE", err=True)
    else:
        rows = [_row(entry) for entry in entries]
        shown = [
            number
            for number, title in enumerate(_HEAD)
            if title not in _OPTIONAL_COLUMNS or any(row[number] != "-" for row in rows)
        ]
        head, *lines = table(
            tuple(_HEAD[number] for number in shown),
            [tuple(row[number] for number in shown) for row in rows],
        )
        click.echo(click.style(head, bold=True) if takes_colours(sys.stdout) else head)
        for line in lines:
            click.echo(line)
    return 0


def described(functions: Sequence[DeployedFunction], *, verbose: bool = False) -> list[dict[str, Any]]:
    """The functions as programs read of them; `verbose`: with Lambda's whole answer.

    Raises:
        UserError: AWS cannot be asked.
    """
    regions = {one.region for one in functions}
    lambdas = {region: client("lambda", region=region) for region in regions}
    logs = {region: client("logs", region=region) for region in regions}

    def describe(one: DeployedFunction) -> dict[str, Any]:
        setting = _settings(lambdas[one.region], one)
        url = reachable_url(one.api_url, lambdas[one.region].meta.endpoint_url) if one.api_url else None
        return {
            "Name": one.name,
            "Memory": setting.get("MemorySize"),
            "Timeout": setting.get("Timeout"),
            "Image_id": one.image or "(image file)",
            "Api_gateway": url or "-",
            "Mode": one.mode,
            "State": str(setting.get("State", "Active")) if setting else "missing",
            "Last_activity": _last_activity(logs[one.region], one),
            "Stack": one.stack,
            "Stage": one.stage,
            "Region": one.region,
            "Inputs": list(one.inputs),
            "Outputs": list(one.outputs),
            **(_details(one, setting) if verbose else {}),
        }

    with ThreadPoolExecutor(8) as pool:
        return list(pool.map(describe, functions))


def _settings(lambda_: Any, function: DeployedFunction) -> dict[str, Any]:
    """Lambda's own word on the function; nothing if someone has deleted it."""
    with explained("ResourceNotFoundException"):
        return dict(lambda_.get_function_configuration(FunctionName=function.name))
    return {}


def _last_activity(logs: Any, function: DeployedFunction) -> str | None:
    try:
        return moment(last_activity(logs, function))
    except UserError:  # who may not read the logs may still see the functions
        return None


def _details(function: DeployedFunction, setting: dict[str, Any]) -> dict[str, Any]:
    return {
        "Assembled_image": function.assembled_image,
        "Image_digest": function.image_digest,
        "Configuration": _without_values(setting),
    }


def _without_values(setting: dict[str, Any]) -> dict[str, Any]:
    """The same without the values of variables, which may be secrets."""
    kept = {key: value for key, value in setting.items() if key not in ("ResponseMetadata", "Environment")}
    return kept | {"EnvironmentVariables": sorted(setting.get("Environment", {}).get("Variables", {}))}


def _row(entry: dict[str, Any]) -> tuple[str, ...]:
    return (
        entry["Name"],
        entry["Mode"],
        f"{entry['Memory']} MB" if entry["Memory"] else "-",
        f"{entry['Timeout']} s" if entry["Timeout"] else "-",
        entry["Image_id"],
        entry["State"],
        local_time(entry["Last_activity"])[:_TO_THE_MINUTE],
        entry["Stack"],
        entry["Stage"] or "-",
        entry["Api_gateway"],
    )


def _list_files(target: str, stage: str | None, as_json: bool) -> int:
    bucket, folder = parse_target(target, stage)
    files = objects_below(client_of(bucket, 1), bucket, folder)
    if as_json:
        told = [
            {"Key": one["Key"], "Size": one["Size"], "LastModified": one["LastModified"]} for one in files
        ]
        click.echo(json.dumps(told, default=datetime.isoformat))
        return 0
    empty = True
    for found in files:
        empty = False
        when = found["LastModified"].astimezone().strftime("%Y-%m-%d %H:%M")
        click.echo(f"{when}  {readable_size(found['Size']):>12}  {printable(found['Key'])}")
    if empty:
        where = f"the folder {folder} of {bucket}" if folder else f"the bucket {bucket}"
        click.echo(f"There are no files in {printable(where)}.", err=True)
    return 0
