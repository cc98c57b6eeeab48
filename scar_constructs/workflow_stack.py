"""The stack of one workflow."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

from aws_cdk import Annotations, App, CfnOutput, Environment, Stack, Tags
from constructs import Construct

from fdl_schemas.model import StorageEntry, Workflow
from scar_constructs.batch.event_store import EventStore
from scar_constructs.batch.network import BatchNetwork
from scar_constructs.construct_names import id_for
from scar_constructs.container_function import ContainerFunction
from scar_constructs.deployment import Deployment
from scar_constructs.findings import acknowledge
from scar_constructs.functions.provider_settings import providers_of, stack_values
from scar_constructs.functions.retention import retention
from scar_constructs.functions.runner_asset import RunnerAsset
from scar_constructs.functions.udocker_tarball import UdockerTools
from scar_constructs.images.images import WorkflowImages
from scar_constructs.launch.distributed_launch import DistributedLaunch, launchable
from scar_constructs.regions import folders_of, in_an_order_without_circles, split_by_region
from scar_constructs.storage.buckets import WorkflowBuckets
from scar_constructs.storage.event_rules import ObjectCreatedRule, buckets_for_event_bridge
from scar_constructs.storage.notifications import NotificationsHandler, notify, wait_for
from scar_constructs.storage.secret import StorageSecret
from scar_constructs.storage.topics import TopicTrigger

OUTPUT = "ScarWorkflow"
"""Name of the output in which command-line tools find what is deployed, as JSON."""

# What looks like a parameter or a reference in text of the FDL file: meant as it is written.
_LITERAL_TEXT = ("E1029", "W1053")
# The CDK writes "DependsOn" beside a reference to the same role: redundant and harmless.
_LINTER_SETTINGS = {"cfn-lint": {"config": {"ignore_checks": ["W3005", *_LITERAL_TEXT]}}}


def add_stacks(
    app: App,
    workflow: Workflow,
    deployment: Deployment,
    deployment_region: str | None = None,
    udocker_tools: UdockerTools | None = None,
) -> list[WorkflowStack]:
    """Add the stack of a workflow to an app, or one for each region that its functions name.

    :param workflow: as `WorkflowStack` takes it.
    :param deployment_region: the region that the cdk command deploys to, if it is known.
    :param udocker_tools: what `find_udocker_tools` found; default: none are packaged.
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
            destroy_buckets=deployment.destroy_buckets,
            registry_mirrors=deployment.registry_mirrors,
            distributed_launch=deployment.distributed_launch,
            udocker_tarball=tools.tarball,
        )
        for part in parts
    ]
    if tools.warning is not None:
        Annotations.of(stacks[0]).add_warning_v2("scar:no-udocker-tools", tools.warning)
    for index, needed in in_an_order_without_circles(parts):
        stacks[index].add_stack_dependency(stacks[needed])
    return stacks


