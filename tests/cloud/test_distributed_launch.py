"""`scar-launch --distributed`: the stack's state machine lists the files and sends their events."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from fdl_schemas.model import StorageEntry
from scar_cli.retry import event_of
from scar_constructs.distributed_launch_states import launch_states
from tests import examples, oci_images
from tests.cloud.embedded import SCAR, CloudUnderTest, any_role, keys, make_function, until

pytestmark = pytest.mark.cloud

LAUNCH = [sys.executable, "-c", "from scar_cli.launch import main; main()"]
BUCKET = "distributed-files"
SCRIPT = '#!/bin/sh\ncp -- "$INPUT_FILE_PATH" "$TMP_OUTPUT_DIR/"\n'
FDL = f"""functions:
  aws:
  - lambda:
      name: distributed-copy
      timeout: 60
      init_script: copy.sh
      container: {{image: "busybox:1.37"}}
      input:
        - {{storage_provider: s3, path: {BUCKET}/in, suffix: .txt}}
        - {{storage_provider: s3, path: {BUCKET}/more}}
      output: [{{storage_provider: s3, path: {BUCKET}/out}}]
"""
WANTED = ("in/a.txt", "in/b b+c%.txt", "in/deep/ü 😀.txt", "in/x'\"$(id)!*~()&=?#.txt", "more/d.jpg")
OTHERS = ("in/", "in/deep/", "in/picture.jpg", "elsewhere/e.txt", "in.txt")


@dataclass(frozen=True)
class Deployed:
    """The stack, whose bucket held the files before."""

    cloud: CloudUnderTest
    fdl: Path

    def launch(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*LAUNCH, "-f", str(self.fdl), "--distributed", *arguments],
            env=self.cloud.environment(),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )


def deploy(cloud: CloudUnderTest, fdl: Path, *context: str) -> None:
    words = [word for value in context for word in ("-c", value)]
    done = subprocess.run(
        [*SCAR, "init", "-f", str(fdl), "-y", *words],
        env=cloud.environment(),
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def deployed(cloud: CloudUnderTest, tmp_path_factory: pytest.TempPathFactory) -> Deployed:
    if not examples.busybox_layers():
        pytest.skip("a static busybox is needed (Debian: apt install busybox-static)")
    folder = tmp_path_factory.mktemp("distributed")
    oci_images.write_layout(folder / "docker.io" / "library" / "busybox", {"1.37": examples.busybox_image()})
    (folder / "copy.sh").write_text(SCRIPT)
    fdl = folder / "distributed.yaml"
    fdl.write_text(FDL)
    s3 = cloud.client("s3")
    s3.create_bucket(Bucket=BUCKET)
    for key in WANTED:
        s3.put_object(Bucket=BUCKET, Key=key, Body=key.encode())
    for key in (*OTHERS, "in/empty.txt"):
        s3.put_object(Bucket=BUCKET, Key=key, Body=b"" if key.endswith(("/", "empty.txt")) else b"1")
    deploy(cloud, fdl, f"registry_mirrors=docker.io=file://{folder / 'docker.io'}", "distributed_launch=true")
    return Deployed(cloud, fdl)


def test_each_file_is_processed_and_nothing_else(deployed: Deployed) -> None:
    done = deployed.launch("--json")
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert (answer["status"], answer["sent"], answer["kept"], answer["unsent"]) == ("SUCCEEDED", 5, 0, 0)
    # Three markers, the picture, the empty file, and the one that was run before.
    assert (answer["listed"], answer["left_out"]) == (10, 6)
    out = {"out/"} | {f"out/{key.rpartition('/')[2]}" for key in WANTED}
    until(lambda: set(keys(deployed.cloud, BUCKET, "out/")), lambda found: found == out)


def test_what_it_tells_people(deployed: Deployed) -> None:
    done = deployed.launch("--concurrency", "30")
    assert done.returncode == 0, done.stderr
    first, second, third = done.stdout.splitlines()
    assert first == "Sent 5 events to distributed-copy from AWS."
    assert second.startswith("Left out: 5 keys (markers of folders, empty files, names")
    assert third.startswith("Execution: arn:aws:states:")
    steps = deployed.cloud.client("stepfunctions")
    state = steps.describe_execution(executionArn=third.removeprefix("Execution: "))
    assert json.loads(state["input"]) == {"skip": f"{BUCKET}/in/a.txt", "concurrency": 2}


@pytest.mark.parametrize("option", ["--match=*", "--limit=1", "--wait", "--dry-run", "--rate=1/s"])
def test_options_of_launches_from_here_are_refused(deployed: Deployed, option: str) -> None:
    done = deployed.launch(option)
    assert done.returncode == 2
    assert f"{option.partition('=')[0]} is for launches from this machine" in done.stderr


def test_a_stack_without_it_says_how_to_get_it(deployed: Deployed) -> None:
    cloud = deployed.cloud
    (stack,) = [
        found
        for found in cloud.client("cloudformation").describe_stacks()["Stacks"]
        if found["StackName"] == "distributed"
    ]
    (output,) = [one for one in stack["Outputs"] if one["OutputKey"] == "ScarWorkflow"]
    machine = json.loads(output["OutputValue"])["functions"][0]["launch"]
    cloud.client("stepfunctions").delete_state_machine(stateMachineArn=machine)
    done = deployed.launch()
    assert done.returncode == 2
    assert (
        "The stack distributed has no state machine for a distributed launch of distributed-copy"
        in done.stderr
    )
    assert f"scar init -f {deployed.fdl} -c distributed_launch=true" in done.stderr


# The state machine alone, on a function that does not run.


def machine_for(
    cloud: CloudUnderTest, name: str, function_arn: str, *, patient: bool
) -> tuple[Any, str, str]:
    """Step Functions, the state machine of a launch of `BUCKET-alone`, and the URL of the failure queue."""
    s3 = cloud.client("s3")
    s3.create_bucket(Bucket=name)
    for number in range(30):
        s3.put_object(Bucket=name, Key=f"in/{number} ü", Body=b"1")
    url = cloud.client("sqs").create_queue(QueueName=name)["QueueUrl"]
    states = launch_states(
        [StorageEntry(name, "in")],
        function_name=name,
        function_arn=function_arn,
        failure_queue_url=url,
        region=cloud.running.region,
        partition="aws",
    )
    definition = json.dumps(states)
    if patient:  # as if Lambda was too busy all the time
        definition = definition.replace("Lambda.TooManyRequestsException", "Lambda.ResourceNotFoundException")
        definition = definition.replace('"MaxAttempts": 5', '"MaxAttempts": 0')
    steps = cloud.client("stepfunctions")
    machine = steps.create_state_machine(name=name, definition=definition, roleArn=any_role(cloud))
    return steps, machine["stateMachineArn"], url


def ended(steps: Any, machine: str) -> dict[str, Any]:
    arn = steps.start_execution(stateMachineArn=machine, input="{}")["executionArn"]
    state: dict[str, Any] = until(
        lambda: steps.describe_execution(executionArn=arn), lambda found: found["status"] != "RUNNING", 60
    )
    return state


def test_an_event_that_lambda_does_not_take_is_kept_for_retry(cloud: CloudUnderTest) -> None:
    missing = f"arn:aws:lambda:{cloud.running.region}:000000000000:function:is-not-there"
    steps, machine, url = machine_for(cloud, "launch-kept", missing, patient=True)
    state = ended(steps, machine)
    assert state["status"] == "SUCCEEDED", state
    assert json.loads(state["output"]) == {"kept": 30, "left_out": 0}
    (message,) = cloud.client("sqs").receive_message(QueueUrl=url)["Messages"]
    event = event_of(message["Body"], lambda uri: uri.encode())
    assert isinstance(event, dict)
    assert event["Records"][0]["s3"]["object"]["key"].startswith("in/")
    assert "not found" in json.loads(message["Body"])["responsePayload"]["errorMessage"]


def test_a_launch_of_a_function_that_is_gone_fails(cloud: CloudUnderTest) -> None:
    missing = f"arn:aws:lambda:{cloud.running.region}:000000000000:function:is-not-there"
    steps, machine, _url = machine_for(cloud, "launch-gone", missing, patient=False)
    state = ended(steps, machine)
    assert (state["status"], state["error"]) == ("FAILED", "States.ExceedToleratedFailureThreshold")


def test_many_files_go_in_batches_and_each_is_counted(cloud: CloudUnderTest, tmp_path: Path) -> None:
    witness = tmp_path / "witness"
    source = f"""
import json
def handle(event, context):
    with open({str(witness)!r}, "a") as witness:
        witness.write(event["Records"][0]["s3"]["object"]["key"] + "\\n")
"""
    arn = make_function(cloud, "launch-many", source, Timeout=30)
    steps, machine, _url = machine_for(cloud, "launch-many", arn, patient=False)
    state = ended(steps, machine)
    assert state["status"] == "SUCCEEDED", state
    (run,) = steps.list_map_runs(executionArn=state["executionArn"])["mapRuns"]
    counts = steps.describe_map_run(mapRunArn=run["mapRunArn"])
    assert (counts["itemCounts"]["total"], counts["executionCounts"]["total"]) == (30, 1)
    lines = until(
        lambda: witness.read_text().splitlines() if witness.exists() else [], lambda one: len(one) >= 30
    )
    assert sorted(lines) == sorted(f"in/{number}%20%C3%BC" for number in range(30))
