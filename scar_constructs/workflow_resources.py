"""The resources of one workflow, as children of any construct: a stack of its own, or a `ScarWorkflow`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TypedDict

from aws_cdk import Annotations, CfnOutput, Stack, Token
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_s3 as s3
from constructs import Construct

from fdl_schemas.model import BatchJob, StorageEntry, Workflow
from fdl_schemas.prices.table import RegionPrices
from scar_constructs.batch.event_store import EventStore
from scar_constructs.batch.network import JobNetwork
from scar_constructs.construct_names import id_for
from scar_constructs.container_function import ContainerFunction
from scar_constructs.deployment import DeploymentError
from scar_constructs.functions.claims import Claims
from scar_constructs.functions.provider_settings import providers_of, stack_values
from scar_constructs.functions.retention import retention
from scar_constructs.functions.runner_asset import RunnerAsset
from scar_constructs.images.images import WorkflowImages
from scar_constructs.launch.distributed_launch import DistributedLaunch, launchable
from scar_constructs.monitoring.compute_prices import (
    prices_for,
    usd_per_invocation,
    usd_per_ms,
    usd_per_ms_of_jobs,
)
from scar_constructs.monitoring.measured import Measured
from scar_constructs.monitoring.resources import AlarmTopic, FunctionsMonitoring, StuckJobs
from scar_constructs.parts import MAIN, parts_of
from scar_constructs.quotas import exceeded_quotas
from scar_constructs.regions import folders_of
from scar_constructs.storage.buckets import WorkflowBuckets
from scar_constructs.storage.event_rules import ObjectCreatedRule, buckets_for_event_bridge, wildcards_fit
from scar_constructs.storage.notifications import FunctionDestination, notify, wait_for
from scar_constructs.storage.secret import StorageSecret
from scar_constructs.storage.topics import TopicTrigger
from scar_constructs.workflow_part import WorkflowPart

OUTPUT = "ScarWorkflow"
"""Name of the output with the deployed resources, as JSON, for `scar`. Nested stacks have one, too."""

_REGION_OF_ARN = 3


class ResourceOptions(TypedDict, total=False):
    """The options of `WorkflowResources`, which describes them."""

    folders: Mapping[str, Sequence[str]]
    foreign_buckets: Sequence[str]
    existing_buckets: Sequence[str]
    bucket_keys: Mapping[str, str]
    destroy_buckets: bool
    registry_mirrors: str | None
    distributed_launch: bool
    metrics: bool
    dashboard: bool
    alarm_email: str | None
    alarm_topic: str | None
    udocker_tarball: Path | None


class WorkflowResources:
    """Everything that one FDL file describes (or, of functions in several regions, one region's part).

    Not a construct: in a stack of its own, a workflow's constructs are the stack's children, and changing
    their paths would replace the buckets and functions of deployed stacks.

    :param scope: the parent of the constructs.
    :param workflow: the validated FDL file, with final names (`deployment.with_real_names`) and without
        variables in the settings of storage providers (`provider_settings.with_environment_values`).
    :param region: the region of the stack, if it is known.
    :param folders: folders of the buckets, if other stacks use some, too.
    :param foreign_buckets: names of the buckets that other stacks create.
    :param existing_buckets: names of existing buckets.
    :param bucket_keys: ARNs of the KMS keys of buckets, by their final names.
    :param destroy_buckets: delete the buckets that this construct creates, with all files, and the failure
        queues, with all events, when the stack is destroyed.
    :param registry_mirrors: see `ContainerFunction`.
    :param distributed_launch: create a `DistributedLaunch` for each function that reads from S3 and is not in
        `batch` mode.
    :param metrics: see `ContainerFunction`.
    :param dashboard: create a dashboard for each stack with functions.
    :param alarm_email: create alarms, and a topic that sends their notifications to this address.
    :param alarm_topic: create alarms that notify this topic, an ARN; not together with `alarm_email`.
    :param udocker_tarball: see `RunnerAsset`.
    :param vpc: of Batch jobs if the function sets no subnets; None: one is created.
    :raises DeploymentError: a function sets subnets without security groups, or the topic is in another
        region.
    """

    def __init__(
        self,
        scope: Construct,
        *,
        workflow: Workflow,
        region: str | None = None,
        folders: Mapping[str, Sequence[str]] | None = None,
        foreign_buckets: Sequence[str] = (),
        existing_buckets: Sequence[str] = (),
        bucket_keys: Mapping[str, str] = MappingProxyType({}),
        destroy_buckets: bool = False,
        registry_mirrors: str | None = None,
        distributed_launch: bool = False,
        metrics: bool = True,
        dashboard: bool = False,
        alarm_email: str | None = None,
        alarm_topic: str | None = None,
        udocker_tarball: Path | None = None,
        vpc: ec2.IVpc | None = None,
    ) -> None:
        self._workflow = workflow
        _require_region(alarm_topic, region)
        has_alarms = alarm_email is not None or alarm_topic is not None
        self.buckets = WorkflowBuckets(
            scope,
            "Buckets",
            workflow=workflow,
            folders=folders_of(workflow) if folders is None else folders,
            existing=existing_buckets,
            foreign=foreign_buckets,
            keys=bucket_keys,
            destroy=destroy_buckets,
        )
        runner = RunnerAsset(scope, "Runner", udocker_tarball=udocker_tarball)
        network = _network(scope, workflow, vpc)
        used = [one for definition in workflow.functions for one in providers_of(definition, workflow)]
        values = stack_values(used)
        storage_secret = StorageSecret(scope, "StorageSecret", values=values) if values else None
        images = WorkflowImages(
            scope,
            "Images",
            runner=runner,
            registry_mirrors=registry_mirrors,
            keep=not all(definition.delete_ecr_image for definition in workflow.functions),
        )
        has_jobs = any(definition.batch is not None for definition in workflow.functions)
        event_store = EventStore(scope, "Events", destroy=destroy_buckets) if has_jobs else None
        claims = Claims(scope, "Claims") if any(one.once for one in workflow.functions) else None
        optional: _Optional = {
            "distributed_launch": distributed_launch,
            "alarms": has_alarms,
            "dashboard": dashboard,
        }
        numbers = parts_of(workflow, **optional)
        for code, text in exceeded_quotas(workflow, len({MAIN, *numbers.values()}), **optional):
            Annotations.of(scope).add_warning_v2(f"scar:{code}", text)
        parts = {MAIN: _Part(scope, self.buckets.by_name, images)}
        for number in sorted({*numbers.values()} - {MAIN}):
            own = [definition for definition in workflow.functions if numbers[definition.name] == number]
            nested = WorkflowPart(scope, number, functions=own, buckets=self.buckets)
            of_part = WorkflowImages(
                nested, "Images", runner=runner, registry_mirrors=registry_mirrors, main=images
            )
            parts[number] = _Part(nested, nested.buckets, of_part)
        self.functions = []
        for definition in workflow.functions:
            part = parts[numbers[definition.name]]
            function = ContainerFunction(
                part.functions,
                id_for(definition.name),
                definition=definition,
                buckets=part.buckets,
                runner=runner,
                network=network,
                providers=providers_of(definition, workflow),
                storage_secret=storage_secret,
                registry_mirrors=registry_mirrors,
                allow_loops=workflow.allow_loops,
                bucket_keys=bucket_keys,
                destroy=destroy_buckets,
                images=part.images,
                event_store=event_store,
                claims=claims,
                metrics=metrics,
            )
            part.members.append(function)
            self.functions.append(function)
        for function in self.functions:
            if function.endpoint is not None:
                CfnOutput(
                    function,
                    "Url",
                    value=function.endpoint.url,
                    description=f"HTTP endpoint of {function.definition.name}",
                )
        self._known_region = region
        self._event_bridge = buckets_for_event_bridge(workflow.functions)
        self._wildcards = wildcards_fit(workflow.functions)
        for part in parts.values():
            for function in part.members:
                self._connect(function, part.buckets)
                if distributed_launch and launchable(function.definition):
                    part.launches[function.definition.name] = _launch(function, part.buckets)
        if alarm_email is not None:
            alarm_topic = AlarmTopic(scope, "AlarmTopic", email=alarm_email).arn
        self._monitor(scope, parts.values(), alarm_topic, dashboard=dashboard)
        self.outputs = [
            CfnOutput(
                part.scope,
                OUTPUT,
                value=Stack.of(part.scope).to_json_string(self._summary(part)),
                description="The deployed resources, for scar",
            )
            for part in parts.values()
        ]

    def _connect(self, function: ContainerFunction, buckets: Mapping[str, s3.IBucket]) -> None:
        """Let the function's inputs trigger it, or fill its queue: by S3's notifications, by EventBridge, by
        topics. An existing queue is filled by its owner."""
        queue = function.input_queues.get(None)
        notified: list[StorageEntry] = []
        by_bucket: dict[str, list[StorageEntry]] = defaultdict(list)
        by_topic: dict[str, list[StorageEntry]] = defaultdict(list)
        for entry in function.definition.inputs:
            if entry.topic_arn is not None:
                by_topic[entry.topic_arn].append(entry)
            elif entry.is_notified_elsewhere:
                continue
            elif entry.bucket in self._event_bridge:
                by_bucket[entry.bucket].append(entry)
            else:
                notified.append(entry)
        to_queue: s3.IBucketNotificationDestination | None = None
        if queue is not None and notified:
            to_queue = queue.destination(list(dict.fromkeys(entry.bucket for entry in notified)))
        for entry in notified:
            member = self.buckets.members[entry.bucket]
            destination = to_queue or FunctionDestination(function.function, entry.bucket)
            # Folders first: on destroy, notifications then end before a bucket is emptied.
            notify(member.bucket, destination, entry, after=[member.folders])
        for name, entries in by_bucket.items():
            self.buckets.by_name[name].enable_event_bridge_notification()
            ObjectCreatedRule(
                function,
                f"From-{name}",
                bucket=buckets[name],
                target=targets.LambdaFunction(function.function, dead_letter_queue=function.failure_queue)
                if queue is None
                else targets.SqsQueue(queue.queue, dead_letter_queue=function.failure_queue),
                entries=entries,
                wildcards=self._wildcards,
            )
            wait_for(self.buckets.by_name[name], self.buckets.members[name].folders)
        for number, (topic_arn, entries) in enumerate(by_topic.items()):
            TopicTrigger(
                function,
                f"Topic{number}",
                topic_arn=topic_arn,
                target=function.function if queue is None else queue.queue,
                entries=entries,
                failure_queue=function.failure_queue,
                region=self._known_region,
            )

    def _monitor(
        self, scope: Construct, parts: Iterable[_Part], alarm_topic: str | None, *, dashboard: bool
    ) -> None:
        """Add the dashboards, and alarms that notify a topic."""
        queues = [one.batch.queue.arn for one in self.functions if one.batch is not None]
        if alarm_topic is not None and queues:
            StuckJobs(scope, "StuckJobs", queues=queues, topic_arn=alarm_topic)
        if alarm_topic is None and not dashboard:
            return
        prices = prices_for(self._workflow.functions, self._known_region)
        for part in parts:
            if part.members:
                FunctionsMonitoring(
                    part.scope,
                    "Monitoring",
                    functions=[(_measured(function, prices), function) for function in part.members],
                    title=_title(self._workflow) if dashboard else None,
                    priced_region=prices.region,
                    topic_arn=alarm_topic,
                )

    def _summary(self, part: _Part) -> Mapping[str, object]:
        stage = self._workflow.stage
        return {
            "workflow": self._workflow.name,
            **({} if stage is None else {"stage": stage}),
            "functions": [
                _summary(function, part.launches.get(function.definition.name)) for function in part.members
            ],
            "buckets": [] if isinstance(part.scope, WorkflowPart) else list(self.buckets.members),
        }


class _Optional(TypedDict):
    """What a workflow may have."""

    distributed_launch: bool
    alarms: bool
    dashboard: bool


class _Part:
    """Functions in one stack, and what they use of it.

    :param scope: the parent of the constructs.
    :param buckets: the buckets of the workflow, as functions of this stack name them.
    :param images: assembles their images.
    """

    def __init__(self, scope: Construct, buckets: Mapping[str, s3.IBucket], images: WorkflowImages) -> None:
        self.scope = scope
        self.buckets = buckets
        self.images = images
        self.functions = Construct(scope, "Functions")
        self.members: list[ContainerFunction] = []
        self.launches: dict[str, DistributedLaunch] = {}


def needs_vpc(workflow: Workflow) -> bool:
    """Whether there are jobs whose functions name no subnets."""
    return bool(_jobs_without_subnets(workflow))


def _jobs_without_subnets(workflow: Workflow) -> Sequence[BatchJob]:
    jobs = [function.batch for function in workflow.functions if function.batch is not None]
    return [job for job in jobs if not job.compute_resources.subnets]


def _network(scope: Construct, workflow: Workflow, vpc: ec2.IVpc | None) -> JobNetwork | None:
    """The network of the jobs whose functions name no subnets, if there are any."""
    jobs = _jobs_without_subnets(workflow)
    if not jobs:
        return None
    network = JobNetwork.of(scope, vpc)
    if not all(job.on_fargate for job in jobs):
        network.allow_instances()
    return network


def _launch(function: ContainerFunction, buckets: Mapping[str, s3.IBucket]) -> DistributedLaunch:
    return DistributedLaunch(
        function,
        "Launch",
        definition=function.definition,
        function=function.function,
        failure_queue=function.failure_queue,
        buckets=buckets,
        retention=retention(function.definition.log_retention_days),
    )


def _require_region(topic_arn: str | None, region: str | None) -> None:
    """
    :raises DeploymentError: the topic is in another region.
    """
    if topic_arn is None or region is None or Token.is_unresolved(topic_arn):
        return
    of_topic = topic_arn.split(":")[_REGION_OF_ARN]
    if of_topic != region:
        raise DeploymentError(
            f"-c alarm_topic={topic_arn}: the topic is in region {of_topic}, and the functions in {region}: "
            "use a topic in the region of the functions, because alarms cannot notify others"
        )


def _measured(function: ContainerFunction, prices: RegionPrices) -> Measured:
    definition = function.definition
    return Measured(
        name=definition.name,
        failure_queue=function.failure_queue.queue_name,
        queues=tuple(queue.queue.queue_name for queue in function.input_queues.values()),
        has_events=any(entry.queue is None for entry in definition.inputs),
        usd_per_invocation=usd_per_invocation(prices),
        usd_per_ms=usd_per_ms(definition, prices),
        usd_per_ms_of_jobs=usd_per_ms_of_jobs(definition, prices),
        runs_in_lambda=definition.runs_in_lambda,
    )


def _title(workflow: Workflow) -> str:
    stage = "" if workflow.stage is None else f", stage {workflow.stage}"
    return (
        f"# {workflow.name}{stage}\nCreated by scar-cdk: a deployment overwrites changes. `scar status` "
        "shows why runs failed, and `scar report` what happened to each file."
    )


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
        summary["job_queue"] = function.batch.queue.arn
        summary["job_definition"] = function.batch.job_definition.ref
        summary["batch_log_group"] = f"/aws/batch/{definition.name}"
        summary["event_bucket"] = function.batch.event_store.bucket.bucket_name
    if (queue := function.input_queues.get(None)) is not None:
        summary["input_queue_url"] = queue.queue.queue_url
    if given := [queue.queue.queue_url for arn, queue in function.input_queues.items() if arn is not None]:
        summary["given_queue_urls"] = given
    if function.endpoint is not None:
        summary["api_url"] = function.endpoint.url
        if function.endpoint.api_key_id is not None:
            summary["api_key_id"] = function.endpoint.api_key_id
    if launch is not None:
        summary["launch"] = launch.state_machine.state_machine_arn
    return summary


def _paths(entries: Sequence[StorageEntry]) -> list[str]:
    return [str(entry) for entry in entries]
