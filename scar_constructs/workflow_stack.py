"""The stack of one workflow."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Unpack

from aws_cdk import Annotations, App, Environment, Stack, Tags, Token
from aws_cdk import aws_ec2 as ec2
from constructs import Construct

from fdl_schemas.model import Workflow
from scar_constructs.deployment import Deployment, DeploymentError
from scar_constructs.functions.udocker_tarball import UdockerTools
from scar_constructs.regions import folders_of, in_an_order_without_circles, split_by_region
from scar_constructs.storage.notifications import NotificationsHandler
from scar_constructs.template_checks import accept_in_cfn_lint, accept_literal_text
from scar_constructs.workflow_resources import ResourceOptions, WorkflowResources, needs_vpc


def add_stacks(
    app: App,
    workflow: Workflow,
    deployment: Deployment,
    deployment_region: str | None = None,
    udocker_tools: UdockerTools | None = None,
    *,
    account: str | None = None,
    bucket_keys: Mapping[str, str] = MappingProxyType({}),
) -> list[WorkflowStack]:
    """Add the stack of a workflow to an app, or one for each region that its functions name.

    :param workflow: see `WorkflowStack`.
    :param deployment_region: the region that the cdk command deploys to, if it is known.
    :param udocker_tools: the result of `find_udocker_tools`; default: none are packaged.
    :param account: that the cdk command deploys to, if it is known.
    :param bucket_keys: the result of `Deployment.keys_of_buckets`.
    :raises DeploymentError: this workflow cannot be deployed.
    """
    tools = udocker_tools or UdockerTools()
    parts = split_by_region(workflow, deployment_region)
    stacks = [
        WorkflowStack(
            app,
            deployment.stack_name + part.suffix,
            workflow=part.workflow,
            region=part.region,
            deployment_region=deployment_region,
            folders=folders_of(workflow),
            foreign_buckets=part.foreign_buckets,
            existing_buckets=deployment.existing_buckets,
            bucket_keys=bucket_keys,
            destroy_buckets=deployment.destroy_buckets,
            registry_mirrors=deployment.registry_mirrors,
            distributed_launch=deployment.distributed_launch,
            metrics=deployment.metrics,
            dashboard=deployment.dashboard,
            alarm_email=deployment.alarm_email,
            alarm_topic=deployment.alarm_topic,
            udocker_tarball=tools.tarball,
            vpc=deployment.vpc,
            account=account,
        )
        for part in parts
    ]
    if tools.warning is not None:
        Annotations.of(stacks[0]).add_warning_v2("scar:no-udocker-tools", tools.warning)
    for index, needed in in_an_order_without_circles(parts):
        stacks[index].add_stack_dependency(stacks[needed])
    return stacks


class WorkflowStack(Stack):
    """A stack with one workflow; see `WorkflowResources`.

    :param region: where it is deployed; default: where the cdk command deploys to.
    :param deployment_region: that region, if it is known.
    :param vpc: see `Deployment`. The cdk command looks an existing one up, with its credentials.
    :param account: that the cdk command deploys to, if it is known.
    :param options: see `WorkflowResources`.
    :raises DeploymentError: a VPC must be looked up, and account or region is not known.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        workflow: Workflow,
        region: str | None = None,
        deployment_region: str | None = None,
        vpc: str | None = None,
        account: str | None = None,
        **options: Unpack[ResourceOptions],
    ) -> None:
        existing_vpc = vpc is not None and needs_vpc(workflow)
        if existing_vpc:
            region = region or deployment_region
        stage = "" if workflow.stage is None else f" (stage {workflow.stage})"
        super().__init__(
            scope,
            construct_id,
            env=Environment(account=account if existing_vpc else None, region=region) if region else None,
            description=f"SCAR workflow {workflow.name}{stage}: files in buckets, processed in containers",
            tags={"createdby": "scar"},
        )
        accept_in_cfn_lint(self)
        accept_literal_text(self)
        notifications = NotificationsHandler(self)
        resources = WorkflowResources(
            self,
            workflow=workflow,
            region=region or deployment_region,
            vpc=self._vpc(vpc) if existing_vpc else None,
            **options,
        )
        self.functions = resources.functions
        notifications.keep_log()
        Tags.of(self).add("createdby", "scar")

    def _vpc(self, vpc: str | None) -> ec2.IVpc:
        if Token.is_unresolved(self.account) or Token.is_unresolved(self.region):
            raise DeploymentError(
                f"-c vpc={vpc}: the VPC must be looked up, but account or region is not known: "
                "set credentials and a region for the cdk command"
            )
        if vpc == "default":
            return ec2.Vpc.from_lookup(self, "Vpc", is_default=True)
        return ec2.Vpc.from_lookup(self, "Vpc", vpc_id=vpc)
