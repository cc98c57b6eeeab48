"""Nested stacks: deployed, updated, rolled back and deleted in ministack, in a process of its own, as it is
changed for good.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

PROGRAM = r"""
import asyncio, json, logging, os, re, sys
os.environ.update(GATEWAY_PORT="4566", S3_DATA_DIR=sys.argv[1])
from urllib.parse import urlencode
import ministack.app
from ministack.core.responses import request_scope
from ministack.services import cloudformation, s3, ssm
from local_cloud.cloudformation import nested_stacks
nested_stacks.install()
logging.disable(logging.CRITICAL)
FORM = {"content-type": "application/x-www-form-urlencoded"}
TYPE = "AWS::CloudFormation::Stack"
REFUSED = {"Type": "AWS::SQS::Queue", "Properties": {"VisibilityTimeout": 99999999}}
result = {}

async def call(action, **parameters):
    form = urlencode({"Action": action, **parameters}).encode()
    return (await cloudformation.handle_request("POST", "/", FORM, form, {}))[2].decode()

async def settled(name):
    stack = cloudformation._stacks[name]
    for _ in range(4000):
        await asyncio.sleep(0.005)
        if not stack["StackStatus"].endswith("IN_PROGRESS"):
            return [stack["StackStatus"], {key: one["Value"] for key, one in sorted(ssm._parameters.items())}]

def parameter(name, value="1", **more):
    properties = {"Name": name, "Type": "String", "Value": value}
    return {"Type": "AWS::SSM::Parameter", "Properties": properties, **more}

def nested(key, resources, **more):
    template = {"Resources": resources, "Outputs": {"Name": {"Value": {"Ref": "A"}}}}
    template["Parameters"] = {"Given": {"Type": "String", "Default": "-"}}
    s3._put_object("templates", key, json.dumps(template).encode(), {})
    properties = {"TemplateURL": "https://s3.us-east-1.amazonaws.com/templates/" + key, **more}
    return {"Type": TYPE, "Properties": properties}

def root(**resources):
    return json.dumps({"Resources": resources})

async def main():
    s3._create_bucket("templates", b"", {})
    output = {"Fn::GetAtt": ["Part", "Outputs.Name"]}
    first = nested(
        "first",
        {
            "A": parameter("/a", {"Ref": "Given"}),
            "Kept": parameter("/kept", DeletionPolicy="Retain"),
            "Removed": parameter("/removed"),
        },
        Parameters={"Given": "of the parent"},
    )
    await call("CreateStack", StackName="s", TemplateBody=root(Part=first, T=parameter("/t", output)))
    result["created"] = await settled("s")
    described = await call("DescribeStacks")
    identity = cloudformation._stacks["s"]["StackId"]
    result["parents"] = [described.count(f"<{name}>{identity}</{name}>") for name in ("ParentId", "RootId")]
    (part,) = re.findall("<PhysicalResourceId>(arn:[^<]*)<", await call("ListStackResources", StackName="s"))
    result["listed"] = (await call("ListStackResources", StackName=part)).count("<LogicalResourceId>")

    second = nested("second", {"A": parameter("/a", "2"), "New": parameter("/new")})
    fails = {**REFUSED, "DependsOn": "Part"}
    await call("UpdateStack", StackName="s", TemplateBody=root(Part=second, T=fails))
    result["failed elsewhere"] = await settled("s")

    await call("UpdateStack", StackName="s", TemplateBody=root(Part=second, T=parameter("/t", output)))
    result["updated"] = await settled("s")

    third = nested("third", {"A": parameter("/a", "3"), "Bad": {**REFUSED, "DependsOn": "A"}})
    await call("UpdateStack", StackName="s", TemplateBody=root(Part=third, T=parameter("/t", output)))
    result["failed update"] = await settled("s")
    result["reason"] = [
        event["ResourceStatusReason"].replace(part, "PART")
        for event in cloudformation._stack_events[identity]
        if event["LogicalResourceId"] == "Part" and event["ResourceStatus"] == "UPDATE_FAILED"
    ]

    await call("DeleteStack", StackName="s")
    result["deleted"] = await settled("s")

    await call("CreateStack", StackName="f", TemplateBody=root(Part=third))
    result["failed creation"] = await settled("f")
    result["left"] = sorted({stack["StackStatus"] for stack in cloudformation._stacks.values()})

with request_scope("000000000000", "us-east-1"):
    asyncio.run(main())
print(json.dumps(result))
"""


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder: Path = tmp_path_factory.mktemp("objects")
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(folder)], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


FIRST = {"/a": "of the parent", "/kept": "1", "/removed": "1", "/t": "/a"}
SECOND = {"/a": "2", "/kept": "1", "/new": "1", "/t": "/a"}


def test_a_nested_stack_has_parameters_and_outputs_and_names_its_parent(found: Any) -> None:
    assert found["created"] == ["CREATE_COMPLETE", FIRST]
    assert found["parents"] == [1, 1]
    assert found["listed"] == 3


def test_a_failure_elsewhere_rolls_back_what_a_nested_stack_has_changed_and_removed(found: Any) -> None:
    assert found["failed elsewhere"] == ["UPDATE_ROLLBACK_COMPLETE", FIRST]


def test_an_update_removes_resources_but_not_retained_ones(found: Any) -> None:
    assert found["updated"] == ["UPDATE_COMPLETE", SECOND]


def test_a_failed_update_of_a_nested_stack_names_the_resource(found: Any) -> None:
    assert found["failed update"] == ["UPDATE_ROLLBACK_COMPLETE", SECOND]
    assert found["reason"] == [
        "Embedded stack PART was not successfully updated: The following resource(s) failed to update: "
        "[Bad (Invalid value for the parameter VisibilityTimeout. Value must be between 0 and 43200.)]."
    ]


def test_deletion_keeps_only_retained_resources(found: Any) -> None:
    assert found["deleted"] == ["DELETE_COMPLETE", {"/kept": "1"}]


def test_a_nested_stack_whose_creation_failed_leaves_nothing_behind(found: Any) -> None:
    assert found["failed creation"] == ["ROLLBACK_COMPLETE", {"/kept": "1"}]
    assert found["left"] == ["DELETE_COMPLETE", "ROLLBACK_COMPLETE"]
