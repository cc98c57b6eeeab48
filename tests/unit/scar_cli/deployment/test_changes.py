"""What `scar init` and `scar diff` say of a template: what comes, goes and changes, and who may do what."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from scar_cli.deployment.changes import as_json, compare, shown
from scar_cli.deployment.rights import rights_of
from scar_cli.deployment.template import Names

SECRET = "never-to-be-shown"
ROLE = {
    "Type": "AWS::IAM::Role",
    "Properties": {
        "AssumeRolePolicyDocument": {
            "Statement": [
                {
                    "Effect": "Allow",
                    "Action": "sts:AssumeRole",
                    "Principal": {"Service": "lambda.amazonaws.com"},
                }
            ]
        },
        "ManagedPolicyArns": [
            {"Fn::Join": ["", ["arn:", {"Ref": "AWS::Partition"}, ":iam::aws:policy/Admin"]]}
        ],
    },
    "Metadata": {"aws:cdk:path": "s/Functions/f/Role/Resource"},
}
TEMPLATE: dict[str, Any] = {
    "Resources": {
        "Bucket": {
            "Type": "AWS::S3::Bucket",
            "Properties": {"BucketName": "pictures"},
            "Metadata": {"aws:cdk:path": "s/Buckets/pictures/Resource"},
        },
        "Role": ROLE,
        "Policy": {
            "Type": "AWS::IAM::Policy",
            "Properties": {
                "PolicyDocument": {
                    "Statement": [
                        {
                            "Effect": "Allow",
                            "Action": ["s3:GetObject", "s3:PutObject"],
                            "Resource": {"Fn::Join": ["", [{"Fn::GetAtt": ["Bucket", "Arn"]}, "/in/*"]]},
                        }
                    ]
                },
                "Roles": [{"Ref": "Role"}],
            },
        },
        "Function": {
            "Type": "AWS::Lambda::Function",
            "Properties": {
                "FunctionName": "f",
                "MemorySize": 256,
                "Code": {"S3Key": "a.zip"},
                "Environment": {"Variables": {"TOKEN": SECRET}},
            },
        },
    }
}


def changed(path: str, value: object) -> dict[str, Any]:
    template = copy.deepcopy(TEMPLATE)
    *folders, last = path.split(".")
    place = template["Resources"]
    for folder in folders:
        place = place[folder]
    if value is None:
        del place[last]
    else:
        place[last] = value
    return template


def rights(**resource: Any) -> list[str]:
    return list(rights_of(Names({"Resources": {"R": resource, "Bucket": TEMPLATE["Resources"]["Bucket"]}})))


def test_a_new_stack_is_told_with_all_rights() -> None:
    assert list(shown(compare("s", "us-east-1", None, TEMPLATE))) == [
        "s in us-east-1 is new",
        "  +  function  f",
        "  +  bucket    pictures",
        "  Supporting resources: 2 new",
        "Permissions",
        "  + Functions/f/Role has the policy Admin",
        "  + Functions/f/Role may s3:GetObject, s3:PutObject on pictures/in/*",
        "  + the service lambda.amazonaws.com may sts:AssumeRole on Functions/f/Role",
    ]


def test_without_a_change_nothing_is_told() -> None:
    same = compare("s", "us-east-1", copy.deepcopy(TEMPLATE), TEMPLATE)
    assert not same
    assert list(shown(same)) == ["s in us-east-1: no changes"]


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("Function.Properties.MemorySize", 512, "       MemorySize: 256 → 512"),
        ("Function.Properties.Code.S3Key", "b.zip", "       Code: other files"),
        ("Function.Properties.Timeout", 5, "       Timeout: none → 5"),
        ("Function.DeletionPolicy", "Retain", "       DeletionPolicy: none → Retain"),
        (
            "Function.Properties.Environment.Variables.TOKEN",
            "other",
            "       Environment.Variables.TOKEN has another value",
        ),
        ("Bucket", None, "  -  bucket  pictures"),
        ("Role.Properties.ManagedPolicyArns", [], "  - Functions/f/Role has the policy Admin"),
    ],
)
def test_a_change_is_told(path: str, value: object, said: str) -> None:
    changes = compare("s", "us-east-1", TEMPLATE, changed(path, value))
    assert said in list(shown(changes))
    assert SECRET not in str(as_json(changes))


def with_files(template: dict[str, Any], **hashes: str) -> dict[str, Any]:
    """A template that names the files of its function; the function's image is made of them."""
    names = {"script": "run.sh", "extra payload": "data", "settings": "in the FDL file"}
    files = {part: {"name": names[part.replace("_", " ")], "hash": value} for part, value in hashes.items()}
    found = copy.deepcopy(template)
    found["Resources"]["Function"]["Metadata"] = {"scar:files": files}
    found["Resources"]["Image"] = {
        "Type": "Custom::ScarAssembledImage",
        "Properties": {"FunctionName": "f", "Package": "s3://assets/" + "".join(hashes.values())},
        "Metadata": {"aws:cdk:path": "s/Functions/f/Image/Resource/Default"},
    }
    return found


