"""`-c distributed_launch=true`: the state machine of each function that reads from S3.

(What linters say of it: `test_everything`.)
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any
from urllib.parse import unquote_plus

import jsonata  # type: ignore[import-untyped]
import pytest

from fdl_schemas.model import ExecutionMode, StorageEntry, Workflow
from scar_cli.launch.distributed import EVENTS_IN_A_BATCH
from scar_constructs.deployment import Deployment, DeploymentError
from scar_constructs.launch.distributed_launch import launchable
from scar_constructs.launch.states import AT_ONCE_IN_A_BATCH, launch_states, wanted
from tests.synth.synthesized import Synthesize, Synthesized


@pytest.fixture(scope="module")
def launched(synthesize: Synthesize, rich_workflow: Workflow) -> Synthesized:
    return synthesize(rich_workflow, distributed_launch=True)


def test_every_function_that_reads_from_s3_has_one(launched: Synthesized) -> None:
    names = {
        found["StateMachineName"] for found in launched.of_type("AWS::StepFunctions::StateMachine").values()
    }
    assert names == {
        f"scar-launch-{name}" for name in ("filtered", "whole_bucket", "from_file", "given_role")
    }


def test_a_function_in_batch_mode_has_none(rich_workflow: Workflow) -> None:
    (function,) = [one for one in rich_workflow.functions if one.name == "from_file"]
    assert launchable(function) == function.inputs
    assert launchable(replace(function, execution_mode=ExecutionMode.BATCH)) == ()


def test_none_is_made_if_nobody_asks(rich: Synthesized) -> None:
    assert rich.of_type("AWS::StepFunctions::StateMachine") == {}


def test_the_output_names_it(launched: Synthesized) -> None:
    text = str(launched.template["Outputs"]["ScarWorkflow"]["Value"])
    assert text.count('"launch":"') == 4


def test_its_role_may_do_nothing_else(launched: Synthesized) -> None:
    statements = launched.statements("filteredLaunchRole")
    actions = {action for one in statements if one["Resource"] != "*" for action in as_list(one["Action"])}
    assert actions == {
        "s3:ListBucket",
        "lambda:InvokeFunction",
        "sqs:SendMessage",
        "states:StartExecution",
        "states:DescribeExecution",
        "states:StopExecution",
        "states:RedriveExecution",
    }
    everywhere = [action for one in statements if one["Resource"] == "*" for action in as_list(one["Action"])]
    assert all(action.startswith("logs:") for action in everywhere)
    (listing,) = [one for one in statements if one["Action"] == "s3:ListBucket"]
    assert listing["Condition"] == {"StringEquals": {"s3:prefix": ["pictures/", "words/"]}}
    (whole,) = [
        one for one in launched.statements("wholebucketLaunchRole") if one["Action"] == "s3:ListBucket"
    ]
    assert "Condition" not in whole


@pytest.mark.parametrize(("value", "meant"), [("true", True), ("false", False), (True, True), (None, False)])
def test_context(value: object, meant: bool) -> None:
    context = {"fdl": "a.yaml", "distributed_launch": value}
    assert Deployment.from_context(context).distributed_launch is meant


def test_another_value_is_refused() -> None:
    with pytest.raises(DeploymentError, match="distributed_launch=yes: expected `true` or `false`"):
        Deployment.from_context({"fdl": "a.yaml", "distributed_launch": "yes"})


# The expressions, as Step Functions' engine evaluates them (a port of the same one).


def chosen(
    entry: StorageEntry, key: str, *before: StorageEntry, skip: str | None = None, size: int = 1
) -> bool:
    execution = {"Input": {} if skip is None else {"skip": skip}}
    context = {"Map": {"Item": {"Value": {"Key": key, "Size": size}}}, "Execution": execution}
    return bool(evaluated(wanted(entry, before), context=context))


def evaluated(expression: str, **states: Any) -> Any:
    return jsonata.Jsonata.jsonata(expression).evaluate(None, {"states": states})


@pytest.mark.parametrize(
    ("entry", "key", "meant"),
    [
        (StorageEntry("b", "in"), "in/", False),
        (StorageEntry("b", "in"), "in/deep/", False),
        (StorageEntry("b", "in"), "in/deep/ü+ %.txt", True),
        (StorageEntry("b"), "at-the-top", True),
        (StorageEntry("b", "in", suffixes=(".jpg", ".png")), "in/a.png", True),
        (StorageEntry("b", "in", suffixes=(".jpg", ".png")), "in/png", False),
        (StorageEntry("b", "in", prefixes=("x", 'q"{%\\')), 'in/y/q"{%\\.txt', True),
        (StorageEntry("b", "in", prefixes=("x",)), "in/x/y.txt", False),
        (StorageEntry("b", "in", prefixes=("x",), suffixes=("z", "😀")), "in/xy😀", True),
        (StorageEntry("b", "in", prefixes=("x",), suffixes=("z",)), "in/xy", False),
        (StorageEntry("b", "in", suffixes=("", ".jpg")), "in/any", True),
    ],
)
def test_markers_and_other_names_are_left_out(entry: StorageEntry, key: str, meant: bool) -> None:
    assert chosen(entry, key) is meant


def test_empty_objects_are_left_out_as_by_the_runner() -> None:
    assert not chosen(StorageEntry("b", "in"), "in/a", size=0)


def test_the_file_that_has_been_run_is_left_out() -> None:
    assert not chosen(StorageEntry("b", "in"), "in/a", skip="b/in/a")
    assert chosen(StorageEntry("b", "in"), "in/a", skip="other/in/a")


def test_folders_inside_each_other_send_a_file_once() -> None:
    outer, inner = StorageEntry("b", "in"), StorageEntry("b", "in/deep", suffixes=(".txt",))
    assert chosen(outer, "in/deep/a.txt")
    assert not chosen(inner, "in/deep/a.txt", outer)
    assert not chosen(outer, "in/deep/a.txt", inner)
    assert chosen(outer, "in/deep/a.jpg", inner)


@pytest.mark.parametrize("key", ["in/a b+c.txt", "in/100%/ü/😀.txt", "in/x'\"$(id)!*~()&=?#.txt"])
def test_keys_are_encoded_so_that_the_runner_finds_them(key: str) -> None:
    batch = states_of("in")["States"]["Folder0"]["ItemProcessor"]["States"]["Batch"]
    event = batch["ItemProcessor"]["States"]["Event"]["Output"]
    file = {"key": key, "size": 3, "etag": "e", "launch": "run 1"}

    def filled(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: filled(content) for name, content in value.items()}
        if isinstance(value, list):
            return [filled(content) for content in value]
        return evaluated(value[2:-2], input=file) if str(value).startswith("{%") else value

    (record,) = filled(event)["Records"]
    assert record["s3"]["bucket"] == {"name": "bucket", "arn": "arn:aws:s3:::bucket"}
    assert unquote_plus(record["s3"]["object"]["key"], errors="strict") == key  # as the runner does
    assert re.fullmatch("[!-~]+", record["s3"]["object"]["key"])
    assert record["s3"]["object"]["sequencer"] == "run 1"  # another launch runs functions with `once` again


@pytest.mark.parametrize(
    ("results", "before", "kept", "left_out"),
    [
        ([], {}, 0, 0),
        ([7], {}, 0, 7),
        ([3000], {"kept": 1, "left_out": 2}, 4, 2),
        ([1250, 250, 0], {}, 1, 500),
    ],
)
def test_the_results_of_batches_are_added_up(
    results: list[int], before: dict[str, int], kept: int, left_out: int
) -> None:
    output = states_of("in")["States"]["Folder0"]["Output"]
    found = {name: evaluated(text[2:-2], input=before, result=results) for name, text in output.items()}
    assert found == {"kept": kept, "left_out": left_out}


def test_a_whole_bucket_is_listed_without_a_prefix() -> None:
    assert states_of("")["States"]["Folder0"]["ItemReader"]["Arguments"] == {"Bucket": "bucket"}


def test_the_command_line_knows_how_many_a_batch_sends_at_once() -> None:
    assert EVENTS_IN_A_BATCH == AT_ONCE_IN_A_BATCH


def states_of(folder: str) -> dict[str, Any]:
    return launch_states(
        [StorageEntry("bucket", folder)],
        function_name="f",
        function_arn="arn:f",
        failure_queue_url="https://queue",
        region="us-east-1",
        partition="aws",
    )


def as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
