"""Quotas of AWS that a workflow exceeds."""

from __future__ import annotations

from collections.abc import Iterator

from fdl_schemas.model import Workflow
from scar_constructs.resource_counts import of_each_part, resources_of, roles_of, rules_of, shared_resources
from scar_constructs.storage.event_rules import buckets_for_event_bridge

_RESOURCES_AT_ONCE = 2_500
"""Created, updated or deleted in one operation on a stack with nested stacks
(https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/cloudformation-limits.html)."""
_RULES = 300
"""Of the default event bus; 100 in some regions (https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-quota.html)."""
_ROLES = 1_000
"""Of an account (https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html)."""


def exceeded_quotas(
    workflow: Workflow,
    stacks: int,
    *,
    distributed_launch: bool,
    alarms: bool = False,
    dashboard: bool = False,
) -> Iterator[tuple[str, str]]:
    """Code and text of a warning for each quota that the workflow alone exceeds.

    :param stacks: number of stacks that its functions are in.
    :param distributed_launch: see `WorkflowResources`.
    :param alarms: whether there are alarms.
    :param dashboard: see `WorkflowResources`.
    """
    event_bridge = buckets_for_event_bridge(workflow.functions)
    own = sum(
        resources_of(
            function, distributed_launch=distributed_launch, alarms=alarms, event_bridge=event_bridge
        )
        for function in workflow.functions
    )
    resources = own + shared_resources(workflow, alarms=alarms, dashboard=dashboard)
    resources += (stacks - 1) * of_each_part(workflow, alarms=alarms, dashboard=dashboard)
    if resources > _RESOURCES_AT_ONCE:
        yield (
            "too-many-resources",
            f"The workflow has about {resources} resources, and CloudFormation creates or deletes at most "
            f"{_RESOURCES_AT_ONCE} at once. Deploy the first half of the functions first, and remove half of "
            "them before you delete the stack; or use several FDL files",
        )
    for code, number, most, what, quota in (
        ("too-many-rules", rules_of(workflow), _RULES, "EventBridge rules", "Number of rules"),
        ("too-many-roles", roles_of(workflow), _ROLES, "IAM roles", "Roles per account"),
    ):
        if number > most:
            yield (
                code,
                f"The workflow has {number} {what}, and the default quota is {most}. Request an increase of "
                f'the quota "{quota}" before you deploy, or use several accounts or regions',
            )
