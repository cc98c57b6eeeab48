"""A function in a user's VPC, and the EFS file systems that it mounts there.

Subnets, security groups and access points already exist and are given by id. Nothing is looked up, so
synthesis needs no account.
"""

from __future__ import annotations

from collections.abc import Sequence

from aws_cdk import ArnFormat, Stack
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_

from fdl_schemas.model import FileSystem, Vpc
from scar_constructs.findings import acknowledge
from scar_constructs.functions.data_access import allow, grant

_INTERFACES = (
    "ec2:AssignPrivateIpAddresses",
    "ec2:CreateNetworkInterface",
    "ec2:DeleteNetworkInterface",
    "ec2:DescribeNetworkInterfaces",
    "ec2:DescribeSubnets",
    "ec2:UnassignPrivateIpAddresses",
)
"""What AWS Lambda does with the function's role to put it into a VPC
(https://docs.aws.amazon.com/lambda/latest/dg/configuration-vpc.html)."""


def place_in_vpc(function: lambda_.Function, vpc: Vpc, *, function_name: str) -> None:
    """Run a function in given subnets, behind given security groups.

    Its role may make network interfaces, as AWS Lambda needs it; code that runs in the function may not.
    """
    resource = _resource(function)
    resource.vpc_config = lambda_.CfnFunction.VpcConfigProperty(
        subnet_ids=list(vpc.subnet_ids), security_group_ids=list(vpc.security_group_ids)
    )
    role = function.role
    if role is None:
        raise ValueError("a function without a role cannot be in a VPC")
    allow(role, _INTERFACES, ["*"])
    grant(
        role,
        iam.PolicyStatement(
            effect=iam.Effect.DENY,
            actions=list(_INTERFACES),
            resources=["*"],
            conditions={
                "ArnEquals": {"lambda:SourceFunctionArn": function_arn(Stack.of(function), function_name)}
            },
        ),
    )
    acknowledge(
        role,
        "AwsSolutions-IAM5[Resource::*]",
        "AWS Lambda requires these permissions on all network interfaces, and checks them before it creates "
        "a function. The code of the function is denied them.",
    )


def mount(function: lambda_.Function, file_systems: Sequence[FileSystem]) -> None:
    """Mount EFS access points into a function, for reading and writing, as far as each permits."""
    _resource(function).file_system_configs = [
        lambda_.CfnFunction.FileSystemConfigProperty(arn=system.arn, local_mount_path=system.local_mount_path)
        for system in file_systems
    ]
    for system in file_systems:
        if function.role is not None:
            grant_mount(function.role, system)


def grant_mount(role: iam.IRole, system: FileSystem) -> None:
    """Let a role mount an access point, for reading and writing.

    An access point's ARN does not contain its file system: the permissions apply to any file system of the
    account, but through this access point only.
    """
    parts = Stack.of(role).split_arn(system.arn, ArnFormat.SLASH_RESOURCE_NAME)
    every = f"arn:{parts.partition}:elasticfilesystem:{parts.region}:{parts.account}:file-system/*"
    grant(
        role,
        iam.PolicyStatement(
            actions=["elasticfilesystem:ClientMount", "elasticfilesystem:ClientWrite"],
            resources=[every],
            conditions={"StringEquals": {"elasticfilesystem:AccessPointArn": system.arn}},
        ),
    )
    acknowledge(
        role,
        f"AwsSolutions-IAM5[Resource::{every}]",
        "An access point's ARN does not contain its file system; the condition names the access point.",
    )


def function_arn(stack: Stack, name: str) -> str:
    """The ARN of a function by its name: a role that refers to the function that refers to the role is a
    circle."""
    return stack.format_arn(
        service="lambda", resource="function", resource_name=name, arn_format=ArnFormat.COLON_RESOURCE_NAME
    )


def _resource(function: lambda_.Function) -> lambda_.CfnFunction:
    resource = function.node.default_child
    if not isinstance(resource, lambda_.CfnFunction):
        raise TypeError(f"a function's resource is {resource!r}")
    return resource
