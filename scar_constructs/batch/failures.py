"""Which state changes of Batch are failures of a function's jobs.

Functions share queues, so the job definition identifies the function.
"""

from __future__ import annotations

from aws_cdk import Aws, Fn
from aws_cdk import aws_events as events

_NAME = 5
"""Index of `job-definition/NAME` in `arn:PARTITION:batch:REGION:ACCOUNT:job-definition/NAME:REVISION`."""


def failed_jobs(job_definition_arn: str) -> events.EventPattern:
    """Jobs of any revision of a definition that have failed, and that Batch does not retry.

    An array job fails because its children fail, and a job with several nodes fails with its main node. The
    state changes of the array job itself and of the nodes are left out: they would repeat the failure.
    """
    name = Fn.select(_NAME, Fn.split(":", job_definition_arn))
    every_revision = f"arn:{Aws.PARTITION}:batch:{Aws.REGION}:{Aws.ACCOUNT_ID}:{name}:"
    return events.EventPattern(
        source=["aws.batch"],
        detail_type=["Batch Job State Change"],
        detail={
            "status": ["FAILED"],
            "jobDefinition": events.Match.prefix(every_revision),
            "arrayProperties": {"size": events.Match.does_not_exist()},
            "nodeProperties": {"nodeIndex": events.Match.does_not_exist()},
        },
    )
