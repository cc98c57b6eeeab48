"""Templates of nested stacks as one template."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from scar_cli.deployment.cdk import SynthesizedStack
from scar_cli.deployment.changes import _refuse_moves
from scar_cli.deployment.nested import flattened
from scar_cli.deployment.rights import rights_of
from scar_cli.deployment.template import Names
from scar_cli.errors import UserError

INNER: Mapping[str, Any] = {
    "Parameters": {"fromBucket": {"Type": "String"}, "Own": {"Type": "String"}},
    "Resources": {
        "Role": {
            "Type": "AWS::IAM::Role",
            "Properties": {"On": [{"Ref": "fromBucket"}, {"Ref": "Own"}, {"Ref": "AWS::Region"}]},
            "Metadata": {"aws:cdk:path": "s/Part1/Functions/f/Role/Resource", "kept": 1},
        },
        "F": {
            "Type": "AWS::Lambda::Function",
            "Properties": {"FunctionName": "f", "Role": {"Fn::GetAtt": ["Role", "Arn"]}},
        },
    },
    "Outputs": {"OfF": {"Value": {"Fn::GetAtt": "F.Arn"}}},
}
OUTER: Mapping[str, Any] = {
    "Resources": {
        "Bucket": {"Type": "AWS::S3::Bucket"},
        "Part1": {
            "Type": "AWS::CloudFormation::Stack",
            "Properties": {"Parameters": {"fromBucket": {"Fn::GetAtt": ["Bucket", "Arn"]}}},
            "Metadata": {"aws:cdk:path": "s/Part1.NestedStack/Part1.NestedStackResource"},
        },
        "Notifications": {
            "Type": "Custom::S3BucketNotifications",
            "Properties": {"To": {"Fn::GetAtt": ["Part1", "Outputs.OfF"]}},
        },
    },
    "Outputs": {"Mine": {"Value": "kept"}},
}


def test_a_template_without_nested_stacks_is_unchanged() -> None:
    template = {"Resources": {"Bucket": {"Type": "AWS::S3::Bucket"}}}
    assert flattened(template, lambda _identity, _resource: None) is template


def test_resources_of_nested_stacks_refer_to_those_of_the_outer_one_and_back() -> None:
    asked = []

    def nested(identity: str, _resource: Mapping[str, Any]) -> Mapping[str, Any]:
        asked.append(identity)
        return INNER

    found = flattened(OUTER, nested)
    assert asked == ["Part1"]
    assert found["Outputs"] == {"Mine": {"Value": "kept"}}
    resources = found["Resources"]
    assert list(resources) == ["Bucket", "Part1/Role", "Part1/F", "Notifications"]
    assert resources["Part1/Role"]["Properties"]["On"] == [
        {"Fn::GetAtt": ["Bucket", "Arn"]},
        {"Ref": "Own"},
        {"Ref": "AWS::Region"},
    ]
    assert resources["Part1/Role"]["Metadata"] == {"aws:cdk:path": "s/Functions/f/Role/Resource", "kept": 1}
    assert resources["Part1/F"]["Properties"]["Role"] == {"Fn::GetAtt": ["Part1/Role", "Arn"]}
    assert resources["Notifications"]["Properties"]["To"] == {"Fn::GetAtt": ["Part1/F", "Arn"]}


def test_an_unknown_nested_stack_stays_a_resource() -> None:
    assert flattened(OUTER, lambda _identity, _resource: None) == OUTER


def test_a_function_that_would_move_to_another_stack_is_an_error() -> None:
    deployed = flattened(OUTER, lambda _identity, _resource: INNER)
    moved = {"Resources": {"F": INNER["Resources"]["F"]}}
    with pytest.raises(UserError, match=r"f would move to another stack inside s.*\.stacks\.json"):
        _refuse_moves(deployed, SynthesizedStack("s", None, (), moved))
    _refuse_moves(deployed, SynthesizedStack("s", None, (), deployed))


def test_the_policy_of_several_queues_is_a_right_of_each() -> None:
    statement = {
        "Effect": "Deny",
        "Principal": {"AWS": "*"},
        "Action": "sqs:*",
        "Resource": "*",
        "Condition": {"Bool": {"aws:SecureTransport": "false"}},
    }
    policy = {"PolicyDocument": {"Statement": [statement]}, "Queues": [{"Ref": "A"}, {"Ref": "B"}]}
    queue = {"Type": "AWS::SQS::Queue"}
    resources = {"A": queue, "B": queue, "P": {"Type": "AWS::SQS::QueuePolicy", "Properties": policy}}
    assert list(rights_of(Names({"Resources": resources}))) == [
        "nobody may sqs:* on A if aws:SecureTransport is false",
        "nobody may sqs:* on B if aws:SecureTransport is false",
    ]