class WorkflowStack(Stack):
    """Everything that one FDL file describes (or, of functions in several regions, one region's part).

    :param workflow: the validated FDL file, with the final names of its buckets
        (`deployment.with_real_bucket_names`) and without variables in the settings of storage providers
        (`storage_settings.with_environment_values`).
    :param region: where it is deployed; default: where the cdk command deploys to.
    :param deployment_region: that region, if it is known.
    :param folders: folders of the buckets, if other stacks name some too.
    :param foreign_buckets: names of those buckets that other stacks make.
    :param existing_buckets: names of those buckets that are there already.
    :param destroy_buckets: delete the buckets that this stack made, with all files, when the stack is
        destroyed.
    :param registry_mirrors: see `ContainerFunction`.
    :param distributed_launch: make a `DistributedLaunch` for each function that reads from S3.
    :param udocker_tarball: see `RunnerAsset`.
    :raises DeploymentError: a function names subnets without security groups.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        workflow: Workflow,
        region: str | None = None,
        deployment_region: str | None = None,
        folders: Mapping[str, Sequence[str]] | None = None,
        foreign_buckets: Sequence[str] = (),
        existing_buckets: Sequence[str] = (),
        destroy_buckets: bool = False,
        registry_mirrors: str | None = None,
        distributed_launch: bool = False,
        udocker_tarball: Path | None = None,
    ) -> None:
        super().__init__(
            scope,
            construct_id,
            env=Environment(region=region) if region else None,
            description=f"SCAR workflow {workflow.name}: files in buckets, processed in containers",
            tags={"createdby": "scar"},
        )
        self.template_options.metadata = _LINTER_SETTINGS
        for rule in _LITERAL_TEXT:
            acknowledge(self, f"CloudFormation-Validate::{rule}", "Text of the FDL file is meant as it is.")
        self.buckets = WorkflowBuckets(
            self,
            "Buckets",
            workflow=workflow,
            folders=folders_of(workflow) if folders is None else folders,
            existing=existing_buckets,
            foreign=foreign_buckets,
            destroy=destroy_buckets,
        )
        runner = RunnerAsset(self, "Runner", udocker_tarball=udocker_tarball)
        network = BatchNetwork(self, "Network") if _needs_network(workflow) else None
        used = [one for definition in workflow.functions for one in providers_of(definition, workflow)]
        values = stack_values(used)
        storage_secret = StorageSecret(self, "StorageSecret", values=values) if values else None
        images = WorkflowImages(
            self,
            "Images",
            runner=runner,
            registry_mirrors=registry_mirrors,
            keep=not all(definition.delete_ecr_image for definition in workflow.functions),
        )
        has_jobs = any(definition.batch is not None for definition in workflow.functions)
        event_store = EventStore(self, "Events") if has_jobs else None
        functions = Construct(self, "Functions")
        self.functions = [
            ContainerFunction(
                functions,
                id_for(definition.name),
                definition=definition,
                buckets=self.buckets.by_name,
                runner=runner,
                network=network,
                providers=providers_of(definition, workflow),
                storage_secret=storage_secret,
                registry_mirrors=registry_mirrors,
                images=images,
                event_store=event_store,
            )
            for definition in workflow.functions
        ]
        self._known_region = region or deployment_region
        self._event_bridge = buckets_for_event_bridge(workflow.functions)
        for function in self.functions:
            self._connect(function)
        self.launches = self._launches() if distributed_launch else {}
        NotificationsHandler.of(self).keep_log()
        CfnOutput(
            self, OUTPUT, value=self.to_json_string(self._summary()), description="What is deployed, for scar"
        )
        Tags.of(self).add("createdby", "scar")

    def _connect(self, function: ContainerFunction) -> None:
        """Let the function's inputs trigger it: by S3's notifications, by EventBridge, by topics."""
        by_bucket: dict[str, list[StorageEntry]] = defaultdict(list)
        by_topic: dict[str, list[StorageEntry]] = defaultdict(list)
        for entry in function.definition.inputs:
            if entry.topic_arn is not None:
                by_topic[entry.topic_arn].append(entry)
            elif entry.bucket in self._event_bridge:
                by_bucket[entry.bucket].append(entry)
            else:
                member = self.buckets.members[entry.bucket]
                # Folders first: on destroy, notifications then end before a bucket is emptied.
                notify(member.bucket, function.function, entry, after=[member.folders])
        for name, entries in by_bucket.items():
            ObjectCreatedRule(
                function,
                f"From-{name}",
                bucket=self.buckets.by_name[name],
                function=function.function,
                entries=entries,
                failure_queue=function.failure_queue,
            )
            wait_for(self.buckets.by_name[name], self.buckets.members[name].folders)
        for number, (topic_arn, entries) in enumerate(by_topic.items()):
            TopicTrigger(
                function,
                f"Topic{number}",
                topic_arn=topic_arn,
                function=function.function,
                entries=entries,
                failure_queue=function.failure_queue,
                region=self._known_region,
            )

    def _launches(self) -> Mapping[str, DistributedLaunch]:
        """By the function's name."""
        return {
            function.definition.name: DistributedLaunch(
                function,
                "Launch",
                definition=function.definition,
                function=function.function,
                failure_queue=function.failure_queue,
                buckets=self.buckets.by_name,
                retention=retention(function.definition.log_retention_days),
            )
            for function in self.functions
            if launchable(function.definition)
        }

    def _summary(self) -> Mapping[str, object]:
        return {
            "functions": [
                _summary(function, self.launches.get(function.definition.name)) for function in self.functions
            ],
            "buckets": list(self.buckets.members),
        }


def _needs_network(workflow: Workflow) -> bool:
    jobs = [function.batch for function in workflow.functions if function.batch is not None]
    return any(not job.compute_resources.subnets for job in jobs)


def _summary(function: ContainerFunction, launch: DistributedLaunch | None) -> Mapping[str, object]:
    definition = function.definition
    summary: dict[str, object] = {
        "name": definition.name,
        "mode": str(definition.execution_mode),
        "log_group": f"/aws/lambda/{definition.name}",
        "failure_queue_url": function.failure_queue.queue_url,
        "image": definition.container.image,
        "inputs": _paths(definition.inputs),
        "outputs": _paths(definition.outputs),
    }
    if function.assembled is not None:
        summary["assembled_image"] = function.assembled.uri
        summary["image_digest"] = function.assembled.source_digest
    if function.batch is not None:
        summary["job_queue"] = function.batch.job_queue.job_queue_arn
        summary["job_definition"] = function.batch.job_definition.job_definition_arn
        summary["batch_log_group"] = f"/aws/batch/{definition.name}"
    if function.endpoint is not None:
        summary["api_url"] = function.endpoint.url
        if function.endpoint.api_key_id is not None:
            summary["api_key_id"] = function.endpoint.api_key_id
    if launch is not None:
        summary["launch"] = launch.state_machine.state_machine_arn
    return summary


def _paths(entries: Sequence[StorageEntry]) -> list[str]:
    return [str(entry) for entry in entries]
