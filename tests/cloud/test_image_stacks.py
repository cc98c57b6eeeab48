"""Stacks with a repository and a function in one of its images."""

from __future__ import annotations

import json
import uuid
from typing import Any

import pytest

from tests.cloud.ecr_images import ImageFunction, make_repository, push, shell_image
from tests.cloud.embedded import CloudUnderTest, any_role, until
from tests.oci_images import File


class Stack:
    """A stack whose template is changed step by step."""

    def __init__(self, cloud: CloudUnderTest) -> None:
        self.name = f"images-{uuid.uuid4().hex[:8]}"
        self._api = cloud.client("cloudformation")

    def deploy(self, resources: dict[str, Any], *, ends: str | None = None) -> str:
        """Create or update; gives what the failed event says, if `ends` is a failure."""
        body = json.dumps({"Resources": resources})
        try:
            self._api.update_stack(StackName=self.name, TemplateBody=body)
        except self._api.exceptions.ClientError:
            self._api.create_stack(StackName=self.name, TemplateBody=body)
        status = until(self._status, lambda status: not status.endswith("IN_PROGRESS"))
        if ends is None:
            assert status in ("CREATE_COMPLETE", "UPDATE_COMPLETE"), self._reason()
            return ""
        assert status == ends
        return self._reason()

    def delete(self) -> None:
        self._api.delete_stack(StackName=self.name)
        until(self._status, lambda status: status == "DELETE_COMPLETE")

    def _status(self) -> str:
        try:
            return str(self._api.describe_stacks(StackName=self.name)["Stacks"][0]["StackStatus"])
        except self._api.exceptions.ClientError:
            return "DELETE_COMPLETE"

    def _reason(self) -> str:
        events = self._api.describe_stack_events(StackName=self.name)["StackEvents"]
        failed = [event for event in events if event["ResourceStatus"].endswith("_FAILED")]
        return str(failed[-1].get("ResourceStatusReason", "")) if failed else ""


@pytest.fixture
def stack(cloud: CloudUnderTest) -> Stack:
    return Stack(cloud)


def repository_of(name: str) -> dict[str, Any]:
    rules = [
        {
            "rulePriority": 1,
            "selection": {"tagStatus": "any", "countType": "imageCountMoreThan", "countNumber": 9},
            "action": {"type": "expire"},
        }
    ]
    return {
        "Type": "AWS::ECR::Repository",
        "Properties": {
            "RepositoryName": name,
            "EmptyOnDelete": True,
            "ImageTagMutability": "IMMUTABLE",
            "LifecyclePolicy": {"LifecyclePolicyText": json.dumps({"rules": rules})},
        },
    }


def function_of(cloud: CloudUnderTest, name: str, version: str) -> dict[str, Any]:
    uri = {"Fn::Sub": "${Repository.RepositoryUri}" + version}
    return {
        "Type": "AWS::Lambda::Function",
        "Properties": {
            "FunctionName": name,
            "PackageType": "Image",
            "Code": {"ImageUri": uri},
            "Role": any_role(cloud),
            "Timeout": 20,
        },
    }


def test_a_stack_has_a_repository_and_a_function(cloud: CloudUnderTest, stack: Stack) -> None:
    ecr, name = cloud.client("ecr"), f"stack/{stack.name}"
    stack.deploy({"Repository": repository_of(name)})
    first = push(cloud, shell_image(File("version", b"1")), "v1", name)
    stack.deploy(
        {"Repository": repository_of(name), "Function": function_of(cloud, stack.name, f"@{first.digest}")}
    )
    function = ImageFunction(cloud, stack.name)
    assert function.run("cat /version") == "1"
    push(cloud, shell_image(File("version", b"2")), "v2", name)
    stack.deploy({"Repository": repository_of(name), "Function": function_of(cloud, stack.name, ":v2")})
    assert function.run("cat /version") == "2"
    stack.delete()
    with pytest.raises(ecr.exceptions.RepositoryNotFoundException):
        ecr.list_images(repositoryName=name)


def test_an_image_that_is_missing_fails_the_stack(cloud: CloudUnderTest, stack: Stack) -> None:
    name = make_repository(cloud)
    function = function_of(cloud, stack.name, "")
    uri = f"000000000000.dkr.ecr.us-east-1.amazonaws.com/{name}:missing"
    function["Properties"]["Code"]["ImageUri"] = uri
    reason = stack.deploy({"Function": function}, ends="ROLLBACK_COMPLETE")
    assert f"Source image {uri} does not exist. Provide a valid source image." in reason


def test_a_function_with_a_name_cannot_change_its_package_type(cloud: CloudUnderTest, stack: Stack) -> None:
    image = push(cloud, shell_image())
    zipped = {
        "Type": "AWS::Lambda::Function",
        "Properties": {
            "FunctionName": stack.name,
            "Runtime": "python3.13",
            "Handler": "index.handle",
            "Code": {"ZipFile": "def handle(event, context): return 'zip'"},
            "Role": any_role(cloud),
        },
    }
    stack.deploy({"Function": zipped})
    function = function_of(cloud, stack.name, "")
    function["Properties"]["Code"]["ImageUri"] = image.uri
    reason = stack.deploy({"Function": function}, ends="UPDATE_ROLLBACK_COMPLETE")
    assert "cannot update a stack when a custom-named resource requires replacing" in reason
    answer = cloud.client("lambda").invoke(FunctionName=stack.name)
    assert json.loads(answer["Payload"].read()) == "zip"
