"""What `-f`, `-n`, `--stack` and `--stage` select among the stacks, and how stacks are read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from click.testing import CliRunner

from scar_cli.aws import deployed
from scar_cli.aws.deployed import DeployedFunction, DeployedStack, selected, selected_stacks
from scar_cli.commands import rm, status
from scar_cli.errors import UserError

FDL = "functions: {aws: [{lambda: {name: f, container: {image: busybox}}}]}\n"


def stack(name: str, workflow: str, *functions: str, stage: str | None = None, **more: Any) -> DeployedStack:
    return DeployedStack(
        name,
        "us-east-1",
        "CREATE_COMPLETE",
        workflow,
        tuple(
            DeployedFunction(one, name, "us-east-1", "lambda", f"/aws/lambda/{one}", "queue", stage=stage)
            for one in functions
        ),
        (),
        stage,
        **more,
    )


@pytest.fixture
def fdl(tmp_path: Path) -> str:
    file = tmp_path / "w.yaml"
    file.write_text(FDL)
    return str(file)


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> list[DeployedStack]:
    """What is deployed; tests add to it."""
    found: list[DeployedStack] = []
    monkeypatch.setattr(deployed, "stacks", lambda _regions=(None,): found)
    return found


def names(functions: list[DeployedFunction]) -> list[str]:
    return [function.name for function in functions]


def test_each_stage_is_selected_alone(here: list[DeployedStack], fdl: str) -> None:
    here += [
        stack("w", "w", "f"),
        stack("w-dev", "w", "f-dev", stage="dev"),
        stack("other", "other", "x-dev"),
    ]
    assert names(selected(fdl, None)) == ["f"]
    assert names(selected(fdl, None, None, "dev")) == ["f-dev"]
    assert names(selected(fdl, "f", None, "dev")) == ["f-dev"]
    assert names(selected(None, "f", None, "dev")) == ["f-dev"]
    assert names(selected(None, "f-dev")) == ["f-dev"]
    assert names(selected(None, None, "w", "dev")) == names(selected(None, None, "w-dev")) == ["f-dev"]
    assert names(selected(None, None, None, "dev")) == ["f-dev"]
    assert names(selected(None, None)) == ["f", "f-dev", "x-dev"]


def test_a_file_that_is_deployed_with_stages_only_is_not_selected_without(
    here: list[DeployedStack], fdl: str
) -> None:
    here += [stack("w-prod", "w", "f-prod", stage="prod"), stack("w-dev", "w", "f-dev", stage="dev")]
    with pytest.raises(UserError, match=r"not deployed without a stage.*dev, prod: add --stage dev"):
        selected(fdl, None)
    with pytest.raises(UserError, match=r"not deployed as stage qa.*init -f .* --stage qa"):
        selected(fdl, None, None, "qa")


def test_a_stack_whose_creation_failed_is_known_by_its_stage(fdl: str, here: list[DeployedStack]) -> None:
    def failed(description: str) -> list[DeployedStack]:
        tags = [{"Key": "createdby", "Value": "scar"}]
        told = {
            "StackName": "s",
            "StackStatus": "ROLLBACK_COMPLETE",
            "Description": description,
            "Tags": tags,
        }
        return deployed._read(told, "us-east-1")

    here += failed("SCAR workflow w (stage dev): files in buckets")
    here += failed("SCAR workflow w: files in buckets")
    assert [one.stage for one in selected_stacks(fdl)] == [None]
    assert [one.stage for one in selected_stacks(fdl, stage="dev")] == ["dev"]


def test_workflows_in_stacks_of_other_apps_are_found() -> None:
    def summary(name: str, **more: str) -> str:
        told = {"name": name, "mode": "lambda", "log_group": "g", "failure_queue_url": "q"}
        return json.dumps({**more, "functions": [told], "buckets": [f"{name}-bucket"]})

    found = deployed._read(
        {
            "StackName": "media",
            "StackStatus": "CREATE_COMPLETE",
            "Description": "Pictures and videos",
            "Outputs": [
                {"OutputKey": "ScarWorkflowUrl", "OutputValue": "https://example.org"},
                {"OutputKey": "ScarWorkflow0a1b2c3d", "OutputValue": summary("one", workflow="w")},
                {
                    "OutputKey": "ScarWorkflow4e5f6a7b",
                    "OutputValue": summary("two-dev", workflow="w2", stage="dev"),
                },
            ],
        },
        "us-east-1",
    )
    assert [(one.name, one.workflow, one.stage, one.is_foreign) for one in found] == [
        ("media", "w", None, True),
        ("media", "w2", "dev", True),
    ]
    assert [function.name for one in found for function in one.functions] == ["one", "two-dev"]
    assert deployed._read({"StackName": "x", "StackStatus": "CREATE_COMPLETE", "Outputs": []}, "r") == []


def test_functions_of_nested_stacks_belong_to_the_workflow_of_the_stack(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def listed(name: str, key: str, *functions: str, **more: str) -> dict[str, Any]:
        told = [
            {"name": one, "mode": "lambda", "log_group": "g", "failure_queue_url": "q"} for one in functions
        ]
        content = {"workflow": "w", "functions": told, "buckets": ["b"] if "ParentId" not in more else []}
        outputs = [{"OutputKey": key, "OutputValue": json.dumps(content)}]
        return {"StackName": name, "StackStatus": "CREATE_COMPLETE", "StackId": f"id-{name}", **more} | {
            "Outputs": outputs
        }

    pages = [
        {
            "Stacks": [
                listed("w-Part2-X", "ScarWorkflow", "d", ParentId="id-w"),
                listed("w", "ScarWorkflow", "a"),
            ]
        },
        {"Stacks": [listed("w-Part1-X", "ScarWorkflow", "b", "c", ParentId="id-w")]},
        {"Stacks": [listed("media", "ScarWorkflow0a1b2c3d", "e")]},
        {"Stacks": [listed("m-P", "ScarWorkflow0a1b2c3d", "f", ParentId="id-media")]},
        {"Stacks": [{"StackName": "theirs", "StackStatus": "CREATE_COMPLETE", "ParentId": "id-other"}]},
    ]
    cloudformation = mock.Mock()
    cloudformation.meta.region_name = "us-east-1"
    cloudformation.get_paginator.return_value.paginate.return_value = pages
    monkeypatch.setattr(deployed, "client", lambda _service, region: cloudformation)
    found = deployed.stacks()
    assert [(one.name, [function.name for function in one.functions], one.buckets) for one in found] == [
        ("media", ["e", "f"], ("b",)),
        ("w", ["a", "b", "c", "d"], ("b",)),
    ]
    assert {function.stack for function in found[1].functions} == {"w"}


@pytest.mark.parametrize("words", [["-n", "f"], ["--stack", "media"]])
def test_rm_leaves_stacks_of_other_apps_alone(here: list[DeployedStack], words: list[str]) -> None:
    here += [stack("media", "w", "f", is_foreign=True)]
    result = CliRunner().invoke(rm.command, [*words, "-y"])
    assert isinstance(result.exception, UserError)
    assert "The stack media belongs to another CDK app. Delete it with that app: cdk destroy" in str(
        result.exception
    )
    everything = CliRunner().invoke(rm.command, ["-a", "-y"])
    assert "No workflow is deployed here" in everything.output


def test_an_invalid_stage_is_one_line(here: list[DeployedStack]) -> None:
    result = CliRunner().invoke(status.command, ["--stage", "Feature/X"])
    assert isinstance(result.exception, UserError)
    assert str(result.exception).startswith("Invalid stage 'Feature/X': expected lowercase letters")
    assert "\n" not in str(result.exception)
    assert result.exception.exit_code == 2
