"""Compute environments and job queues. Functions whose jobs need the same kind of resources share them.

AWS allows 50 of each in a region.
"""

from __future__ import annotations

import hashlib
from typing import Self

from aws_cdk import Aws, Fn, Stack, Tags
from aws_cdk import aws_batch as batch
from constructs import Construct

from fdl_schemas.model import BatchJob, ComputeResources, Function
from scar_constructs.batch.instances import BatchInstances
from scar_constructs.batch.network import JobNetwork
from scar_constructs.batch.retries import time_limits
from scar_constructs.deployment import DeploymentError
from scar_constructs.main_stack import main_stack

_LONGEST_UPDATE_MINUTES = 360
"""How long jobs may run on when their instances are replaced; the most that Batch accepts."""


class SharedQueue(Construct):
    """A compute environment and its job queue, for all functions of one kind in a stack.

    It costs nothing while no job runs, unless a function sets a minimum number of vCPUs. `max_v_cpus` and
    `min_v_cpus` of the functions are added, so that no function has fewer vCPUs than in a queue of its own.
    """

    def __init__(
        self, scope: Construct, construct_id: str, *, job: BatchJob, network: JobNetwork | None
    ) -> None:
        super().__init__(scope, construct_id)
        self._job = job
        self._network = network
        self._functions: list[ComputeResources] = []
        self._environment = batch.CfnComputeEnvironment(
            self,
            "ComputeEnvironment",
            type="MANAGED",
            state=job.state,
            # None: Batch's service-linked role. Only with that role, Batch can update instances in place.
            service_role=job.service_role_arn,
            replace_compute_environment=job.service_role_arn is not None,
            update_policy=None
            if job.on_fargate
            else batch.CfnComputeEnvironment.UpdatePolicyProperty(
                terminate_jobs_on_update=False, job_execution_timeout_minutes=_LONGEST_UPDATE_MINUTES
            ),
        )
        self.arn = batch.CfnJobQueue(
            self,
            "JobQueue",
            priority=1,
            state=job.state,
            compute_environment_order=[
                batch.CfnJobQueue.ComputeEnvironmentOrderProperty(
                    compute_environment=self._environment.attr_compute_environment_arn, order=1
                )
            ],
            job_state_time_limit_actions=time_limits(),
        ).attr_job_queue_arn

    @classmethod
    def of(cls, scope: Construct, definition: Function, network: JobNetwork | None) -> Self:
        """The queue for a function's jobs; its `batch` is set.

        :param network: the network of jobs if the function sets no subnets.
        :raises DeploymentError: the function sets subnets without security groups.
        """
        if definition.batch is None:
            raise ValueError(f"function {definition.name} has no batch settings")
        kind = repr(_kind(definition, definition.batch, network))
        queues = _queues_of(main_stack(scope))
        name = f"{definition.batch.compute_resources.type}-{hashlib.sha256(kind.encode()).hexdigest()[:8]}"
        found = queues.node.try_find_child(name)
        queue = found if isinstance(found, cls) else cls(queues, name, job=definition.batch, network=network)
        queue._add(definition.batch.compute_resources)
        return queue

    def _add(self, resources: ComputeResources) -> None:
        self._functions.append(resources)
        self._environment.compute_resources = self._resources()

    def _resources(self) -> batch.CfnComputeEnvironment.ComputeResourcesProperty:
        first, job, every = self._functions[0], self._job, self._functions
        subnets, groups = list(first.subnets), list(first.security_group_ids)
        if not subnets and self._network is not None:
            subnets = list(self._network.subnet_ids)
            groups = [self._network.security_group_id(several_nodes=job.multi_node is not None)]
        most = sum(one.max_v_cpus for one in every)
        if job.on_fargate:
            return batch.CfnComputeEnvironment.ComputeResourcesProperty(
                type=first.type, maxv_cpus=most, subnets=subnets, security_group_ids=groups
            )
        least = sum(one.min_v_cpus for one in every)
        desired = sum(max(one.min_v_cpus, one.desired_v_cpus) for one in every)
        properties = batch.CfnComputeEnvironment
        return properties.ComputeResourcesProperty(
            type=first.type,
            allocation_strategy="SPOT_PRICE_CAPACITY_OPTIMIZED"
            if first.type == "SPOT"
            else "BEST_FIT_PROGRESSIVE",
            maxv_cpus=most,
            minv_cpus=least,
            # Batch changes this number while jobs run. It is set only if the user wants to start with more.
            desiredv_cpus=desired if desired > least else None,
            instance_types=list(first.instance_types),
            instance_role=self._profile(first.instance_role),
            launch_template=self._launch_template(first.launch_template_name),
            ec2_configuration=[
                properties.Ec2ConfigurationObjectProperty(
                    image_type="ECS_AL2023_NVIDIA" if job.gpus else "ECS_AL2023"
                )
            ],
            subnets=subnets,
            security_group_ids=groups,
        )

    def _profile(self, given: str | None) -> str:
        if given is None:
            return BatchInstances.of(self).profile_arn
        if given.startswith("arn:"):
            return given
        return f"arn:{Aws.PARTITION}:iam::{Aws.ACCOUNT_ID}:instance-profile/{given}"

    def _launch_template(
        self, given: str | None
    ) -> batch.CfnComputeEnvironment.LaunchTemplateSpecificationProperty:
        if given is not None:
            return batch.CfnComputeEnvironment.LaunchTemplateSpecificationProperty(
                launch_template_name=given, version="$Default"
            )
        ours = BatchInstances.of(self).launch_template
        return batch.CfnComputeEnvironment.LaunchTemplateSpecificationProperty(
            launch_template_id=ours.ref,
            version=Fn.get_att(ours.logical_id, "LatestVersionNumber").to_string(),
        )


def _kind(definition: Function, job: BatchJob, network: JobNetwork | None) -> tuple[object, ...]:
    """What jobs must have in common to share a compute environment. Its text is part of deployed names."""
    resources = job.compute_resources
    if resources.subnets and not resources.security_group_ids:
        raise DeploymentError(
            f"function {definition.name}: batch.compute_resources: subnets need security_group_ids too"
        )
    if not resources.subnets and network is None:
        raise ValueError("a function without subnets needs a network")
    instances = (resources.instance_types, resources.instance_role, resources.launch_template_name)
    return (
        resources.type,
        definition.architecture,
        job.state,
        job.service_role_arn,
        "" if resources.subnets or network is None else network.node.path,
        resources.subnets,
        resources.security_group_ids if resources.subnets else (),
        *(((), None, None) if job.on_fargate else instances),
        not job.on_fargate and job.gpus > 0,
        # Nodes can connect to each other, other jobs cannot.
        not job.on_fargate and job.multi_node is not None,
    )


def _queues_of(stack: Stack) -> Construct:
    """The construct that contains all queues of a stack."""
    found = stack.node.try_find_child("ScarBatch")
    if isinstance(found, Construct):
        return found
    queues = Construct(stack, "ScarBatch")
    Tags.of(queues).add("createdby", "scar")
    return queues
