"""The state machine of distributed launches, on functions that do not run. (`launches` has it in a stack.)"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from fdl_schemas.model import StorageEntry
from scar_cli.aws.failure_queues import event_of
from scar_constructs.launch.states import launch_states
from tests.cloud.embedded import CloudUnderTest, any_role, make_function, until

pytestmark = pytest.mark.cloud


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
