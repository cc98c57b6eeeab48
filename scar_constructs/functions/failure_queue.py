"""The queue that keeps an event when nothing more will be tried with it."""

from __future__ import annotations

from typing import Self

import jsii
from aws_cdk import Duration, RemovalPolicy, Stack, Tags
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from scar_constructs.findings import acknowledge

FUNCTION_TAG = "scar:failures-of"
"""Tag with the function's name, also of input queues. `scar` finds queues by it that no stack contains any
longer."""
_KEEP = RemovalPolicy.RETAIN
"""Of policies: CloudFormation would empty the policy of a queue, which may have got another one by then."""


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
        self.queue = _Queue(
            self,
            "Queue",
            encryption=sqs.QueueEncryption.SQS_MANAGED,
            retention_period=Duration.days(14),
            removal_policy=RemovalPolicy.DESTROY if destroy else RemovalPolicy.RETAIN_ON_UPDATE_OR_DELETE,
        )
        Tags.of(self.queue).add(FUNCTION_TAG, function_name)
        _SharedPolicy.of(self).add(self.queue)
        acknowledge(
            self.queue,
            "AwsSolutions-SQS3",
            "This queue is the dead-letter queue: failed events are kept here.",
        )


@jsii.implements(lambda_.IDestination)
class KeptEvents:
    """A failure queue as the destination of a function's failed events. Its role must be allowed to send.

    `SqsDestination` of the CDK would create a policy for this.
    """

    def __init__(self, queue: sqs.IQueue) -> None:
        self._queue = queue

    def bind(
        self, _scope: Construct, _function: lambda_.IFunction, *, type: lambda_.DestinationType
    ) -> lambda_.DestinationConfig:
        """Called by the CDK."""
        return lambda_.DestinationConfig(destination=self._queue.queue_arn)


class _Queue(sqs.Queue):
    """A queue in the shared policy of its stack, until it gets a statement that only it has.

    SQS allows one policy for each queue, and CloudFormation one policy for many queues.
    """

    def add_to_resource_policy(self, statement: iam.PolicyStatement) -> iam.AddToResourcePolicyResult:
        """Add a statement; the first one gives the queue a policy of its own."""
        first = self.node.try_find_child("Policy") is None
        result = super().add_to_resource_policy(statement)
        if first:
            _SharedPolicy.of(self).remove(self)
            super().add_to_resource_policy(_only_over_tls())
            policy = self.node.find_child("Policy")
            if isinstance(policy, sqs.QueuePolicy):
                policy.apply_removal_policy(_KEEP)
        return result


class _SharedPolicy(Construct):
    """The policy of all failure queues of a stack that need no other."""

    _ID = "ScarFailureQueues"

    def __init__(self, scope: Construct, construct_id: str) -> None:
        super().__init__(scope, construct_id)
        self._queues: dict[str, sqs.Queue] = {}
        self._resource: sqs.CfnQueuePolicy | None = None

    @classmethod
    def of(cls, scope: Construct) -> Self:
        """The one of a stack, created on first use."""
        stack = Stack.of(scope)
        found = stack.node.try_find_child(cls._ID)
        return found if isinstance(found, cls) else cls(stack, cls._ID)

    def add(self, queue: sqs.Queue) -> None:
        self._queues[queue.node.path] = queue
        self._update()

    def remove(self, queue: sqs.Queue) -> None:
        del self._queues[queue.node.path]
        self._update()

    def _update(self) -> None:
        if not self._queues:
            self.node.try_remove_child("Policy")
            self._resource = None
            return
        urls = [queue.queue_url for queue in self._queues.values()]
        if self._resource is None:
            document = iam.PolicyDocument(statements=[_only_over_tls()])
            self._resource = sqs.CfnQueuePolicy(self, "Policy", policy_document=document, queues=urls)
            self._resource.apply_removal_policy(_KEEP)
        self._resource.queues = urls


def _only_over_tls() -> iam.PolicyStatement:
    return iam.PolicyStatement(
        effect=iam.Effect.DENY,
        principals=[iam.AnyPrincipal()],
        actions=["sqs:*"],
        resources=["*"],  # in the policy of a queue: that queue
        conditions={"Bool": {"aws:SecureTransport": "false"}},
    )
