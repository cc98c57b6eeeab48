"""The Batch jobs of one function: job definition, roles and logs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from aws_cdk import Aws
from aws_cdk import aws_batch as batch
from aws_cdk import aws_ecr as ecr
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_iam as iam
from aws_cdk import aws_logs as logs
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from fdl_schemas.model import BatchJob, Function
from scar_constructs.batch.escalation import Escalation
from scar_constructs.batch.event_store import VARIABLE as EVENT_BUCKET
from scar_constructs.batch.event_store import EventStore
from scar_constructs.batch.failures import failed_jobs
from scar_constructs.batch.network import JobNetwork
from scar_constructs.batch.queues import SharedQueue
from scar_constructs.batch.retries import retry_strategy
from scar_constructs.batch.volumes import mounted
from scar_constructs.functions.data_access import (
    allow,
    grant,
    grant_data_access,
    grant_ecr_login,
    grant_image,
    write_log_statement,
)
from scar_constructs.functions.own_role import OwnRole
from scar_constructs.functions.retention import log_group, retention
from scar_constructs.functions.service_principal import service_principal

COMMAND = ("batch",)
"""The argument of the runner, which is the entry point of assembled images (`runtime/__main__.py`)."""

MEMORY = "SCAR_MEMORY_MIB"
"""Variable of a job with its memory, for the summary line of a run."""

_PULL = ("ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer")
_EVERY_NODE = "0:"


class FunctionJobs(Construct):
    """The job definition of a function, and the shared queue that its jobs wait in.

    A job runs in the function's assembled image and handles one event (`runtime/delegation.py`). When its
    last attempt has failed, its state change, which contains or names the event, is sent to the failure
    queue.

    :param definition: the function; its `batch` is set.
    :param buckets: the buckets that its entries name.
    :param image_uri: the assembled image.
    :param repository: its repository; None: another one in ECR.
    :param environment: variables of every job.
    :param failure_queue: keeps events that failed.
    :param event_store: passes long events to jobs.
    :param network: the network of jobs if the function sets no subnets.
    :raises DeploymentError: the function sets subnets without security groups.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        definition: Function,
        buckets: Mapping[str, s3.IBucket],
        image_uri: str,
        repository: ecr.IRepository | None,
        environment: Mapping[str, str],
        failure_queue: sqs.IQueue,
        event_store: EventStore | None,
        network: JobNetwork | None,
    ) -> None:
        super().__init__(scope, construct_id)
        if definition.batch is None:
            raise ValueError(f"function {definition.name} has no batch settings")
        if event_store is None:
            raise ValueError(f"function {definition.name} needs an event store")
        self.event_store = event_store
        job = definition.batch
        self.log_group = log_group(
            self, "Logs", retention(definition.log_retention_days), f"/aws/batch/{definition.name}"
        )
        self.job_role = OwnRole(
            self,
            "JobRole",
            assumed_by=service_principal("ecs-tasks.amazonaws.com"),
            description=f"Permissions of the jobs of {definition.name}",
        )
        grant_data_access(self.job_role, definition, buckets)
        event_store.grant_read(self.job_role)
        execution_role = OwnRole(
            self,
            "ExecutionRole",
            assumed_by=service_principal("ecs-tasks.amazonaws.com"),
            description=f"Starts jobs of {definition.name} and writes their logs",
        )
        grant(execution_role, write_log_statement(self.log_group))
        if repository is not None:
            allow(execution_role, _PULL, [repository.repository_arn])
            grant_ecr_login(execution_role)
        else:
            grant_image(execution_role, definition.container)
        self.queue = SharedQueue.of(self, definition, network)
        volumes, mount_points = mounted(self, definition.file_systems, self.job_role)
        properties = batch.CfnJobDefinition
        container = properties.ContainerPropertiesProperty(
            image=image_uri,
            command=list(COMMAND),
            resource_requirements=_requirements(job),
            environment=[
                properties.EnvironmentProperty(name=name, value=value)
                for name, value in {
                    **environment,
                    **job.environment,
                    "AWS_REGION": Aws.REGION,
                    MEMORY: str(job.memory_mib),
                }.items()
            ],
            job_role_arn=self.job_role.role_arn,
            execution_role_arn=execution_role.role_arn,
            log_configuration=_logs(definition.name, self.log_group),
            volumes=volumes or None,
            mount_points=mount_points or None,
            **(_fargate(definition, job, network) if job.on_fargate else {}),
        )
        several = job.multi_node
        self.job_definition = batch.CfnJobDefinition(
            self,
            "JobDefinition",
            type="container" if several is None else "multinode",
            container_properties=container if several is None else None,
            node_properties=None
            if several is None
            else properties.NodePropertiesProperty(
                num_nodes=several.number_nodes,
                main_node=several.main_node_index,
                node_range_properties=[
                    properties.NodeRangePropertyProperty(target_nodes=_EVERY_NODE, container=container)
                ],
            ),
            platform_capabilities=["FARGATE" if job.on_fargate else "EC2"],
            retry_strategy=retry_strategy(job),
            timeout=properties.TimeoutProperty(attempt_duration_seconds=job.timeout_s),
        )
        # A job must not start before its roles have their policies.
        self.job_definition.node.add_dependency(self.job_role, execution_role)
        failed = failed_jobs(self.job_definition.ref)
        if job.retry:
            Escalation(
                self,
                "Escalation",
                function_name=definition.name,
                failed=failed,
                sizes=job.retry,
                job_definition_arn=self.job_definition.ref,
                job_queue_arn=self.queue.arn,
                failure_queue=failure_queue,
            )
        else:
            events.Rule(
                self,
                "LastAttemptFailed",
                description=f"Keeps the event of a failed job of {definition.name}",
                event_pattern=failed,
                targets=[targets.SqsQueue(failure_queue)],
            )

    @property
    def variables(self) -> Mapping[str, str]:
        """Variables of the function that submits jobs."""
        return {
            "SCAR_JOB_QUEUE": self.queue.arn,
            "SCAR_JOB_DEFINITION": self.job_definition.ref,
            EVENT_BUCKET: self.event_store.bucket.bucket_name,
        }

    def grant_submit(self, role: iam.IRole) -> None:
        """Let a role submit jobs of this definition to this queue."""
        allow(role, ["batch:SubmitJob"], [self.queue.arn, self.job_definition.ref])
        self.event_store.grant_write(role)


