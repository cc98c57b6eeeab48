"""`scar local`: the embedded cloud.

After `eval "$(scar local env)"`, everything in that shell uses it: cdk, aws, boto3, `scar`, `scar-launch`.
"""

from __future__ import annotations

import json
import os
import re
import shlex
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeVar

import click

from local_cloud.cloud import Cloud, CloudError, Running
from scar_cli.errors import UserError
from scar_cli.examples import examples
from scar_cli.options import confirm, confirms, prints_json
from toolchain.node import bundled_node

_NOT_RUNNING = 3
_REGION = re.compile(r"[a-z]{2,4}(-[a-z]+)+-[0-9]{1,2}")
_T = TypeVar("_T")


def default_state() -> str:
    """The state folder if `--state` is not given: below the XDG state folder."""
    base = os.environ.get("XDG_STATE_HOME") or "~/.local/state"
    return str(Path(base).expanduser() / "scar-cdk" / "cloud")


def _cloud(_ctx: click.Context, _option: click.Parameter, value: str) -> Cloud:
    if not value:  # from an unset shell variable; as a path it would mean the current folder
        raise UserError("--state is an empty path", "Specify a folder, or omit --state")
    return Cloud(Path(os.path.abspath(Path(value).expanduser())))  # noqa: PTH100 (resolve() would follow links)


def _region(_ctx: click.Context, _option: click.Parameter, value: str | None) -> str | None:
    if value is not None and not _REGION.fullmatch(value):
        raise UserError(f"{value!r} is not a region", "A region looks like us-east-1")
    return value


_state_option = click.option(
    "--state",
    "cloud",
    type=click.Path(file_okay=False),
    callback=_cloud,
    envvar="SCAR_LOCAL_STATE",
    default=default_state,
    show_default=False,
    help="Use this state folder; each folder is a separate cloud.  [default: $SCAR_LOCAL_STATE, or "
    "$XDG_STATE_HOME/scar-cdk/cloud]",
)


@click.group(
    "local",
    epilog=examples("scar local start", 'eval "$(scar local env)"', "scar local status", "scar local stop"),
)
def command() -> None:
    """Start, stop and inspect the embedded cloud.

    It runs on this machine, on 127.0.0.1. It needs no AWS account, no Docker and no network connection.
    """


@command.command()
@_state_option
@click.option(
    "--port",
    type=click.IntRange(1, 65535),
    metavar="PORT",
    help="Listen on this port on 127.0.0.1.  [default: the previous port, or a free one]",
)
@click.option(
    "--parallel",
    type=click.IntRange(1, 1000),
    metavar="N",
    help="Run at most N functions and jobs at once.  [default: number of cores]",
)
@click.option(
    "--region",
    callback=_region,
    metavar="REGION",
    help="Emulate this AWS region.  [default: us-east-1]",
)
@prints_json
def start(*, cloud: Cloud, port: int | None, parallel: int | None, region: str | None, as_json: bool) -> None:
    """Start the cloud and wait until it is ready. Does nothing if it is already running."""
    if find_spec("ministack") is None:  # only the processes of the cloud import it
        raise ModuleNotFoundError(name="ministack")
    running = _checked(cloud.running) or _checked(
        lambda: cloud.start(port=port, parallel=parallel, region=region or "us-east-1")
    )
    if not cloud.started_here:
        _check_that_it_fits(cloud, running, port=port, parallel=parallel, region=region)
    word = "is ready" if cloud.started_here else "is already running"
    _say(
        as_json,
        {"started": cloud.started_here, **_facts(cloud, running)},
        f"The embedded cloud {word} at {running.endpoint}, state in {cloud.state}",
        f'To use it in this shell:  eval "$({_same_cloud("scar local env", cloud)})"',
    )


@command.command()
@_state_option
@prints_json
def stop(cloud: Cloud, as_json: bool) -> None:
    """Stop the cloud and wait until all its processes have ended. The state is kept."""
    stopped = _checked(cloud.stop)
    said = "The embedded cloud is stopped." if stopped else "The embedded cloud is not running."
    _say(as_json, {"stopped": stopped}, said)


@command.command()
@_state_option
@prints_json
def status(cloud: Cloud, as_json: bool) -> int:
    """Show whether the cloud is running, and what it contains. The exit code is 3 if it is not running."""
    running = _checked(cloud.running)
    if running is None:
        facts: dict[str, Any] = {"running": False, "state": str(cloud.state)}
        _say(as_json, facts, f"The embedded cloud is not running. State folder: {cloud.state}")
        return _NOT_RUNNING
    facts = {"running": True, **_facts(cloud, running), **_contents(running)}
    _say(
        as_json,
        facts,
        f"The embedded cloud is running at {running.endpoint} (process {running.pid})",
        f"  functions     {facts['functions']}",
        f"  buckets       {facts['buckets']}",
        f"  jobs          {facts['jobs_running']} running, {facts['jobs_waiting']} waiting",
        f"  parallel      {running.parallel}",
        f"  region        {running.region}",
        f"  state folder  {cloud.state}",
    )
    return 0


@command.command()
@_state_option
@confirms
@prints_json
def reset(cloud: Cloud, yes: bool, as_json: bool) -> None:
    """Stop the cloud and delete all of its data.

    This includes uploaded files.
    """
    if not yes:
        confirm(f"Delete everything in {cloud.state}, including uploaded files?")
    _checked(cloud.reset)
    _say(as_json, {"reset": True, "state": str(cloud.state)}, "The embedded cloud is empty.")


@command.command()
@_state_option
@prints_json
def env(cloud: Cloud, as_json: bool) -> None:
    """Print the environment variables of the cloud as shell commands.

    To use the cloud in this shell: eval "$(scar local env)"
    """
    running = _checked(cloud.running)
    if running is None:
        raise UserError(
            "The embedded cloud is not running",
            f"Start it with `{_same_cloud('scar local start', cloud)}`",
            exit_code=_NOT_RUNNING,
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


def _same_cloud(command: str, cloud: Cloud) -> str:
    """A command to copy, with `--state` if it was given on this command line."""
    source = click.get_current_context().get_parameter_source("cloud")
    if source is not click.core.ParameterSource.COMMANDLINE:
        return command
    return f"{command} --state {shlex.quote(str(cloud.state))}"


def _check_that_it_fits(
    cloud: Cloud, running: Running, *, port: int | None, parallel: int | None, region: str | None
) -> None:
    """A running cloud does not change: reject options that differ from those that it was started with."""
    others = {
        f"on port {running.port}": port not in (None, running.port),
        f"in region {running.region}": region not in (None, running.region),
        f"with --parallel {running.parallel}": parallel not in (None, running.parallel),
    }
    if found := [told for told, differs in others.items() if differs]:
        raise UserError(
            f"The embedded cloud is already running {' and '.join(found)}",
            f"To start it with other options, stop it first: {_same_cloud('scar local stop', cloud)}",
        )


def _checked(action: Callable[[], _T]) -> _T:
    try:
        return action()
    except CloudError as error:
        raise UserError(error.cause, error.advice) from error
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise UserError(
            f"Cannot use {error.filename or 'a process'} of the embedded cloud: {reason}",
            "Check its permissions and the free disk space, or name another folder with --state",
        ) from error


def _facts(cloud: Cloud, running: Running) -> dict[str, Any]:
    names = ("endpoint", "port", "pid", "region", "parallel", "started_at")
    return {name: getattr(running, name) for name in names} | {"state": str(cloud.state)}


def _contents(running: Running) -> dict[str, int]:
    """What the cloud contains, read through its public APIs."""
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
