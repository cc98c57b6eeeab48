"""`scar local`: the embedded cloud, from a shell.

`eval "$(scar local env)"` makes everything in that shell talk to it: cdk, aws, boto3, `scar put` and `scar-
launch`.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import sys
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeVar

import click

from local_cloud.cloud import Cloud, CloudError, Running
from scar_cli.errors import UserError
from scar_cli.examples import examples
from toolchain.node import bundled_node

_NOT_RUNNING = 3
_REGION = re.compile(r"[a-z]{2,4}(-[a-z]+)+-[0-9]{1,2}")
_T = TypeVar("_T")


def default_state() -> str:
    """Where the cloud keeps its state unless told otherwise: below the XDG state folder."""
    base = os.environ.get("XDG_STATE_HOME") or "~/.local/state"
    return str(Path(base).expanduser() / "scar-cdk" / "cloud")


def _cloud(_ctx: click.Context, _option: click.Parameter, value: str) -> Cloud:
    if not value:  # of a variable that is not set; as a path it would mean the current folder
        raise UserError("--state names an empty path", "Say which folder, or leave --state out")
    return Cloud(Path(os.path.abspath(Path(value).expanduser())))  # noqa: PTH100 (resolve() would follow links)


def _region(_ctx: click.Context, _option: click.Parameter, value: str | None) -> str | None:
    if value is not None and not _REGION.fullmatch(value):
        raise UserError(f"{value!r} is not a region", "Regions look like us-east-1")
    return value


_state_option = click.option(
    "--state",
    "cloud",
    type=click.Path(file_okay=False),
    callback=_cloud,
    envvar="SCAR_LOCAL_STATE",
    default=default_state,
    show_default="$XDG_STATE_HOME/scar-cdk/cloud",
    help="Folder that keeps the cloud's state; each is a cloud of its own.",
)
_json_option = click.option("-j", "--json", "as_json", is_flag=True, help="Answer in JSON.")


@click.group(
    "local",
    epilog=examples("scar local start", 'eval "$(scar local env)"', "scar local status", "scar local stop"),
)
def command() -> None:
    """Start, stop and look at the embedded cloud.

    It runs on this machine alone, on 127.0.0.1; no account, no Docker, no network is needed.
    """


@command.command()
@_state_option
@click.option(
    "--port", type=click.IntRange(1, 65535), help="Port on 127.0.0.1.  [default: last time's, or a free one]"
)
@click.option(
    "--parallel", type=click.IntRange(1, 1000), help="Functions and jobs at once.  [default: number of cores]"
)
@click.option(
    "--region",
    callback=_region,
    help="Region that the cloud plays.  [default: us-east-1]",
)
@_json_option
def start(*, cloud: Cloud, port: int | None, parallel: int | None, region: str | None, as_json: bool) -> None:
    """Start the cloud and wait until it is ready. If it runs already, say so."""
    if find_spec("ministack") is None:  # it is imported by the cloud's own processes alone
        raise ModuleNotFoundError(name="ministack")
    running = _checked(cloud.running) or _checked(
        lambda: cloud.start(port=port, parallel=parallel, region=region or "us-east-1")
    )
    if not cloud.started_here:
        _check_that_it_fits(running, port=port, parallel=parallel, region=region)
    word = "is ready" if cloud.started_here else "runs already"
    _say(
        as_json,
        {"started": cloud.started_here, **_facts(cloud, running)},
        f"The embedded cloud {word} at {running.endpoint}, state in {cloud.state}",
        'To use it in this shell:  eval "$(scar local env)"',
    )


@command.command()
@_state_option
@_json_option
def stop(cloud: Cloud, as_json: bool) -> None:
    """Stop the cloud and wait until all of it is gone. Its state is kept."""
    stopped = _checked(cloud.stop)
    said = "The embedded cloud is stopped." if stopped else "The embedded cloud does not run."
    _say(as_json, {"stopped": stopped}, said)


@command.command()
@_state_option
@_json_option
def status(cloud: Cloud, as_json: bool) -> int:
    """Say whether the cloud runs, and what runs in it. Exit code 3 if it does not run."""
    running = _checked(cloud.running)
    if running is None:
        facts: dict[str, Any] = {"running": False, "state": str(cloud.state)}
        _say(as_json, facts, f"The embedded cloud does not run. State folder: {cloud.state}")
        return _NOT_RUNNING
    facts = {"running": True, **_facts(cloud, running), **_contents(running)}
    _say(
        as_json,
        facts,
        f"The embedded cloud runs at {running.endpoint} (process {running.pid})",
        f"  functions     {facts['functions']}",
        f"  buckets       {facts['buckets']}",
        f"  jobs          {facts['jobs_running']} running, {facts['jobs_waiting']} waiting",
        f"  at once       {running.parallel}",
        f"  region        {running.region}",
        f"  state folder  {cloud.state}",
    )
    return 0


@command.command()
@_state_option
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@_json_option
def reset(cloud: Cloud, yes: bool, as_json: bool) -> None:
    """Stop the cloud and delete everything in it, uploaded files included."""
    if not yes:
        if not sys.stdin.isatty():
            raise UserError(f"This deletes everything in {cloud.state}", "Say --yes if that is meant")
        click.confirm(f"Delete everything in {cloud.state}, uploaded files included?", abort=True)
    _checked(cloud.reset)
    _say(as_json, {"reset": True, "state": str(cloud.state)}, "The embedded cloud is empty.")


@command.command()
@_state_option
@_json_option
def env(cloud: Cloud, as_json: bool) -> None:
    """Print the shell commands that point a shell at the cloud: eval "$(scar local env)"."""
    running = _checked(cloud.running)
    if running is None:
        raise UserError(
            "The embedded cloud does not run", "Start it with `scar local start`", exit_code=_NOT_RUNNING
        )
    variables = running.environment()
    if (node := bundled_node()) is not None:
        variables["JSII_NODE"] = str(node)  # the CDK's Python half warns about an old Node
    _say(
        as_json,
        variables,
        "unset AWS_PROFILE AWS_DEFAULT_PROFILE AWS_SESSION_TOKEN",
        *(f"export {name}={shlex.quote(value)}" for name, value in variables.items()),
    )


def _say(as_json: bool, facts: Mapping[str, Any], *lines: str) -> None:
    """The facts for programs, or lines for people."""
    click.echo(json.dumps(facts) if as_json else "\n".join(lines))


def _check_that_it_fits(
    running: Running, *, port: int | None, parallel: int | None, region: str | None
) -> None:
    """A cloud that runs already is as it is: say so if it was asked for otherwise."""
    others = {
        f"on port {running.port}": port not in (None, running.port),
        f"in region {running.region}": region not in (None, running.region),
        f"with {running.parallel} at once": parallel not in (None, running.parallel),
    }
    if found := [told for told, differs in others.items() if differs]:
        raise UserError(
            f"The embedded cloud runs already, {' and '.join(found)}",
            "Stop it first, with `scar local stop`, to start it otherwise",
        )


def _checked(action: Callable[[], _T]) -> _T:
    try:
        return action()
    except CloudError as error:
        raise UserError(error.cause, error.advice) from error
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise UserError(
            f"The embedded cloud's {error.filename or 'process'} cannot be used: {reason}",
            "Look at its permissions and the disk's space, or name another folder with --state",
        ) from error


def _facts(cloud: Cloud, running: Running) -> dict[str, Any]:
    names = ("endpoint", "port", "pid", "region", "parallel", "started_at")
    return {name: getattr(running, name) for name in names} | {"state": str(cloud.state)}


def _contents(running: Running) -> dict[str, int]:
    """What is in the cloud, asked as anyone would ask."""
    import boto3
    from botocore.config import Config

    given = running.environment()
    session = boto3.Session(
        aws_access_key_id=given["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=given["AWS_SECRET_ACCESS_KEY"],
        region_name=running.region,
    )

    def client(service: str) -> Any:
        return session.client(service, endpoint_url=running.endpoint, config=Config(proxies={}))

    batch = client("batch")
    functions = client("lambda").get_paginator("list_functions").paginate()
    jobs = {"running": 0, "waiting": 0}
    for queue in batch.describe_job_queues()["jobQueues"]:
        for state in ("SUBMITTED", "PENDING", "RUNNABLE", "STARTING", "RUNNING"):
            pages = batch.get_paginator("list_jobs").paginate(jobQueue=queue["jobQueueArn"], jobStatus=state)
            count = sum(len(page["jobSummaryList"]) for page in pages)
            jobs["running" if state in ("STARTING", "RUNNING") else "waiting"] += count
    return {
        "functions": sum(len(page["Functions"]) for page in functions),
        "buckets": len(client("s3").list_buckets()["Buckets"]),
        "jobs_running": jobs["running"],
        "jobs_waiting": jobs["waiting"],
    }
