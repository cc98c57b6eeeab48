"""Functions with `batch.retry`: a job that ran out of memory or time continues with the next size."""

from __future__ import annotations

import json
from collections.abc import Sequence

from aws_cdk import Duration
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from fdl_schemas.model import JobSize
from scar_constructs.findings import acknowledge
from scar_constructs.functions.data_access import allow, grant, write_log_statement
from scar_constructs.functions.failure_queue import KeptEvents
from scar_constructs.functions.handler_function import handler_file
from scar_constructs.functions.own_role import OwnRole
from scar_constructs.functions.retention import log_group
from scar_constructs.functions.service_principal import service_principal

_TIMEOUT = Duration.minutes(5)
"""Enough for SubmitJob to be throttled many times."""


class Escalation(Construct):
    """A rule for failed jobs of one function, and the small function that handles them.

    It submits a job that ran out of memory or time with the next size. The state changes of all other failed
    jobs go to the failure queue, also those that this function fails to handle.

    :param function_name: the function whose jobs they are.
    :param failed: selects the state changes of its failed jobs.
    :param sizes: the sizes after the first one, in order.
    :param failure_queue: keeps what failed.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        function_name: str,
        failed: events.EventPattern,
        sizes: Sequence[JobSize],
        job_definition_arn: str,
        job_queue_arn: str,
        failure_queue: sqs.IQueue,
    ) -> None:
        super().__init__(scope, construct_id)
        log = log_group(self, "Logs")
        description = f"Submits failed jobs of {function_name} with the next size"
        role = OwnRole(
            self,
            "Role",
            assumed_by=service_principal("lambda.amazonaws.com"),
            description=description,
        )
        grant(role, write_log_statement(log))
        allow(role, ["batch:SubmitJob"], [job_queue_arn, job_definition_arn])
        allow(role, ["sqs:SendMessage"], [failure_queue.queue_arn])
        self.function = lambda_.Function(
            self,
            "Function",
            description=description,
            runtime=lambda_.Runtime.PYTHON_3_13,
            handler="index.handler",
            code=lambda_.Code.from_inline(handler_file("escalation").read_text(encoding="utf-8")),
            role=role,
            log_group=log,
            timeout=_TIMEOUT,
            memory_size=256,
            environment={
                "SIZES": json.dumps([_described(size) for size in sizes], separators=(",", ":")),
                "JOB_QUEUE": job_queue_arn,
                "JOB_DEFINITION": job_definition_arn,
                "FAILURE_QUEUE": failure_queue.queue_url,
            },
            on_failure=KeptEvents(failure_queue),
        )
        acknowledge(
            self.function, "AwsSolutions-L1", "Python 3.13 is the version that this code is tested with."
        )
        events.Rule(
            self,
            "JobFailed",
            description=f"Handles failed jobs of {function_name}",
            event_pattern=failed,
            targets=[targets.LambdaFunction(self.function, dead_letter_queue=failure_queue)],
        )


def _described(size: JobSize) -> dict[str, float]:
    return {"memory_mib": size.memory_mib, "vcpus": size.vcpus, "timeout_s": size.timeout_s}
