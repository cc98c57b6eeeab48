"""Deployments without the CDK CLI: the app runs as a process, and the API creates files and stacks.

They take half of the processor time, and are for tests that need a stack. Tests of deploying run the real cdk
(`cdk_cli.py`) or `scar init`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError, WaiterError

from tests.cloud.cdk_cli import REPOSITORY
from tests.cloud.embedded import CloudUnderTest

_ACCOUNT = "000000000000"
_AT_ONCE = 4
_WITHIN_S = 280
_APP = ("-m", "scar_constructs.app")


def deploy(
    cloud: CloudUnderTest,
    output: Path,
    *,
    app: Sequence[str] = _APP,
    variables: Mapping[str, str] | None = None,
    **context: str,
) -> None:
    """Synthesize into the folder `output` and create all stacks; `context` is that of `cdk deploy -c`."""
    region = cloud.running.region
    done = subprocess.run(
        [sys.executable, *app],
        cwd=REPOSITORY,
        env={
            **os.environ,
            **(variables or {}),
            "CDK_CONTEXT_JSON": json.dumps(context),
            "CDK_OUTDIR": str(output),
            "CDK_DEFAULT_ACCOUNT": _ACCOUNT,
            "CDK_DEFAULT_REGION": region,
        },
        capture_output=True,
        text=True,
        timeout=_WITHIN_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    artifacts = json.loads((output / "manifest.json").read_text())["artifacts"]
    for file in sorted(output.glob("*.assets.json")):
        for asset in json.loads(file.read_text())["files"].values():
            _upload(cloud, output, asset)
    stacks = {
        name: artifact["properties"]
        for name, artifact in artifacts.items()
        if artifact["type"] == "aws:cloudformation:stack"
    }
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        list(pool.map(lambda name: _create(cloud, name, stacks[name]), stacks))


def _upload(cloud: CloudUnderTest, output: Path, asset: Mapping[str, Any]) -> None:
    """Upload a file, or the zip of a folder, unless the bucket has it."""
    s3 = cloud.client("s3")
    source = output / asset["source"]["path"]
    (destination,) = asset["destinations"].values()
    place = {"Bucket": _resolved(cloud, destination["bucketName"]), "Key": destination["objectKey"]}
    try:
        s3.head_object(**place)
    except ClientError:
        if asset["source"]["packaging"] == "zip":
            folder, source = source, source.with_suffix(".zip")
            with zipfile.ZipFile(source, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
                for file in sorted(folder.rglob("*")):
                    archive.write(file, file.relative_to(folder))
        s3.upload_file(str(source), *place.values())


def _create(cloud: CloudUnderTest, name: str, properties: Mapping[str, Any]) -> None:
    cloudformation = cloud.client("cloudformation")
    template = _resolved(cloud, properties["stackTemplateAssetObjectUrl"]).removeprefix("s3://")
    cloudformation.create_stack(
        StackName=name,
        TemplateURL=f"{cloud.endpoint}/{template}",
        Capabilities=["CAPABILITY_NAMED_IAM"],
        Tags=[{"Key": key, "Value": value} for key, value in properties.get("tags", {}).items()],
    )

    waiter = cloudformation.get_waiter("stack_create_complete")
    try:
        waiter.wait(StackName=name, WaiterConfig={"Delay": 1, "MaxAttempts": _WITHIN_S})
    except WaiterError:
        events = cloudformation.describe_stack_events(StackName=name)["StackEvents"]
        reasons = [event.get("ResourceStatusReason") for event in events]
        raise AssertionError(f"{name} was not created: {reasons}") from None


def _resolved(cloud: CloudUnderTest, text: str) -> str:
    return text.replace("${AWS::AccountId}", _ACCOUNT).replace("${AWS::Region}", cloud.running.region)
