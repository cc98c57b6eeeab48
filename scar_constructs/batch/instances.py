"""Instance profile and launch template of the EC2 instances of Batch.

All compute environments of a stack share them, except where the user sets others.
"""

from __future__ import annotations

from typing import Self

from aws_cdk import Fn, Stack
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_iam as iam
from constructs import Construct

from scar_constructs.findings import acknowledge

_USER_DATA = """\
MIME-Version: 1.0
Content-Type: multipart/mixed; boundary="==SCAR=="

--==SCAR==
Content-Type: text/x-shellscript; charset="us-ascii"

#!/bin/sh
echo ECS_AWSVPC_BLOCK_IMDS=true >> /etc/ecs/ecs.config

--==SCAR==--
"""
"""Batch adds parts of its own: this has to be a MIME message
(https://docs.aws.amazon.com/batch/latest/userguide/launch-templates.html)."""


class BatchInstances(Construct):
    """Instance profile and launch template for the instances of Batch in a stack.

    Containers have the permissions of their job role, and not those of the instance: they cannot use the
    instance metadata service.
    """

    def __init__(self, scope: Construct, construct_id: str) -> None:
        super().__init__(scope, construct_id)
        policy = "service-role/AmazonEC2ContainerServiceforEC2Role"
        role = iam.Role(
            self,
            "Role",
            assumed_by=iam.ServicePrincipal("ec2.amazonaws.com"),
            managed_policies=[iam.ManagedPolicy.from_aws_managed_policy_name(policy)],
            description="Permissions of the instances of Batch: start containers, and report their state",
        )
        acknowledge(
            role,
            f"AwsSolutions-IAM4[Policy::arn:<AWS::Partition>:iam::aws:policy/{policy}]",
            "AWS maintains this policy for the Amazon ECS agent. Containers cannot use the role.",
        )
        self.profile_arn = iam.InstanceProfile(self, "Profile", role=role).instance_profile_arn
        self.launch_template = ec2.CfnLaunchTemplate(
            self,
            "LaunchTemplate",
            launch_template_data=ec2.CfnLaunchTemplate.LaunchTemplateDataProperty(
                metadata_options=ec2.CfnLaunchTemplate.MetadataOptionsProperty(
                    http_tokens="required",
                    # For containers in bridge mode. Those of jobs with several nodes are in mode awsvpc, for
                    # which the agent has a setting.
                    http_put_response_hop_limit=1,
                ),
                user_data=Fn.base64(_USER_DATA),
            ),
        )

    @classmethod
    def of(cls, scope: Construct) -> Self:
        """The instances of the stack; the first call creates it."""
        stack = Stack.of(scope)
        found = stack.node.try_find_child("ScarBatchInstances")
        return found if isinstance(found, cls) else cls(stack, "ScarBatchInstances")
