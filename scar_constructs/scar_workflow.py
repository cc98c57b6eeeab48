"""`ScarWorkflow`: a workflow as a construct of any CDK app. This is the public API of the package."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from pathlib import Path
from types import MappingProxyType

from aws_cdk import Annotations, Stack, Tags, Token
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_sns as sns
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from fdl_schemas.diagnostics.diagnostic import FdlError
from fdl_schemas.load import check
from fdl_schemas.model import Function, StorageEntry, Workflow
from scar_constructs.deployment import Deployment, DeploymentError, real_bucket_names
from scar_constructs.functions.data_access import in_policy
from scar_constructs.functions.provider_settings import with_environment_values
from scar_constructs.functions.udocker_tarball import UdockerTools, find_udocker_tools
from scar_constructs.template_checks import accept_literal_text
from scar_constructs.workflow_resources import OUTPUT, WorkflowResources
from toolchain.errors import DownloadError

__all__ = ["DeploymentError", "DownloadError", "FdlError", "ScarWorkflow"]

_HASH_LENGTH = 8


class ScarWorkflow(Construct):
    """The functions, buckets and queues of an FDL file, in a stack of your own.

    A stack can hold several workflows. In all properties and methods, functions and buckets have the names of
    the FDL file, without the additions of `stage` and `bucket_suffix`.

    :param fdl: path of the FDL file; a relative path starts at the working directory, which for `cdk` is the
        folder of `cdk.json`.
    :param stage: added to the names of functions and buckets: `thumbnails` becomes `thumbnails-STAGE`.
        Lowercase letters, digits and hyphens.
    :param bucket_suffix: added to the names of new buckets, before the stage.
    :param existing_buckets: names of existing buckets, which are used and not created. They keep their names.
    :param bucket_keys: ARNs of customer-managed KMS keys, by the name of their bucket: those that encrypt
        existing buckets, or that new buckets are to be encrypted with.
    :param destroy_buckets: delete the buckets that this construct creates, with all files, and the failure
        queues, with all events, when the stack is destroyed. By default they are retained.
    :param registry_mirrors: mirrors to try before the registries: `REGISTRY=BASE,…`, such as
        `docker.io=https://mirror.example.org`.
    :param distributed_launch: create what `scar-launch --distributed` needs.
    :param metrics: publish metrics of runs in CloudWatch, which cost money.
    :param dashboard: create a CloudWatch dashboard.
    :param alarm_email: create alarms, and a topic that sends their notifications to this e-mail address.
    :param alarm_topic: create alarms that notify this topic, in the region of the stack; not together with
        `alarm_email`.
    :param vpc: VPC of the Batch jobs of functions without `subnets`. Its private subnets are used, if it has
        any. By default one VPC is created for all workflows of the stack.
    :param udocker_tools: for functions with `runtime: python3.13` only: `none`, `download`, or
        `sha256:DIGEST`. By default udocker's tools are downloaded for a deployment to AWS.
    :raises FdlError: the FDL file has errors. The text lists them with file, line and column.
    :raises DeploymentError: an argument is invalid, a name becomes too long, a function names another region
        than the stack's, or the stack is a nested stack.
    :raises DownloadError: the runner's libraries or udocker's tools cannot be downloaded.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        fdl: str | Path,
        stage: str | None = None,
        bucket_suffix: str | None = None,
        existing_buckets: Sequence[str] = (),
        bucket_keys: Mapping[str, str] = MappingProxyType({}),
        destroy_buckets: bool = False,
        registry_mirrors: str | None = None,
        distributed_launch: bool = False,
        metrics: bool = True,
        dashboard: bool = False,
        alarm_email: str | None = None,
        alarm_topic: sns.ITopic | None = None,
        udocker_tools: str | None = None,
        vpc: ec2.IVpc | None = None,
    ) -> None:
        super().__init__(scope, construct_id)
        workflow = self._checked(fdl)
        region = self._region(workflow)
        if alarm_email is not None and alarm_topic is not None:
            raise DeploymentError(f"{self.node.path}: alarm_email and alarm_topic are both set")
        try:
            deployment = Deployment.from_context(
                {
                    "fdl": str(fdl),
                    "stage": stage,
                    "bucket_suffix": bucket_suffix,
                    "existing_buckets": list(existing_buckets),
                    "bucket_keys": [f"{bucket}={arn}" for bucket, arn in bucket_keys.items()],
                    "registry_mirrors": registry_mirrors,
                    "udocker_tools": udocker_tools,
                    "alarm_email": alarm_email,
                }
            )
            final = with_environment_values(deployment.with_names(workflow), os.environ)
            tools = self._udocker_tools(deployment, final)
            resources = WorkflowResources(
                self,
                workflow=final,
                region=region,
                existing_buckets=deployment.existing_buckets,
                bucket_keys=deployment.keys_of_buckets(workflow),
                destroy_buckets=destroy_buckets,
                registry_mirrors=deployment.registry_mirrors,
                distributed_launch=distributed_launch,
                metrics=metrics,
                dashboard=dashboard,
                alarm_email=deployment.alarm_email,
                alarm_topic=None if alarm_topic is None else alarm_topic.topic_arn,
                udocker_tarball=tools.tarball,
                vpc=vpc,
            )
        except DeploymentError as problem:
            raise DeploymentError(f"{self.node.path}: {str(problem).removeprefix('-c ')}") from None
        self._definitions = MappingProxyType({one.name: one for one in workflow.functions})
        names = real_bucket_names(
            workflow,
            stage=deployment.stage,
            bucket_suffix=deployment.bucket_suffix,
            existing_buckets=deployment.existing_buckets,
        )
        by_name = dict(zip(self._definitions, resources.functions, strict=True))
        self._functions = MappingProxyType({name: one.function for name, one in by_name.items()})
        self._failure_queues = MappingProxyType({name: one.failure_queue for name, one in by_name.items()})
        self._buckets = MappingProxyType(
            {name: resources.buckets.by_name[real] for name, real in names.items()}
        )
        # `scar` finds the workflows of a stack by the names of their outputs.
        for output in resources.outputs:
            output.override_logical_id(f"{OUTPUT}{self.node.addr[-_HASH_LENGTH:]}")
        accept_literal_text(self)
        Tags.of(self).add("createdby", "scar")

    @property
    def functions(self) -> Mapping[str, lambda_.Function]:
        """The Lambda functions, by name in the FDL file."""
        return self._functions

    @property
    def buckets(self) -> Mapping[str, s3.IBucket]:
        """The buckets in the account of the stack, created or existing, by name in the FDL file."""
        return self._buckets

    @property
    def failure_queues(self) -> Mapping[str, sqs.IQueue]:
        """The queues of events that could not be processed, by name of the function in the FDL file."""
        return self._failure_queues

    def grant_put_inputs(self, grantee: iam.IGrantable, function: str | None = None) -> iam.Grant:
        """Allow `grantee` to upload files into the input folders on S3.

        :param function: only into those of this function; by default of all functions.
        :raises KeyError: there is no function of this name.
        :raises ValueError: there is no input folder in a bucket of `buckets`.
        """
        return self._grant(
            "input",
            function,
            lambda definition: definition.inputs,
            lambda bucket, objects: bucket.grant_put(grantee, objects),
        )

    def grant_read_outputs(self, grantee: iam.IGrantable, function: str | None = None) -> iam.Grant:
        """Allow `grantee` to list the buckets of the outputs, and to read the files in the output folders.

        :param function: only those of this function; by default of all functions.
        :raises KeyError: there is no function of this name.
        :raises ValueError: there is no output folder in a bucket of `buckets`.
        """
        return self._grant(
            "output",
            function,
            lambda definition: definition.outputs,
            lambda bucket, objects: bucket.grant_read(grantee, objects),
        )

    def grant_invoke(self, grantee: iam.IGrantable, function: str | None = None) -> iam.Grant:
        """Allow `grantee` to invoke the Lambda functions.

        :param function: only this one; by default all functions.
        :raises KeyError: there is no function of this name.
        """
        chosen = self._functions.values() if function is None else [self._functions[function]]
        return _combined([one.grant_invoke(grantee) for one in chosen])

    def _grant(
        self,
        what: str,
        function: str | None,
        entries_of: Callable[[Function], Sequence[StorageEntry]],
        grant: Callable[[s3.IBucket, str], iam.Grant],
    ) -> iam.Grant:
        chosen = self._definitions.values() if function is None else [self._definitions[function]]
        own = [
            entry
            for definition in chosen
            for entry in entries_of(definition)
            if entry.provider == "s3" and not entry.is_notified_elsewhere
        ]
        if not own:
            raise ValueError(f"{self.node.path}: {function or 'no function'} has no {what} folder on S3")
        folders = dict.fromkeys((entry.bucket, f"{in_policy(entry.key_prefix)}*") for entry in own)
        return _combined([grant(self._buckets[bucket], objects) for bucket, objects in folders])

    def _checked(self, fdl: str | Path) -> Workflow:
        checked = check(fdl)
        if checked.workflow is None:
            raise FdlError(checked.diagnostics)
        for warning in checked.diagnostics:
            Annotations.of(self).add_warning_v2(f"scar:{warning.code}", warning.render())
        return checked.workflow

    def _region(self, workflow: Workflow) -> str | None:
        """The stack's region, if it is known."""
        stack = Stack.of(self)
        if stack.nested:
            raise DeploymentError(f"{self.node.path}: nested stacks are not supported")
        known = None if Token.is_unresolved(stack.region) else stack.region
        for function in workflow.functions:
            if function.region not in (None, known):
                raise DeploymentError(
                    f"{self.node.path}: function {function.name} is in region {function.region}, and the "
                    f"stack in {known or 'no particular region'}: remove `region` from the FDL file, or set "
                    "`env` of the stack"
                )
        return known

    def _udocker_tools(self, deployment: Deployment, workflow: Workflow) -> UdockerTools:
        if not workflow.pulls:
            return UdockerTools()
        tools = find_udocker_tools(deployment.udocker_tools, os.environ)
        if tools.warning is not None:
            Annotations.of(self).add_warning_v2("scar:no-udocker-tools", tools.warning)
        return tools


def _combined(grants: Sequence[iam.Grant]) -> iam.Grant:
    return reduce(lambda all_of_them, one: all_of_them.combine(one), grants)
