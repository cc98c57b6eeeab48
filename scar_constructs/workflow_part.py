"""A nested stack with functions of a workflow that have no room in its stack."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from aws_cdk import CfnResource, NestedStack
from aws_cdk import aws_s3 as s3
from constructs import Construct

from fdl_schemas.model import Function
from scar_constructs.storage.buckets import WorkflowBuckets
from scar_constructs.template_checks import accept_in_cfn_lint, accept_literal_text


class WorkflowPart(NestedStack):
    """Functions, with everything that belongs to them alone.

    Buckets are known by name here: their ARNs would be parameters, of which a stack has at most 200. They are
    created before, and deleted after, the functions.

    :param number: from 1.
    :param functions: those of the part, with final names of buckets.
    :param buckets: the buckets of the workflow.
    """

    def __init__(
        self, scope: Construct, number: int, *, functions: Iterable[Function], buckets: WorkflowBuckets
    ) -> None:
        super().__init__(scope, f"Part{number}", description=f"Part {number} of a SCAR workflow: functions")
        accept_in_cfn_lint(self)
        accept_literal_text(self)
        names = dict.fromkeys(
            entry.bucket for function in functions for entry in (*function.inputs, *function.outputs)
        )
        imported = Construct(self, "Buckets")
        self.buckets: Mapping[str, s3.IBucket] = {
            name: buckets.named(imported, name) for name in names if name in buckets.by_name
        }
        for name in self.buckets:
            resource = buckets.by_name[name].node.default_child
            if isinstance(resource, CfnResource) and self.nested_stack_resource is not None:
                self.nested_stack_resource.add_resource_dependency(resource)