def _requirements(job: BatchJob) -> Sequence[batch.CfnJobDefinition.ResourceRequirementProperty]:
    needs = {"MEMORY": f"{job.memory_mib}", "VCPU": f"{job.vcpus:g}"}
    if job.gpus:
        needs["GPU"] = f"{job.gpus}"
    return [
        batch.CfnJobDefinition.ResourceRequirementProperty(type=kind, value=value)
        for kind, value in needs.items()
    ]


def _logs(function_name: str, log_group: logs.ILogGroup) -> batch.CfnJobDefinition.LogConfigurationProperty:
    return batch.CfnJobDefinition.LogConfigurationProperty(
        log_driver="awslogs",
        options={
            "awslogs-group": log_group.log_group_name,
            "awslogs-region": Aws.REGION,
            "awslogs-stream-prefix": function_name,
        },
    )


def _fargate(definition: Function, job: BatchJob, network: JobNetwork | None) -> Mapping[str, Any]:
    """Properties of containers that only Fargate has."""
    properties = batch.CfnJobDefinition
    public = job.compute_resources.assign_public_ip
    if public is None:
        public = network is not None and not job.compute_resources.subnets and network.assign_public_ip
    storage = job.ephemeral_storage_gib
    return {
        "network_configuration": properties.NetworkConfigurationProperty(
            assign_public_ip="ENABLED" if public else "DISABLED"
        ),
        "fargate_platform_configuration": properties.FargatePlatformConfigurationProperty(
            platform_version="LATEST"
        ),
        "runtime_platform": properties.RuntimePlatformProperty(
            cpu_architecture=definition.architecture.upper(), operating_system_family="LINUX"
        ),
        "ephemeral_storage": None
        if storage is None
        else properties.EphemeralStorageProperty(size_in_gib=storage),
    }
