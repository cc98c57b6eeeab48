"""The queue that keeps an event when nothing more will be tried with it."""

from __future__ import annotations

from aws_cdk import Duration, RemovalPolicy, Tags
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from scar_constructs.findings import acknowledge

FUNCTION_TAG = "scar:failures-of"
"""Tag with the function's name, also of input queues. `scar` finds queues by it that no stack contains any
longer."""


class FailureQueue(Construct):
    """Keeps the events of one function whose last retry failed, for 14 days (the longest that SQS offers).

    Encrypted with a key that SQS manages, reached over TLS only. It is kept when it leaves the stack, because
    it may contain events: `scar retry` sends them to the function of that name, and `scar rm` deletes the
    queue.

    CloudFormation generates its name: a queue that was kept must not block the return of its function.

    :param function_name: the function.
    :param destroy: delete it, with its events, when it leaves the stack.
    """

    def __init__(
        self, scope: Construct, construct_id: str, *, function_name: str, destroy: bool = False
    ) -> None:
        super().__init__(scope, construct_id)
        self.queue = sqs.Queue(
            self,
            "Queue",
            encryption=sqs.QueueEncryption.SQS_MANAGED,
            enforce_ssl=True,
            retention_period=Duration.days(14),
            removal_policy=RemovalPolicy.DESTROY if destroy else RemovalPolicy.RETAIN_ON_UPDATE_OR_DELETE,
        )
        Tags.of(self.queue).add(FUNCTION_TAG, function_name)
        acknowledge(
            self.queue,
            "AwsSolutions-SQS3",
            "This queue is the dead-letter queue: failed events are kept here.",
        )
