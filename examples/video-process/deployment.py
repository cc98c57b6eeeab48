"""What a person would type against the embedded cloud: `cdk deploy`, `scar put`; and AWS by boto3."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from processes import run_program

from local_cloud.cloud import Running

REPOSITORY = Path(__file__).resolve().parents[2]
_WITHIN_S = 30 * 60.0
_WOULD_WIN = ("AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_SESSION_TOKEN")
_PROGRESS = re.compile(r"\|\s*(?P<count>\d+/\d+)\s*\|[^|]*\|[^|]*\|\s*(?P<type>\S+)\s*\|")
"""A line of the cdk: stack | 12/50 | time | state | type | name."""


class DeploymentError(Exception):
    """It cannot be deployed; the text says why and what to do."""


def deploy(fdl: Path, folder: Path, environment: Mapping[str, str], note: Callable[[str], None]) -> None:
    """Deploy an FDL file with the cdk command line; `note` is told how far it is. Its log goes into `folder`.

    Raises:
        DeploymentError: There is no cdk command line.
        ProgramError: It fails.
    """
    beside = Path(sys.executable).with_name("cdk")
    cdk = beside if beside.exists() else REPOSITORY / "node_modules" / ".bin" / "cdk"
    if not cdk.exists():
        raise DeploymentError("There is no cdk command line in node_modules. Run `make setup` first.")

    def show(line: str) -> None:
        if found := _PROGRESS.search(line):
            note(f"{found['count']} {found['type']}")

    words = ["deploy", "-c", f"fdl={fdl.relative_to(REPOSITORY)}", "--require-approval", "never"]
    run_program(
        [str(cdk), *words, "--progress", "events", "--output", str(folder / "cdk.out")],
        folder=REPOSITORY,
        environment=environment,
        log=folder / "deploy.log",
        timeout_s=_WITHIN_S,
        on_line=show,
    )
    note("")


def put(file: Path, path: str, folder: Path, environment: Mapping[str, str]) -> None:
    """Upload a file to `bucket/folder` with `scar put`. Raises ProgramError if it fails."""
    run_program(
        [sys.executable, "-m", "scar_cli", "put", "-b", path, "-p", str(file)],
        folder=REPOSITORY,
        environment=environment,
        log=folder / "put.log",
        timeout_s=_WITHIN_S,
        on_line=lambda _: None,
    )


def environment_for(running: Running) -> dict[str, str]:
    """This program's environment, pointed at the cloud, without a profile or token that would win over it."""
    kept = {name: value for name, value in os.environ.items() if name not in _WOULD_WIN}
    return {**kept, "NO_COLOR": "1", **running.environment()}


def clients_for(running: Running) -> Callable[[str], Any]:
    """Gives the boto3 client of a service by its name."""
    import boto3

    given = running.environment()
    session = boto3.Session(
        given["AWS_ACCESS_KEY_ID"], given["AWS_SECRET_ACCESS_KEY"], region_name=running.region
    )
    client: Callable[..., Any] = session.client
    return lambda service: client(service, endpoint_url=running.endpoint)
