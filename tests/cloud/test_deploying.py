"""Deploying, previewing, deploying again, destroying, and deploying over what is left, with the real cdk."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.cloud.cdk_cli import Cdk
from tests.cloud.embedded import CloudUnderTest
from tests.examples import busybox_image
from tests.oci_images import docker_save

pytestmark = pytest.mark.cloud

FDL = """functions:
  aws:
    - lambda:
        name: kept-function
        memory: {memory}
        init_script: script.sh
        container: {{image_file: busybox.tar}}
        input: [{{storage_provider: s3, path: kept-bucket/in}}]
        output: [{{storage_provider: s3, path: kept-bucket/out}}]
"""


def write(folder: Path, memory: int = 512) -> Path:
    (folder / "script.sh").write_text("#!/bin/sh\n")
    docker_save(folder / "busybox.tar", busybox_image())
    file = folder / "kept.yaml"
    file.write_text(FDL.format(memory=memory))
    return file


@pytest.mark.timeout(600)
def test_life_of_a_stack(cloud: CloudUnderTest, tmp_path: Path) -> None:
    cdk = Cdk(cloud.environment(), tmp_path / "cdk.out")
    s3 = cloud.client("s3")
    cloudformation = cloud.client("cloudformation")
    file = write(tmp_path)

    cdk("deploy", file)
    s3.put_object(Bucket="kept-bucket", Key="data/precious.txt", Body=b"precious")
    assert "\nThere were no differences" in cdk("diff", file).stdout_and_stderr

    changed = cdk("diff", write(tmp_path, memory=1024)).stdout_and_stderr
    lines = [line.strip(" │├└─") for line in changed.splitlines() if re.match(r"[ │├└─]*\[[~+-]]", line)]
    assert lines[0].startswith("[~] AWS::Lambda::Function ")
    assert lines[1:] == ["[~] MemorySize", "[-] 512", "[+] 1024"]

    write(tmp_path)
    before = cloudformation.describe_stacks(StackName="kept")["Stacks"][0]
    assert "(no changes)" in cdk("deploy", file).stdout_and_stderr
    after = cloudformation.describe_stacks(StackName="kept")["Stacks"][0]
    assert after.get("LastUpdatedTime") == before.get("LastUpdatedTime")

    cdk("destroy", file)
    kept = s3.get_object(Bucket="kept-bucket", Key="data/precious.txt")["Body"].read()
    assert kept == b"precious"

    failed = cdk("deploy", file, check=False)
    assert failed.returncode != 0, "the bucket is there already, and nobody said so"
    cdk("deploy", file, existing_buckets="kept-bucket")
    assert s3.get_object(Bucket="kept-bucket", Key="data/precious.txt")["Body"].read() == b"precious"
    notifications = s3.get_bucket_notification_configuration(Bucket="kept-bucket")
    assert len(notifications["LambdaFunctionConfigurations"]) == 1
    cdk("destroy", file, existing_buckets="kept-bucket")
    assert s3.get_object(Bucket="kept-bucket", Key="data/precious.txt")["Body"].read() == b"precious"
    assert "LambdaFunctionConfigurations" not in s3.get_bucket_notification_configuration(
        Bucket="kept-bucket"
    )
