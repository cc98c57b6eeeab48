"""How many resources of CloudFormation a workflow needs: at most this many, as known before synthesis."""

from __future__ import annotations

from collections.abc import Container

from fdl_schemas.model import BatchJob, Function, Workflow
from scar_constructs.launch.distributed_launch import launchable
from scar_constructs.storage.event_rules import buckets_for_event_bridge

_HANDLER = 3
"""A function behind custom resources, with its role and its log group."""
_ASSEMBLER = 5
_NETWORK = 16
"""A VPC with two subnets, their routes, an internet gateway, an endpoint and two security groups."""
_PARTLY_SHARED = 3
"""Alarms of a kind that has less functions than it could have: one of each kind."""
_BUCKET = 4
"""The bucket, its policy, its folders and its notifications."""


def resources_of(
    function: Function,
    *,
    distributed_launch: bool,
    alarms: bool = False,
    event_bridge: Container[str] | None = None,
) -> int:
    """Resources of one function, in the stack that contains it.

    :param distributed_launch: see `WorkflowResources`.
    :param alarms: whether there are alarms: one of the function, and some that functions share.
    :param event_bridge: names of the buckets that notify functions through EventBridge; None: all of them,
        which needs the most resources.
    """
    direct = dict.fromkeys(entry.bucket for entry in function.inputs if not entry.is_notified_elsewhere)
    rules = [bucket for bucket in direct if event_bridge is None or bucket in event_bridge]
    topics = {entry.topic_arn for entry in function.inputs if entry.topic_arn is not None}
    # Failure queue, log group, role, function, and the settings of asynchronous invocations.
    count = 5 + function.needs_assembled_image + function.preheat + (function.deployment_bucket is not None)
    # A rule or subscription for each source of events, and an own policy of the failure queue.
    count += len(rules) + len(topics) + (1 if rules or topics or function.batch is not None else 0)
    queues = {entry.queue for entry in function.inputs if entry.queue is not None}
    # A queue has a mapping, and a new one a policy; without a queue, each source has a permission.
    is_created = any(queue.arn is None for queue in queues)
    count += len(queues) + 2 * is_created
    count += 0 if is_created else len(direct) + len(topics)
    if function.batch is not None:
        # Log group, two roles, job definition and a rule; for larger sizes, a function with its resources.
        count += 5 + (5 if function.batch.retry else 0) + len(function.file_systems)
    if function.api_gateway is not None:
        # API, deployment, stage, log group, path, two methods with permissions; a key and its plan.
        count += 9 + (3 if function.api_gateway.auth == "API_KEY" else 0)
    if distributed_launch and launchable(function):
        count += 5
    return count + (2 if alarms else 0)


def shared_resources(workflow: Workflow, *, alarms: bool = False, dashboard: bool = False) -> int:
    """Resources that the functions of a workflow share: those of the main stack."""
    functions = workflow.functions
    jobs = [function.batch for function in functions if function.batch is not None]
    # Layer, repository, and the handlers of folders and notifications.
    count = 2 + 2 * _HANDLER + _BUCKET * len(workflow.buckets)
    count += of_each_part(workflow, alarms=alarms, dashboard=dashboard)
    # A topic with its policy and subscription, and a rule about jobs with its role.
    count += 5 if alarms else 0
    count += 6 if workflow.storage_providers else 0
    count += 2 if any(function.api_gateway is not None for function in functions) else 0
    count += 1 if any(function.once for function in functions) else 0
    if jobs:
        count += _BUCKET + _NETWORK + 2 * len({_kind(job) for job in jobs})
        count += 0 if all(job.on_fargate for job in jobs) else 3
    return count


def of_each_part(workflow: Workflow, *, alarms: bool = False, dashboard: bool = False) -> int:
    """Resources that each stack with functions has by itself, at most."""
    functions = workflow.functions
    return (
        1
        + dashboard
        + (_PARTLY_SHARED if alarms else 0)
        + _ASSEMBLER * len({function.architecture for function in functions})
        + _HANDLER * any(function.preheat for function in functions)
        + _HANDLER * any(function.deployment_bucket is not None for function in functions)
        + _HANDLER * any(function.file_systems and function.batch is not None for function in functions)
    )


def rules_of(workflow: Workflow) -> int:
    """Rules of EventBridge: of Batch jobs that failed, and of inputs that overlap."""
    through_event_bridge = buckets_for_event_bridge(workflow.functions)
    return sum(
        (function.batch is not None)
        + len(through_event_bridge & {one.bucket for one in function.inputs if not one.is_notified_elsewhere})
        for function in workflow.functions
    )


def roles_of(workflow: Workflow) -> int:
    """Roles of IAM that are created for the functions and their jobs."""
    return sum(
        (function.role_arn is None) + (0 if function.batch is None else 3 if function.batch.retry else 2)
        for function in workflow.functions
    )


def _kind(job: BatchJob) -> tuple[object, ...]:
    """Jobs with different values do not share a compute environment."""
    resources = job.compute_resources
    return (
        resources.type,
        job.state,
        job.service_role_arn,
        resources.subnets,
        resources.security_group_ids,
        *(
            ()
            if job.on_fargate
            else (
                resources.instance_types,
                resources.instance_role,
                resources.launch_template_name,
                job.gpus > 0,
                job.multi_node is not None,
            )
        ),
    )