def test_the_files_that_changed_are_named() -> None:
    old = with_files(TEMPLATE, script="1", settings="1")
    new = with_files(TEMPLATE, script="2", settings="1", **{"extra payload": "1"})
    assert list(shown(compare("s", "us-east-1", old, new))) == [
        "s in us-east-1 changes",
        "  ~  function f",
        "       script run.sh: changed",
        "       extra payload data: added",
    ]
    settings = with_files(TEMPLATE, script="1", settings="2")
    assert (
        list(shown(compare("s", "us-east-1", old, settings)))[-1]
        == "       settings in the FDL file: changed"
    )


def test_files_that_the_deployed_template_does_not_name_are_mentioned_all_the_same() -> None:
    old = with_files(TEMPLATE, script="1")
    del old["Resources"]["Function"]["Metadata"]
    assert list(shown(compare("s", "us-east-1", old, with_files(TEMPLATE, script="2")))) == [
        "s in us-east-1 changes",
        "  ~  image f",
        "       script, extra payload or settings: changed",
    ]


def test_supporting_resources_and_their_permissions_are_counted() -> None:
    helper = copy.deepcopy(ROLE)
    helper["Metadata"] = {"aws:cdk:path": "s/Assembler/Role/Resource"}
    new = copy.deepcopy(TEMPLATE)
    new["Resources"]["Helper"] = helper
    assert list(shown(compare("s", "us-east-1", TEMPLATE, new))) == [
        "s in us-east-1 changes",
        "  Supporting resources: 1 new",
        "Permissions",
        "  2 changes to permissions of supporting resources",
    ]


@pytest.mark.parametrize(
    ("messages", "said"),
    [
        (
            1,
            "Removed from the stack and kept. Nothing in the stack uses it any longer. It contains 1 failed "
            "event. To see them, run scar status.",
        ),
        (0, None),
        (None, "Removed from the stack and kept. Nothing in the stack uses it any longer."),
    ],
)
def test_failed_events_that_outlive_a_removed_function_are_counted(
    messages: int | None, said: str | None
) -> None:
    old = copy.deepcopy(TEMPLATE)
    old["Resources"]["Queue"] = {"Type": "AWS::SQS::Queue", "DeletionPolicy": "RetainExceptOnCreate"}
    (change,) = compare("s", "us-east-1", old, TEMPLATE, messages={"Queue": messages}.get).resources
    assert change.lost == said


