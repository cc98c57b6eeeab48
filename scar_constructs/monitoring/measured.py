"""The metrics about a function: those that AWS publishes, and those of the runner.

Lambda: https://docs.aws.amazon.com/lambda/latest/dg/monitoring-metrics-types.html
SQS: https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-available-cloudwatch-metrics.html
"""

from __future__ import annotations

from dataclasses import dataclass

RUNNER = "scar-cdk"
"""Namespace of the runner's own metrics, which it writes to the log in the Embedded Metric Format."""


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric of CloudWatch, with the statistic that is looked at."""

    namespace: str
    name: str
    dimensions: tuple[tuple[str, str], ...]
    statistic: str


@dataclass(frozen=True, slots=True)
class Measured:
    """What alarms and dashboard must know of a function.

    Names of queues may be tokens of the CDK.
    """

    name: str
    failure_queue: str
    """Name of its failure queue."""
    queues: tuple[str, ...] = ()
    """Names of the queues that feed it."""
    has_events: bool = False
    """Whether S3, EventBridge or SNS invoke it without a queue."""
    usd_per_invocation: float = 0.0
    usd_per_ms: float = 0.0
    """Of its invocations, by their duration."""
    usd_per_ms_of_jobs: float | None = None
    """None: it has no jobs on Fargate."""
    runs_in_lambda: bool = True

    def in_lambda(self, name: str, statistic: str = "Sum") -> Metric:
        """A metric that AWS Lambda publishes."""
        return Metric("AWS/Lambda", name, (("FunctionName", self.name),), statistic)

    def in_runner(self, name: str, statistic: str, *, status: str | None = None) -> Metric:
        """A metric of the runner, in Lambda and in Batch: of all runs, or of those with a status."""
        of_status = () if status is None else (("status", status),)
        return Metric(RUNNER, name, (("function", self.name), *of_status), statistic)

    @property
    def failed_events(self) -> Metric:
        """The number of events in its failure queue."""
        return of_queue(self.failure_queue, "ApproximateNumberOfMessagesVisible")

    @property
    def ages(self) -> tuple[tuple[Metric, float], ...]:
        """Metrics of how long the oldest event has been waiting, each with its unit in seconds."""
        queues = tuple((of_queue(queue, "ApproximateAgeOfOldestMessage"), 1.0) for queue in self.queues)
        return (*queues, (self.in_lambda("AsyncEventAge", "Maximum"), 0.001)) if self.has_events else queues


def of_queue(queue: str, name: str) -> Metric:
    """A metric that Amazon SQS publishes, at its maximum."""
    return Metric("AWS/SQS", name, (("QueueName", queue),), "Maximum")
