"""`scar ls`: the functions that are deployed, or the files in a folder of a bucket."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import click

from scar_cli.deployed import DeployedFunction, reachable_url, selected, selects_functions
from scar_cli.errors import UserError
from scar_cli.put import parse_target, readable_size
from scar_cli.sending import client_of
from scar_cli.session import client, error_code, explained
from scar_cli.table import printable, table


@click.command("ls")
@selects_functions
@click.option("-b", "--bucket", "target", metavar="BUCKET/FOLDER", help="List the files there instead.")
@click.option("-j", "--json", "as_json", is_flag=True, help="Answer in JSON.")
def command(
    *, fdl: str | None, name: str | None, stack: str | None, target: str | None, as_json: bool
) -> int:
    """List the deployed functions: memory, time-out, image, API, mode, state. Or files, with -b."""
    if target is not None:
        if fdl or name or stack:
            raise UserError("-b lists files, and -f, -n and --stack choose functions", "Use one of them")
        return _list_files(target, as_json)
    functions = selected(fdl, name, stack)
    with ThreadPoolExecutor(8) as pool:
        clients = {region: client("lambda", region=region) for region in {one.region for one in functions}}
        settings = list(pool.map(lambda one: _settings(clients[one.region], one), functions))
    functions = [
        replace(one, api_url=reachable_url(one.api_url, clients[one.region].meta.endpoint_url))
        if one.api_url
        else one
        for one in functions
    ]
    if as_json:
        entries = [_as_json(one, setting) for one, setting in zip(functions, settings, strict=True)]
        click.echo(json.dumps({"Functions": entries}))
        return 0
    if not functions:
        click.echo("No function is deployed here.", err=True)
        return 0
    rows = [_row(one, setting) for one, setting in zip(functions, settings, strict=True)]
    for line in table(("NAME", "MODE", "MEMORY", "TIME-OUT", "IMAGE", "STATE", "STACK", "API URL"), rows):
        click.echo(line)
    return 0


def _settings(lambda_: Any, function: DeployedFunction) -> dict[str, Any]:
    """Lambda's own word on the function; nothing if someone has deleted it."""
    from botocore.exceptions import ClientError

    with explained():
        try:
            found: dict[str, Any] = lambda_.get_function_configuration(FunctionName=function.name)
        except ClientError as error:
            if error_code(error) != "ResourceNotFoundException":
                raise
            return {}
    return found


def _row(function: DeployedFunction, setting: dict[str, Any]) -> tuple[str, ...]:
    return (
        function.name,
        function.mode,
        f"{setting['MemorySize']} MB" if setting else "-",
        f"{setting['Timeout']} s" if setting else "-",
        _image(function),
        _state(setting),
        function.stack,
        function.api_url or "-",
    )


def _as_json(function: DeployedFunction, setting: dict[str, Any]) -> dict[str, Any]:
    return {
        "Name": function.name,
        "Memory": setting.get("MemorySize"),
        "Timeout": setting.get("Timeout"),
        "Image_id": _image(function),
        "Api_gateway": function.api_url or "-",
        "Mode": function.mode,
        "State": _state(setting),
        "Stack": function.stack,
        "Region": function.region,
        "Inputs": list(function.inputs),
        "Outputs": list(function.outputs),
    }


def _image(function: DeployedFunction) -> str:
    return function.image or "(image file)"


def _state(setting: dict[str, Any]) -> str:
    return str(setting.get("State", "Active")) if setting else "missing"


def _list_files(target: str, as_json: bool) -> int:
    bucket, folder = parse_target(target)
    s3 = client_of(bucket, 1)
    if as_json:
        click.echo(
            json.dumps(
                [
                    {
                        "Key": found["Key"],
                        "Size": found["Size"],
                        "LastModified": found["LastModified"].isoformat(),
                    }
                    for found in _files(s3, bucket, folder)
                ]
            )
        )
        return 0
    for found in _files(s3, bucket, folder):
        when = found["LastModified"].astimezone().strftime("%Y-%m-%d %H:%M")
        click.echo(f"{when}  {readable_size(found['Size']):>12}  {printable(found['Key'])}")
    return 0


def _files(s3: Any, bucket: str, folder: str) -> Iterator[dict[str, Any]]:
    """Objects below the folder, page by page, without markers of folders."""
    with explained():
        for page in s3.get_paginator("list_objects_v2").paginate(
            Bucket=bucket, Prefix=f"{folder}/" if folder else ""
        ):
            yield from (found for found in page.get("Contents", []) if not found["Key"].endswith("/"))
