"""When Batch retries a job, and when it stops waiting for capacity.

Exit codes are those of `runtime/batch_job.py`. Patterns may contain letters, digits, dots, colons and white
space, and end with `*`
(https://docs.aws.amazon.com/batch/latest/APIReference/API_EvaluateOnExit.html).
"""

from __future__ import annotations

from aws_cdk import aws_batch as batch

from fdl_schemas.model import BatchJob

_MISCONFIGURED, _OUT_OF_TIME, _OUT_OF_MEMORY = "2", "124", "137"
_MOST_ATTEMPTS = 10
_ON_INSTANCES, _ON_FARGATE = "Host EC2*", "Your Spot Task was interrupted*"
"""The status reason of an attempt whose host was reclaimed."""

_MISCONFIGURATION_S = 600
_CAPACITY_S = 4 * 3600
_REASONS = {
    "CAPACITY:INSUFFICIENT_INSTANCE_CAPACITY": _CAPACITY_S,
    "MISCONFIGURATION:COMPUTE_ENVIRONMENT_MAX_RESOURCE": _MISCONFIGURATION_S,
    "MISCONFIGURATION:JOB_RESOURCE_REQUIREMENT": _MISCONFIGURATION_S,
}
"""Why a job at the head of a queue cannot start, and after how many seconds it is canceled. Batch accepts at
least 600."""


def retry_strategy(job: BatchJob) -> batch.CfnJobDefinition.RetryStrategyProperty:
    """Retry after a failure, except if the next attempt would fail in the same way.

    That is the case if the job is misconfigured, or ran out of time or memory. If the user wants a single
    attempt, an attempt whose host was reclaimed does not count.
    """
    reclaimed = _rule("RETRY", on_status_reason=_ON_FARGATE if job.on_fargate else _ON_INSTANCES)
    if job.attempts == 1:
        # None of them is always set: a container that never started has no exit code.
        rules = [
            reclaimed,
            _rule("EXIT", on_exit_code="*"),
            _rule("EXIT", on_reason="*"),
            _rule("EXIT", on_status_reason="*"),
        ]
    else:
        rules = [
            # Before the exit codes: the exit code of an interrupted task on Fargate can be 137.
            reclaimed,
            *(_rule("EXIT", on_exit_code=code) for code in (_MISCONFIGURED, _OUT_OF_TIME, _OUT_OF_MEMORY)),
            _rule("EXIT", on_reason="OutOfMemoryError*"),
        ]
    return batch.CfnJobDefinition.RetryStrategyProperty(
        attempts=_MOST_ATTEMPTS if job.attempts == 1 else job.attempts, evaluate_on_exit=rules
    )


def time_limits() -> list[batch.CfnJobQueue.JobStateTimeLimitActionProperty]:
    """Cancel a job that cannot start, because it blocks the jobs behind it. Its event is sent to the failure
    queue."""
    return [
        batch.CfnJobQueue.JobStateTimeLimitActionProperty(
            action="CANCEL", state="RUNNABLE", reason=reason, max_time_seconds=seconds
        )
        for reason, seconds in _REASONS.items()
    ]


def _rule(
    action: str,
    *,
    on_exit_code: str | None = None,
    on_reason: str | None = None,
    on_status_reason: str | None = None,
) -> batch.CfnJobDefinition.EvaluateOnExitProperty:
    return batch.CfnJobDefinition.EvaluateOnExitProperty(
        action=action, on_exit_code=on_exit_code, on_reason=on_reason, on_status_reason=on_status_reason
    )