@pytest.mark.parametrize(
    ("messages", "said"),
    [
        (
            3,
            "Deleted with the 3 failed events in it. To keep them, run scar retry first.",
        ),
        (0, None),
        (None, "Deleted with the messages in it, such as failed events."),
    ],
)
def test_failed_events_that_go_with_a_removed_function_are_counted(
    messages: int | None, said: str | None
) -> None:
    old = copy.deepcopy(TEMPLATE)
    old["Resources"]["Queue"] = {
        "Type": "AWS::SQS::Queue",
        "Metadata": {"aws:cdk:path": "s/Functions/f/FailureQueue/Queue/Resource"},
    }
    changes = compare("s", "us-east-1", old, TEMPLATE, messages={"Queue": messages}.get)
    (change,) = changes.resources
    assert change.lost == said
    told = ["Destructive changes", f"  - queue Functions/f/FailureQueue/Queue: {said}"] if said else []
    assert list(shown(changes))[2:] == told


@pytest.mark.parametrize(
    ("kept", "said"),
    [
        (
            True,
            "Removed from the stack and kept. Nothing in the stack uses it any longer. It contains 3 events. "
            "To see them, run scar status.",
        ),
        (False, "Deleted with the 3 events in it."),
    ],
)
def test_files_that_wait_in_a_removed_input_queue_are_counted(kept: bool, said: str) -> None:
    old = copy.deepcopy(TEMPLATE)
    old["Resources"]["Queue"] = {
        "Type": "AWS::SQS::Queue",
        "Properties": {"RedrivePolicy": {"maxReceiveCount": 5}},
        **({"DeletionPolicy": "RetainExceptOnCreate"} if kept else {}),
    }
    (change,) = compare("s", "us-east-1", old, TEMPLATE, messages={"Queue": 3}.get).resources
    assert change.lost == said


def test_a_right_that_is_widened_is_told_as_one_that_comes_and_one_that_goes() -> None:
    path = "Policy.Properties.PolicyDocument.Statement"
    wider = [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]
    told = list(shown(compare("s", "us-east-1", TEMPLATE, changed(path, wider))))
    assert told[-2:] == [
        "  + Functions/f/Role may s3:* on *",
        "  - Functions/f/Role may s3:GetObject, s3:PutObject on pictures/in/*",
    ]


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ({"Action": "s3:*", "Principal": "*", "Resource": "*"}, "everybody may s3:* on *"),
        ({"Action": "s3:*", "Principal": {"AWS": "*"}}, "everybody may s3:* on R"),
        ({"Effect": "Deny", "Action": "s3:*", "Principal": "*"}, "nobody may s3:* on R"),
        (
            {"Effect": "Deny", "Action": "s3:*", "Resource": "*"},
            "R may not s3:* on *",
        ),
        (
            {"NotAction": "iam:*", "NotPrincipal": {"AWS": "arn:aws:iam::1:root"}, "NotResource": "x"},
            "everybody but arn:aws:iam::1:root may do anything but iam:* on anything but x",
        ),
        (
            {
                "Action": "s3:GetObject",
                "Resource": "*",
                "Condition": {"Bool": {"aws:SecureTransport": "false"}},
            },
            "R may s3:GetObject on * if aws:SecureTransport is false",
        ),
    ],
)
def test_a_statement_is_one_sentence(statement: dict[str, Any], said: str) -> None:
    properties = {"Anywhere": [{"Deep": {"Statement": {"Effect": "Allow", **statement}}}]}
    assert rights(Type="AWS::New::Thing", Properties=properties) == [said]


def test_permissions_of_functions_and_open_ports_are_rights() -> None:
    permission = {"Action": "lambda:InvokeFunctionUrl", "FunctionName": "f", "Principal": "*"}
    assert rights(Type="AWS::Lambda::Permission", Properties=permission) == [
        "everybody may lambda:InvokeFunctionUrl on f"
    ]
    group = {
        "SecurityGroupIngress": [{"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "CidrIp": "0.0.0.0/0"}]
    }
    assert rights(Type="AWS::EC2::SecurityGroup", Properties=group) == ["R lets in 0.0.0.0/0 on tcp 22"]
