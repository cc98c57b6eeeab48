"""`scar init`, `update`, `diff` and `rm`, on a cloud of their own: `rm -a` deletes all that there is."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import pytest

from local_cloud.cloud import Cloud
from scar_cli.commands.init import refuse_what_is_taken
from scar_cli.deployment.cdk import SynthesizedStack
from scar_cli.errors import UserError
from tests import examples
from tests.cloud.embedded import CloudUnderTest, make_function
from tests.cloud.scar_command import Scar, registry

pytestmark = pytest.mark.cloud

KEPT = "deploying-kept"
SECRET = "never-to-be-shown-4711"
FDL = f"""functions:
  aws:
  - lambda:
      name: by-flags
      memory: 256
      timeout: 45
      init_script: hello.sh
      environment: {{Variables: {{TOKEN: {SECRET}}}}}
      container: {{image: "busybox:1.37", environment: {{Variables: {{WHOM: you}}}}}}
      output:
      - {{storage_provider: s3, path: {KEPT}/out}}
      - {{storage_provider: minio.lab, path: lab/out}}
storage_providers:
  minio: {{lab: {{endpoint: "https://minio.example.org", access_key: lab, secret_key: {SECRET}}}}}
"""


@dataclass(frozen=True)
class Deploying:
    """The command, and the folder of the files that it deploys."""

    scar: Scar
    folder: Path


@pytest.fixture(scope="module")
def deploying(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deploying]:
    if not examples.busybox_layers():
        pytest.skip("a static busybox is needed (Debian: apt install busybox-static)")
    folder = tmp_path_factory.mktemp("deploying")
    embedded = Cloud(folder / "cloud")
    cloud = CloudUnderTest(embedded, embedded.start(tied=True))
    cloud.client("s3").create_bucket(Bucket=KEPT)
    (folder / "hello.sh").write_text('#!/bin/sh\necho "hello $WHOM"\n')
    (folder / "by-flags.yaml").write_text(FDL)
    yield Deploying(Scar(cloud, registry(folder)), folder)
    embedded.stop()


def stack_without_synthesis(
    scar: Scar, name: str, *functions: str, queue: str = "http://none", **more: str
) -> None:
    """A stack as ours are to CloudFormation, made at once."""
    told = [
        {
            "name": function,
            "mode": "lambda",
            "log_group": f"/aws/lambda/{function}",
            "failure_queue_url": queue,
            **more,
        }
        for function in functions
    ]
    template = {
        "Description": f"SCAR workflow {name}: files in buckets",
        "Resources": {"Queue": {"Type": "AWS::SQS::Queue"}},
        "Outputs": {"ScarWorkflow": {"Value": json.dumps({"functions": told, "buckets": [KEPT]})}},
    }
    scar.cloud.client("cloudformation").create_stack(StackName=name, TemplateBody=json.dumps(template))


def test_a_function_from_flags_is_deployed_compared_changed_and_deleted(deploying: Deploying) -> None:
    scar, folder = deploying.scar, deploying.folder
    flags = ("-n", "by-flags", "-i", "busybox:1.37", "-s", str(folder / "hello.sh"), "-m", "192", "-t", "45")
    more = (
        "-e",
        "WHOM=you",
        "-le",
        f"TOKEN={SECRET}",
        "-ob",
        f"{KEPT}/out",
        "-sv",
        "1.5.4",
        "-c",
        scar.mirrors,
    )
    made = scar.process("init", *flags, *more, answers="y\n")
    assert "by-flags in us-east-1 is new" in made.stdout
    assert "is outside the FDL file's folder" not in made.stderr, "the user has named the script"
    assert "function  by-flags" in made.stdout
    assert f"Functions/by-flags/Role may s3:AbortMultipartUpload, s3:PutObject on {KEPT}/out/*" in made.stdout
    assert "Deploy by-flags?" in made.stderr
    assert "by-flags is deployed. To run it:  scar run -n by-flags" in made.stdout
    (function,) = scar.json("ls", "-n", "by-flags")["Functions"]
    assert (function["Memory"], function["Timeout"]) == (192, 45)
    assert scar("run", "-n", "by-flags").stdout == "hello you\n"

    resources = scar.cloud.client("cloudformation").list_stack_resources(StackName="by-flags")
    owned = {(one["ResourceType"], one["PhysicalResourceId"]) for one in resources["StackResourceSummaries"]}
    assert ("AWS::S3::Bucket", KEPT) not in owned, "a bucket of before belongs to no stack"

    other = folder / "other.yaml"
    other.write_text(FDL)
    for verb in (("ls",), ("rm", "-y")):
        refused = scar(*verb, "-f", str(other), code=2).stderr
        assert "by-flags is deployed, but by another FDL file (by-flags), as the stack by-flags" in refused

    fdl = str(folder / "by-flags.yaml")
    compared = scar.process("diff", "-f", fdl, "-c", scar.mirrors, "--fail", "-j", code=1)
    (stack,) = json.loads(compared.stdout)["Stacks"]
    changed = {one["Name"]: one["Details"] for one in stack["Resources"] if one["Change"] == "~"}
    assert "MemorySize: 192 → 256" in changed["by-flags"]
    assert scar.json("ls", "-n", "by-flags")["Functions"][0]["Memory"] == 192, "nothing is changed"

    updated = scar.process("update", "-f", fdl, "-c", scar.mirrors, "-y", "-v", "-j", "--refresh-images")
    assert "The tags of all images are resolved again" in updated.stderr
    stack = scar.cloud.client("cloudformation").describe_stacks(StackName="by-flags")["Stacks"][0]
    values = {one["ParameterKey"]: one["ParameterValue"] for one in stack["Parameters"]}
    assert values["RefreshImages"].startswith("20")
    (function,) = json.loads(updated.stdout)["Functions"]
    assert (function["Name"], function["Memory"]) == ("by-flags", 256)
    assert "IAM Statement Changes" in updated.stderr, "-v is the cdk's own comparison"
    shown = [
        scar("ls", "-v"),
        scar("log", "-n", "by-flags"),
        scar("run", "-n", "by-flags", "-v", "true", code=None),
    ]
    assert SECRET not in str([made, compared, updated, *shown])
    assert "TOKEN" in shown[0].stdout

    assert "Nothing was changed" in scar.process("rm", "-n", "by-flags", answers="n\n", code=1).stderr
    removed = scar.process("rm", "-f", fdl, "-y", "-v", "-j")
    assert json.loads(removed.stdout) == {
        "Deleted": [
            {"Stack": "by-flags", "Region": "us-east-1", "Functions": ["by-flags"], "Failed_events": 0}
        ],
        "Kept_buckets": [KEPT],
    }
    assert "AWS::Lambda::Function" in removed.stderr
    assert SECRET not in removed.stderr
    assert "No function named by-flags is deployed" in scar("run", "-n", "by-flags", code=2).stderr


def test_rm_deletes_nothing_that_was_not_meant(deploying: Deploying) -> None:
    scar = deploying.scar
    stack_without_synthesis(scar, "pair", "one", "two")
    assert "is deployed together with two" in scar("rm", "-n", "one", "-y", code=2).stderr
    assert "Exactly one of" in scar("rm", code=2).stderr
    assert "No stack none with a workflow was found" in scar("rm", "--stack", "none", "-y", code=2).stderr
    asked = scar.process("rm", "-a", code=2)
    assert "pair in us-east-1: one, two" in asked.stderr
    assert "Use -y" in asked.stderr
    assert scar.json("ls", "-n", "one")["Functions"]


def test_rm_deletes_a_function_that_is_alone_by_its_name(deploying: Deploying) -> None:
    stack_without_synthesis(deploying.scar, "alone", "solo")
    assert deploying.scar("rm", "-n", "solo", "-y").stdout.startswith("Deleted alone.\n")
    assert (
        "No stack alone with a workflow was found" in deploying.scar("ls", "--stack", "alone", code=2).stderr
    )


def test_rm_tells_and_counts_failed_events_that_are_deleted_with_a_queue(deploying: Deploying) -> None:
    scar = deploying.scar
    sqs = scar.cloud.client("sqs")
    queue = sqs.create_queue(QueueName="holding")["QueueUrl"]
    for number in range(2):
        sqs.send_message(QueueUrl=queue, MessageBody=str(number))
    s3 = scar.cloud.client("s3")
    s3.create_bucket(Bucket="events-of-failing")
    s3.put_object(Bucket="events-of-failing", Key="event.json.gz", Body=b"of a job")
    stack_without_synthesis(scar, "failing", "fails", queue=queue, event_bucket="events-of-failing")
    asked = scar.process("rm", "-n", "fails", answers="\n", code=1).stderr
    assert "The failure queue of fails holds 2 failed events, and is deleted, too." in asked
    assert "Nothing was changed" in asked
    assert scar("rm", "-n", "fails", "-y").stdout.startswith("Deleted failing with 2 failed events.\n")
    assert not sqs.list_queues(QueueNamePrefix="holding").get("QueueUrls")
    assert "events-of-failing" not in {bucket["Name"] for bucket in s3.list_buckets()["Buckets"]}


def test_rm_with_a_file_needs_none_of_its_variables(deploying: Deploying) -> None:
    stack_without_synthesis(deploying.scar, "several-providers", "pack-and-report")
    fdl = examples.fdl_of(examples.EXAMPLES / "several-providers")
    assert "LAB_MINIO_SECRET_KEY" not in os.environ
    said = deploying.scar("rm", "-f", str(fdl), "-y")
    assert said.stdout == f"Deleted several-providers.\nKept with their files: {KEPT}\n"


def test_rm_a_deletes_all_stacks_of_workflows_and_no_others(deploying: Deploying) -> None:
    scar = deploying.scar
    cloudformation = scar.cloud.client("cloudformation")
    stack_without_synthesis(scar, "left", "f")
    stack_without_synthesis(scar, "right", "g")
    template = {"Resources": {"Queue": {"Type": "AWS::SQS::Queue"}}}
    cloudformation.create_stack(StackName="not-ours", TemplateBody=json.dumps(template))
    deleted = json.loads(scar.process("rm", "-a", "-y", "-j").stdout)["Deleted"]
    assert {"left", "right"} <= {one["Stack"] for one in deleted}
    assert "No workflow is deployed here" in scar("rm", "-a").stderr
    assert scar.json("ls") == {"Functions": []}
    assert cloudformation.describe_stacks(StackName="not-ours")["Stacks"]


def test_a_function_s_name_that_is_taken_is_said_before_anything_is_deployed(deploying: Deploying) -> None:
    scar = deploying.scar
    stack_without_synthesis(scar, "theirs", "shared")
    make_function(scar.cloud, "of-scar-itself", "def handle(event, context): pass")

    def refusal(name: str) -> str:
        template = {
            "Resources": {"F": {"Type": "AWS::Lambda::Function", "Properties": {"FunctionName": name}}}
        }
        with mock.patch.dict(os.environ, scar.environment()), pytest.raises(UserError) as caught:
            refuse_what_is_taken([SynthesizedStack("mine", None, (), template)])
        return str(caught.value)

    assert "shared is already deployed by the stack theirs of another FDL file (theirs)" in refusal("shared")
    assert "function of-scar-itself already exists, and no stack of scar contains it" in refusal(
        "of-scar-itself"
    )
    scar("rm", "--stack", "theirs", "-y")
