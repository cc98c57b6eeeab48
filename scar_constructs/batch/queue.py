"""AWS Batch for one function: compute environment, job queue and job definition."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from aws_cdk import Aws, Duration, Size
from aws_cdk import aws_batch as batch
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_ecr as ecr
from aws_cdk import aws_ecs as ecs
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_iam as iam
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from fdl_schemas.model import BatchJob, ComputeResources, Function
from scar_constructs.batch.event_store import VARIABLE as EVENT_BUCKET
from scar_constructs.batch.event_store import EventStore
from scar_constructs.batch.network import BatchNetwork
from scar_constructs.deployment import DeploymentError
from scar_constructs.findings import acknowledge
from scar_constructs.functions.data_access import grant_data_access, grant_ecr_login, grant_image
from scar_constructs.functions.retention import log_group, retention

COMMAND = ("batch",)
"""The argument of the runner, which is the entry point of assembled images (`runtime/__main__.py`)."""

_ARCHITECTURES = {"x86_64": ecs.CpuArchitecture.X86_64, "arm64": ecs.CpuArchitecture.ARM64}


class BatchQueue(Construct):
    """A Fargate compute environment, a job queue and a job definition for one function. Costs nothing while
    no job runs.

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
        network: BatchNetwork | None,
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
        self.job_role = iam.Role(
            self,
            "JobRole",
            assumed_by=iam.ServicePrincipal("ecs-tasks.amazonaws.com"),
            description=f"Permissions of the jobs of {definition.name}",
        )
        grant_data_access(self.job_role, definition, buckets)
        event_store.grant_read(self.job_role)
        execution_role = iam.Role(
            self,
            "ExecutionRole",
            assumed_by=iam.ServicePrincipal("ecs-tasks.amazonaws.com"),
            description=f"Starts jobs of {definition.name} and writes their logs",
        )
        if repository is not None:
            repository.grant_pull(execution_role)
            grant_ecr_login(execution_role)
        else:
            grant_image(execution_role, definition.container)
        self.job_queue = self._queue(definition, job, network)
        self.job_definition = batch.EcsJobDefinition(
            self,
            "JobDefinition",
            container=batch.EcsFargateContainerDefinition(
                self,
                "Container",
                image=ecs.ContainerImage.from_registry(image_uri),
                command=list(COMMAND),
                cpu=job.vcpus,
                memory=Size.mebibytes(job.memory_mib),
                environment={**environment, **job.environment, "AWS_REGION": Aws.REGION},
                job_role=self.job_role,
                execution_role=execution_role,
                logging=ecs.LogDriver.aws_logs(stream_prefix=definition.name, log_group=self.log_group),
                assign_public_ip=True,
                fargate_cpu_architecture=_ARCHITECTURES[definition.architecture],
                fargate_operating_system_family=ecs.OperatingSystemFamily.LINUX,
                fargate_platform_version=ecs.FargatePlatformVersion.LATEST,
            ),
            retry_attempts=job.attempts,
            timeout=Duration.seconds(job.timeout_s),
        )
        events.Rule(
            self,
            "LastAttemptFailed",
            description=f"Keeps the event of a failed job of {definition.name}",
            event_pattern=events.EventPattern(
                source=["aws.batch"],
                detail_type=["Batch Job State Change"],
                detail={"status": ["FAILED"], "jobQueue": [self.job_queue.job_queue_arn]},
            ),
            targets=[targets.SqsQueue(failure_queue)],
        )

    @property
    def variables(self) -> Mapping[str, str]:
        """The variables of the function that submits jobs."""
        return {
            "SCAR_JOB_QUEUE": self.job_queue.job_queue_arn,
            "SCAR_JOB_DEFINITION": self.job_definition.job_definition_arn,
            EVENT_BUCKET: self.event_store.bucket.bucket_name,
        }

    def grant_submit(self, role: iam.IRole) -> None:
        """Let a role submit jobs of this definition to this queue."""
        self.job_definition.grant_submit_job(role, self.job_queue)
        self.event_store.grant_write(role)

    def _queue(self, definition: Function, job: BatchJob, network: BatchNetwork | None) -> batch.JobQueue:
        vpc, subnets, security_groups = self._placement(definition.name, job.compute_resources, network)
        role_arn = job.service_role_arn
        environment = batch.FargateComputeEnvironment(
            self,
            "ComputeEnvironment",
            vpc=vpc,
            vpc_subnets=subnets,
            security_groups=security_groups,
            maxv_cpus=job.compute_resources.max_v_cpus,
            spot=job.compute_resources.type == "FARGATE_SPOT",
            enabled=job.state == "ENABLED",
            # None: Batch's own service-linked role.
            service_role=iam.Role.from_role_arn(self, "ServiceRole", role_arn, mutable=False)
            if role_arn is not None
            else None,
        )
        return batch.JobQueue(
            self,
            "JobQueue",
            compute_environments=[batch.OrderedComputeEnvironment(compute_environment=environment, order=1)],
            enabled=job.state == "ENABLED",
        )

    def _placement(
        self, function_name: str, resources: ComputeResources, network: BatchNetwork | None
    ) -> tuple[ec2.IVpc, ec2.SubnetSelection, Sequence[ec2.ISecurityGroup]]:
        if not resources.subnets:
            if network is None:
                raise ValueError("a function that names no subnets needs a network")
            return (
                network.vpc,
                ec2.SubnetSelection(subnet_type=ec2.SubnetType.PUBLIC),
                [network.security_group],
            )
        if not resources.security_group_ids:
            raise DeploymentError(
                f"function {function_name}: batch.compute_resources: subnets need security_group_ids too"
            )
        # The construct requires a VPC, but uses it only to find subnets and to create a security group.
        vpc = ec2.Vpc.from_vpc_attributes(self, "Vpc", vpc_id="not-used", availability_zones=["not-used"])
        subnets = [
            ec2.Subnet.from_subnet_id(self, f"Subnet{number}", subnet_id)
            for number, subnet_id in enumerate(resources.subnets)
        ]
        for subnet in subnets:
            no_routes = "Annotation::@aws-cdk/aws-ec2:noSubnetRouteTableId"
            acknowledge(subnet, no_routes, "The routes of a given subnet are not checked.")
        groups = [
            ec2.SecurityGroup.from_security_group_id(self, f"SecurityGroup{number}", group_id, mutable=False)
            for number, group_id in enumerate(resources.security_group_ids)
        ]
        return vpc, ec2.SubnetSelection(subnets=subnets), groups
