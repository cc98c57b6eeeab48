"""`scar ls`: deployed functions, the details of one, or the files in a folder of a bucket."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any, Unpack

import click

from fdl_schemas.stages import staged
from scar_cli.aws.deployed import DeployedFunction, known_functions, reachable_url, selected
from scar_cli.aws.logs import groups, last_activity
from scar_cli.aws.session import client, explained
from scar_cli.aws.transfers import client_of, objects_below
from scar_cli.commands.put import parse_target, readable_size
from scar_cli.errors import UserError
from scar_cli.examples import with_examples
from scar_cli.options import Choice, prints_json, selects_functions
from scar_cli.table import iso_time, local_time, printable, table, takes_colours

_TO_THE_MINUTE = len("2026-01-31 12:00")
_HEAD = ("NAME", "MODE", "MEMORY", "TIMEOUT", "IMAGE", "STATE", "LAST ACTIVITY", "STACK", "STAGE", "API URL")
_OPTIONAL_COLUMNS = ("STAGE", "API URL")
"""Omitted if no function has one."""


@with_examples(
    "ls", "scar ls", "scar ls my-function", "scar ls my-bucket/output", "scar ls -f workflow.yaml -j"
)
@click.argument("thing", required=False, metavar="[FUNCTION|BUCKET/FOLDER]")
@selects_functions
@click.option("-b", "--bucket", "target", metavar="BUCKET/FOLDER", help="List the files in this folder.")
@click.option("-v", "--verbose", is_flag=True, help="Print everything that Lambda reports, as JSON.")
@prints_json
def command(
    *, thing: str | None, target: str | None, verbose: bool, as_json: bool, **choice: Unpack[Choice]
) -> int:
    """List deployed functions, or the files in a bucket.

    Specify a function to show its details, or a bucket or folder to list its files.
    """
    if thing is not None:
        if target or choice["fdl"] or choice["name"]:
            raise UserError(f"{thing!r} cannot be combined with -b, -f or -n", "Use one of them")
        return _list_named(thing, choice, as_json=as_json or verbose)
    if target is not None:
        if choice["fdl"] or choice["name"] or choice["stack"]:
            raise UserError("-b lists files, and -f, -n and --stack choose functions", "Use one of them")
        return _list_files(target, choice["stage"], as_json=as_json or verbose)
    entries = described(selected(**choice), verbose=verbose)
    if as_json or verbose:
        click.echo(json.dumps({"Functions": entries}, default=str))
    elif not entries:
        click.echo("No functions are deployed. To deploy one: scar init -f FILE", err=True)
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


def _list_named(name: str, choice: Choice, *, as_json: bool) -> int:
    """The details of the function of that name, or else the files in the bucket or folder."""
    functions = []
    if "/" not in name:
        functions = selected(None, None, choice["stack"], choice["stage"])
        wanted = staged(name, choice["stage"])
        for function in functions:
            if function.name == wanted:
                return _show_function(function, as_json=as_json)
    if choice["stack"] is not None:
        raise UserError(f"The stack {choice['stack']} has no function {name}", known_functions(functions))
    try:
        return _list_files(name, choice["stage"], as_json=as_json)
    except UserError as error:
        if "/" in name:
            raise
        raise UserError(
            f"No function named {name} is deployed. {error.cause}", known_functions(functions)
        ) from error


def _show_function(function: DeployedFunction, *, as_json: bool) -> int:
    (entry,) = described([function], verbose=True)
    if as_json:
        click.echo(json.dumps({"Functions": [entry]}, default=str))
        return 0
    lines = {
        "Name": function.name,
        "State": entry["State"],
        "Last activity": local_time(entry["Last_activity"]),
        "Mode": function.mode,
        "Memory": f"{entry['Memory']} MB" if entry["Memory"] else "",
        "Timeout": f"{entry['Timeout']} s" if entry["Timeout"] else "",
        "Image": entry["Image_id"],
        "Input": ", ".join(function.inputs),
        "Output": ", ".join(function.outputs),
        "API URL": "" if entry["Api_gateway"] == "-" else entry["Api_gateway"],
        "Environment": ", ".join(entry["EnvironmentVariables"]),
        "Stack": function.stack,
        "Stage": function.stage or "",
        "Region": function.region,
        "Log groups": ", ".join(groups(function)),
        "Input queue": ", ".join((function.input_queue_url or "", *function.given_queue_urls)).strip(", "),
        "Failure queue": function.failure_queue_url,
        "Job queue": function.job_queue or "",
        "Job definition": function.job_definition or "",
        "Assembled image": function.assembled_image or "",
    }
    width = max(map(len, lines))
    for title, text in lines.items():
        if text:
            click.echo(f"{title:{width}}  {printable(text)}")
    return 0


def described(functions: Sequence[DeployedFunction], *, verbose: bool = False) -> list[dict[str, Any]]:
    """The functions as JSON objects with SCAR's keys; `verbose`: with Lambda's configuration of each.

    Raises:
        UserError: a call to AWS fails.
    """
    regions = {one.region for one in functions}
    lambdas = {region: client("lambda", region=region) for region in regions}
    logs = {region: client("logs", region=region) for region in regions}

    def describe(one: DeployedFunction) -> dict[str, Any]:
        setting = _settings(lambdas[one.region], one)
        url = reachable_url(one.api_url, lambdas[one.region].meta.endpoint_url) if one.api_url else None
        return {
            **(_details(one, setting) if verbose else {}),
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
        }

    with ThreadPoolExecutor(8) as pool:
        return list(pool.map(describe, functions))


def _settings(lambda_: Any, function: DeployedFunction) -> dict[str, Any]:
    """Lambda's configuration of the function; empty if it has been deleted."""
    with explained("ResourceNotFoundException"):
        return dict(lambda_.get_function_configuration(FunctionName=function.name))
    return {}


def _last_activity(logs: Any, function: DeployedFunction) -> str | None:
    try:
        return iso_time(last_activity(logs, function))
    except UserError:  # the caller may lack the permission to read logs
        return None


def _details(function: DeployedFunction, setting: dict[str, Any]) -> dict[str, Any]:
    """Lambda's configuration under its own keys, without the values of variables, which may be secrets."""
    kept = {key: value for key, value in setting.items() if key not in ("ResponseMetadata", "Environment")}
    return kept | {
        "EnvironmentVariables": sorted(setting.get("Environment", {}).get("Variables", {})),
        "Assembled_image": function.assembled_image,
        "Image_digest": function.image_digest,
    }


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


def _list_files(target: str, stage: str | None, *, as_json: bool) -> int:
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
        click.echo(f"No files in {printable(where)}.", err=True)
    return 0
