"""`scar-launch --distributed`: the stack's state machine lists the files and sends their events."""

from __future__ import annotations

import json
import subprocess

import pytest

from tests.cloud.embedded import keys, until
from tests.cloud.launches.conftest import DISTRIBUTED, LAUNCH, WANTED, Deployed

pytestmark = pytest.mark.cloud


def launch(deployed: Deployed, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*LAUNCH, "-f", str(deployed.fdl), "-n", "distributed-copy", "--distributed", *arguments],
        env=deployed.cloud.environment(),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_each_file_is_processed_and_nothing_else(deployed: Deployed) -> None:
    done = launch(deployed, "--json")
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert (answer["status"], answer["sent"], answer["kept"], answer["unsent"]) == ("SUCCEEDED", 5, 0, 0)
    # Three markers, the picture, the empty file, and the one that was run before.
    assert (answer["listed"], answer["left_out"]) == (10, 6)
    out = {"out/"} | {f"out/{key.rpartition('/')[2]}" for key in WANTED}
    until(lambda: set(keys(deployed.cloud, DISTRIBUTED, "out/")), lambda found: found == out)


def test_what_it_tells_people(deployed: Deployed) -> None:
    done = launch(deployed, "--concurrency", "30")
    assert done.returncode == 0, done.stderr
    first, second, third = done.stdout.splitlines()
    assert first == "Sent 5 events to distributed-copy from AWS."
    assert second.startswith("Skipped: 5 keys (folder markers, empty files, names")
    assert third.startswith("Execution: arn:aws:states:")
    steps = deployed.cloud.client("stepfunctions")
    state = steps.describe_execution(executionArn=third.removeprefix("Execution: "))
    assert json.loads(state["input"]) == {"skip": f"{DISTRIBUTED}/in/a.txt", "concurrency": 2}


@pytest.mark.parametrize("option", ["--match=*", "--limit=1", "--wait", "--dry-run", "--rate=1/s"])
def test_options_of_launches_from_here_are_refused(deployed: Deployed, option: str) -> None:
    done = launch(deployed, option)
    assert done.returncode == 2
    assert f"{option.partition('=')[0]} and --distributed cannot be used together" in done.stderr


def test_a_stack_without_it_says_how_to_get_it(deployed: Deployed) -> None:
    cloud = deployed.cloud
    (stack,) = [
        found
        for found in cloud.client("cloudformation").describe_stacks()["Stacks"]
        if found["StackName"] == "launching"
    ]
    (output,) = [one for one in stack["Outputs"] if one["OutputKey"] == "ScarWorkflow"]
    functions = {one["name"]: one for one in json.loads(output["OutputValue"])["functions"]}
    machine = functions["distributed-copy"]["launch"]
    cloud.client("stepfunctions").delete_state_machine(stateMachineArn=machine)
    done = launch(deployed)
    assert done.returncode == 2
    assert (
        "The stack launching has no state machine for a distributed launch of distributed-copy" in done.stderr
    )
    assert f"scar init -f {deployed.fdl} -c distributed_launch=true" in done.stderr
