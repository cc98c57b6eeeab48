"""Deploys an example with `scar init`, and removes it with everything that belongs to it."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from tests.proof.place import Place

_DEPLOYED_WITHIN_S = 45 * 60
_REMOVED_WITHIN_S = 45 * 60
_LOOK_EVERY_S = 1.0
_TRIES = 2
"""A network interface that Lambda has not yet released makes CloudFormation fail once."""


class DeployError(Exception):
    """The example cannot be deployed; the text is the end of what `scar init` said."""


def deploy(
    place: Place,
    example: str,
    fdl: Path,
    *,
    log: Path,
    environment: Mapping[str, str],
    more: Sequence[str] = (),
) -> None:
    """Deploy an example; what `scar init` says goes into the file `log`.

    Raises:
        DeployError: it fails.
    """
    command = [sys.executable, "-m", "scar_cli", "init", "-f", str(fdl), *place.options(example), *more, "-y"]
    with log.open("w", encoding="utf-8") as output:
        done = subprocess.run(
            command,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            timeout=_DEPLOYED_WITHIN_S,
            check=False,
        )
    if done.returncode != 0:
        said = " ".join(log.read_text(encoding="utf-8").split())[-300:]
        raise DeployError(f"scar init ended with {done.returncode}: {said} ({log})")


def remove(place: Place, example: str) -> list[str]:
    """Delete an example's stack, and wait; what is left of it afterwards, which should be nothing."""
    cloudformation = place.client("cloudformation")
    name = place.stack(example)
    resources = _resources(cloudformation, name)
    for _try in range(_TRIES):
        if _status(cloudformation, name) is None:
            break
        cloudformation.delete_stack(StackName=name)
        if _when_deleted(cloudformation, name) is None:
            break
    left = [f"stack {name} ({status})" for status in [_status(cloudformation, name)] if status is not None]
    return [*left, *_left_of(place, resources)]


def _status(cloudformation: Any, name: str) -> str | None:
    try:
        status = str(cloudformation.describe_stacks(StackName=name)["Stacks"][0]["StackStatus"])
    except ClientError as error:
        if error.response["Error"]["Code"] == "ValidationError":  # there is no such stack
            return None
        raise
    return None if status == "DELETE_COMPLETE" else status


def _when_deleted(cloudformation: Any, name: str) -> str | None:
    """The status when the deletion has ended; None: deleted."""
    deadline = time.monotonic() + _REMOVED_WITHIN_S
    while (status := _status(cloudformation, name)) is not None and status != "DELETE_FAILED":
        if time.monotonic() > deadline:
            return status
        time.sleep(_LOOK_EVERY_S)
    return status


def _resources(cloudformation: Any, name: str) -> list[tuple[str, str]]:
    try:
        pages = cloudformation.get_paginator("list_stack_resources").paginate(StackName=name)
        return [
            (one["ResourceType"], one["PhysicalResourceId"])
            for page in pages
            for one in page["StackResourceSummaries"]
            if one.get("PhysicalResourceId")
        ]
    except ClientError:
        return []


def _left_of(place: Place, resources: Sequence[tuple[str, str]]) -> list[str]:
    """Those resources that cost money while they exist, and still do."""
    left = []
    for kind, name in resources:
        try:
            if kind == "AWS::S3::Bucket":
                place.client("s3").head_bucket(Bucket=name)
            elif kind == "AWS::ECR::Repository":
                place.client("ecr").describe_repositories(repositoryNames=[name])
            elif kind == "AWS::Logs::LogGroup":
                found = place.client("logs").describe_log_groups(logGroupNamePrefix=name)["logGroups"]
                if name not in [group["logGroupName"] for group in found]:
                    continue
            else:
                continue
        except ClientError as error:
            if error.response["Error"]["Code"] in ("404", "NoSuchBucket", "RepositoryNotFoundException"):
                continue
            left.append(f"{kind} {name} (unknown: {error})")
        else:
            left.append(f"{kind} {name}")
    return left
