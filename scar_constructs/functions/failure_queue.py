"""The queue that keeps an event when nothing more will be tried with it."""

from __future__ import annotations

from aws_cdk import Duration
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from scar_constructs.findings import acknowledge


class FailureQueue(Construct):
    """Keeps the events of one function whose last retry failed, for 14 days (the longest that SQS offers).

    Encrypted with a key that SQS manages, reached over TLS only.
    """

    def __init__(self, scope: Construct, construct_id: str) -> None:
        super().__init__(scope, construct_id)
        self.queue = sqs.Queue(
            self,
            "Queue",
            encryption=sqs.QueueEncryption.SQS_MANAGED,
            enforce_ssl=True,
            retention_period=Duration.days(14),
        )
        acknowledge(
            self.queue,
            "AwsSolutions-SQS3",
            "This queue is the dead-letter queue: failed events are kept here.",
        )
