"""The resources that `cdk bootstrap` creates, under the same names, in a stack `CDKToolkit`.

`cdk bootstrap` itself takes 11 seconds and needs Node. Unlike on AWS, the roles have all permissions.
"""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlencode

STACK = "CDKToolkit"
VERSION = "33"
"""Version of the bootstrap resources of the pinned cdk CLI."""
_QUALIFIER = "hnb659fds"
_ROLES = {
    "DeploymentActionRole": ("deploy", "AWS"),
    "CloudFormationExecutionRole": ("cfn-exec", "Service"),
    "FilePublishingRole": ("file-publishing", "AWS"),
    "ImagePublishingRole": ("image-publishing", "AWS"),
    "LookupRole": ("lookup", "AWS"),
}


def template() -> dict[str, Any]:
    """The stack that holds the bootstrap's resources."""
    resources: dict[str, Any] = {
        "StagingBucket": {
            "Type": "AWS::S3::Bucket",
            "Properties": {"BucketName": _named("assets")},
        },
        "ContainerAssetsRepository": {
            "Type": "AWS::ECR::Repository",
            "Properties": {"RepositoryName": _named("container-assets")},
        },
        "CdkBootstrapVersion": {
            "Type": "AWS::SSM::Parameter",
            "Properties": {
                "Type": "String",
                "Name": f"/cdk-bootstrap/{_QUALIFIER}/version",
                "Value": VERSION,
            },
        },
    }
    for logical_id, (name, principal) in _ROLES.items():
        resources[logical_id] = _role(name, principal)
    return {
        "Description": "Resources that the CDK needs for deployments, created when the embedded cloud "
        "started",
        "Resources": resources,
        "Outputs": {
            "BucketName": {"Value": {"Ref": "StagingBucket"}},
            "BucketDomainName": {"Value": {"Fn::GetAtt": ["StagingBucket", "RegionalDomainName"]}},
            "ImageRepositoryName": {"Value": {"Ref": "ContainerAssetsRepository"}},
            "BootstrapVersion": {"Value": VERSION},
        },
    }


async def bootstrap(region: str) -> None:
    """Create the stack, if it is missing. Runs on the emulator's event loop.

    Raises:
        RuntimeError: the emulator rejected it.
    """
    from ministack.core.responses import request_scope
    from ministack.services import cloudformation, ssm

    with request_scope("000000000000", region):
        if f"/cdk-bootstrap/{_QUALIFIER}/version" in ssm._parameters:
            return
        form = urlencode(
            {
                "Action": "CreateStack",
                "Version": "2010-05-15",
                "StackName": STACK,
                "Capabilities.member.1": "CAPABILITY_NAMED_IAM",
                "TemplateBody": json.dumps(template()),
            }
        )
        headers = {"content-type": "application/x-www-form-urlencoded"}
        status, _headers, body = await cloudformation.handle_request("POST", "/", headers, form.encode(), {})
    if status != 200:  # noqa: PLR2004
        raise RuntimeError(f"the CDK's bootstrap stack was rejected: {body.decode(errors='replace')}")


def _role(name: str, principal: str) -> dict[str, Any]:
    trusted = (
        {"AWS": {"Ref": "AWS::AccountId"}}
        if principal == "AWS"
        else {"Service": "cloudformation.amazonaws.com"}
    )
    trust = [
        {"Effect": "Allow", "Action": action, "Principal": trusted}
        for action in ("sts:AssumeRole", "sts:TagSession")
    ]
    return {
        "Type": "AWS::IAM::Role",
        "Properties": {
            "RoleName": _named(f"{name}-role"),
            "AssumeRolePolicyDocument": {"Version": "2012-10-17", "Statement": trust},
            "Policies": [
                {
                    "PolicyName": "default",
                    "PolicyDocument": {
                        "Version": "2012-10-17",
                        "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}],
                    },
                }
            ],
            "Tags": [{"Key": "aws-cdk:bootstrap-role", "Value": name.removesuffix("-role")}],
        },
    }


def _named(kind: str) -> dict[str, str]:
    return {"Fn::Sub": f"cdk-{_QUALIFIER}-{kind}-${{AWS::AccountId}}-${{AWS::Region}}"}
