"""The example of a CDK app with two `ScarWorkflow`s and resources of its own, deployed and run for real."""

from __future__ import annotations

import hashlib
import json
import subprocess
from pathlib import Path

import pytest
from botocore.exceptions import ClientError

from tests import examples
from tests.cloud.cdk_cli import CDK
from tests.cloud.embedded import CloudUnderTest, keys, until
from tests.cloud.scar_command import Scar, registry
from tests.linting import lint

pytestmark = pytest.mark.cloud

APP = examples.EXAMPLES / "own-cdk-app"


def deploy(cloud: CloudUnderTest, output: Path, *words: str) -> None:
    done = subprocess.run(
        [CDK, "deploy", "--require-approval", "never", *words, "--output", str(output)],
        cwd=APP,
        env={**cloud.environment(), "NO_COLOR": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stdout


def body(cloud: CloudUnderTest, bucket: str, key: str) -> bytes:
    until(lambda: keys(cloud, bucket, key), within_s=90)
    return bytes(cloud.client("s3").get_object(Bucket=bucket, Key=key)["Body"].read())


def test_two_workflows_in_a_stack_of_another_app(cloud: CloudUnderTest, tmp_path: Path) -> None:
    if not examples.busybox_layers():
        pytest.skip("a static busybox is needed (Debian: apt install busybox-static)")
    scar = Scar(cloud, registry(tmp_path))
    deploy(cloud, tmp_path / "cdk.out", "-c", scar.mirrors)
    # W3005 is about what the CDK itself writes for every role: here, and in any other app.
    template = tmp_path / "cdk.out" / "library.template.json"
    assert lint(template, "W3005") == []

    # The app's own function may upload, by what the workflows have granted.
    event = json.dumps({"name": "a.txt", "text": "one two three\n"})
    answer = cloud.client("lambda").invoke(FunctionName="library-upload", Payload=event)
    assert "FunctionError" not in answer, answer["Payload"].read()
    assert body(cloud, "library-texts", "counts/a.txt.count") == b"3\n"
    checksum = hashlib.sha256(b"one two three\n").hexdigest()
    assert body(cloud, "library-files-library", "checksums/a.txt.sha256").decode() == f"{checksum}  -\n"

    listed = {one["Name"]: one for one in scar.json("ls", "--stack", "library")["Functions"]}
    assert {name: one["Stage"] for name, one in listed.items()} == {
        "count-words-of-library": None,
        "checksum-file-library": "library",
    }
    assert listed["checksum-file-library"]["Outputs"] == ["library-files-library/checksums"]
    words = str(APP / "workflows" / "words.yaml")
    assert [one["Name"] for one in scar.json("ls", "-f", words)["Functions"]] == ["count-words-of-library"]
    ran = scar("run", "-n", "checksum-file", "--stage", "library", "echo", "hi").stdout
    assert ran == "hi\n"
    refused = scar("rm", "-f", words, "-y", code=2).stderr
    assert "The stack library belongs to another CDK app. Delete it with that app: cdk destroy" in refused

    cloudformation = cloud.client("cloudformation")  # as `cdk destroy` does it
    cloudformation.delete_stack(StackName="library")
    cloudformation.get_waiter("stack_delete_complete").wait(StackName="library", WaiterConfig={"Delay": 1})
    for bucket in ("library-texts", "library-files-library"):
        with pytest.raises(ClientError, match="404"):
            cloud.client("s3").head_bucket(Bucket=bucket)
