"""The queue in which new files wait until a function can process them.

S3, EventBridge or SNS sends the event of each new file to an SQS queue, from which AWS Lambda invokes the
function. In `batch` mode, one invocation gets thousands of events, and submits them as one array job.
"""

from __future__ import annotations

from collections.abc import Sequence

import jsii
from aws_cdk import Duration, RemovalPolicy, Stack, Tags
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_sqs as sqs
from aws_cdk.interfaces.aws_s3 import IBucketRef
from constructs import Construct, IDependable

from fdl_schemas.model import ExecutionMode, Function, QueueSettings
from scar_constructs.functions.data_access import allow, bucket_arn
from scar_constructs.functions.failure_queue import FUNCTION_TAG

_CONSUME = ("sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes")
"""To poll a queue (https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-configure.html)."""
_TRIES = 5
"""How often a message is received before it moves to the failure queue. AWS recommends at least 5, because a
throttled invocation counts."""
_TIMEOUTS_INVISIBLE = 6
"""The visibility timeout in timeouts of the function, as AWS recommends."""
_MOST_MESSAGES = 10_000
_MOST_WITHOUT_WINDOW = 10
"""Maximum batch sizes of Lambda, with and without a batching window."""
_MEMORY_FOR_MOST_MIB = 256
_MOST_WITH_LITTLE_MEMORY = 1000
"""An event of 6 MB takes about 150 MB in the runner."""


class InputQueue(Construct):
    """A queue of one function: a new one, or an existing one of the user.

    A new one is encrypted with a key that SQS manages, and reached over TLS only. A message that was received
    five times moves to the failure queue. When it leaves the stack, it is kept like a failure queue, because
    files may wait in it.

    :param settings: of the input.
    :param definition: the function.
    :param failure_queue: the function's.
    :param destroy: delete the queue, with its messages, when it leaves the stack.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        settings: QueueSettings,
        definition: Function,
        failure_queue: sqs.IQueue,
        destroy: bool = False,
    ) -> None:
        super().__init__(scope, construct_id)
        self._settings = settings
        self._definition = definition
        self.queue: sqs.IQueue
        if settings.arn is not None:
            self.queue = sqs.Queue.from_queue_arn(self, "Queue", settings.arn)
            return
        invisible_s = _TIMEOUTS_INVISIBLE * definition.timeout_s + settings.batch_window_s
        self.queue = sqs.Queue(
            self,
            "Queue",
            encryption=sqs.QueueEncryption.SQS_MANAGED,
            enforce_ssl=True,
            retention_period=Duration.days(settings.retention_days),
            visibility_timeout=Duration.seconds(invisible_s),
            dead_letter_queue=sqs.DeadLetterQueue(max_receive_count=_TRIES, queue=failure_queue),
            removal_policy=RemovalPolicy.DESTROY if destroy else RemovalPolicy.RETAIN_ON_UPDATE_OR_DELETE,
        )
        Tags.of(self.queue).add(FUNCTION_TAG, definition.name)
        policy = self.queue.node.find_child("Policy")
        if isinstance(policy, sqs.QueuePolicy) and not destroy:
            # A queue that is kept still requires TLS.
            policy.apply_removal_policy(RemovalPolicy.RETAIN)

    def grant_consume(self, role: iam.IRole) -> None:
        """Let the function's role receive and delete messages of this queue."""
        allow(role, _CONSUME, [self.queue.queue_arn])

    def trigger(self, function: lambda_.IFunction) -> None:
        """Let Lambda invoke the function for the messages."""
        window = self._settings.batch_window_s
        lambda_.EventSourceMapping(
            self,
            "Mapping",
            target=function,
            event_source_arn=self.queue.queue_arn,
            batch_size=self._batch_size(),
            max_batching_window=Duration.seconds(window) if window else None,
            max_concurrency=self._settings.max_concurrency,
            report_batch_item_failures=True,
        )

    def _batch_size(self) -> int:
        definition = self._definition
        if definition.execution_mode is not ExecutionMode.BATCH:
            return 1
        in_arrays = definition.batch is not None and definition.batch.multi_node is None
        # Jobs on several nodes are submitted one by one, which takes its time.
        if not (in_arrays and self._settings.batch_window_s):
            return _MOST_WITHOUT_WINDOW
        return _MOST_MESSAGES if definition.memory_mib >= _MEMORY_FOR_MOST_MIB else _MOST_WITH_LITTLE_MEMORY

    def destination(self, bucket_names: Sequence[str]) -> QueueDestination:
        """The destination of the notifications of these buckets, of this account. Call it once."""
        arns = [bucket_arn(self, name) for name in bucket_names]
        result = self.queue.add_to_resource_policy(
            iam.PolicyStatement(
                principals=[iam.ServicePrincipal("s3.amazonaws.com")],
                actions=["sqs:SendMessage"],
                resources=[self.queue.queue_arn],
                conditions={
                    "StringEquals": {"aws:SourceAccount": Stack.of(self).account},
                    "ArnEquals": {"aws:SourceArn": arns},
                },
            )
        )
        return QueueDestination(self.queue.queue_arn, result.policy_dependable)


@jsii.implements(s3.IBucketNotificationDestination)
class QueueDestination:
    """A queue as the destination of notifications.

    With the CDK's own, a bucket of the same name in any other account could send, should ours be deleted.

    :param queue_arn: the queue.
    :param policy: lets the bucket send.
    """

    def __init__(self, queue_arn: str, policy: IDependable | None) -> None:
        self._queue_arn = queue_arn
        self._policy = policy

    def bind(self, scope: Construct, bucket: IBucketRef) -> s3.BucketNotificationDestinationConfig:
        """Called by the CDK for each notification."""
        return s3.BucketNotificationDestinationConfig(
            arn=self._queue_arn,
            type=s3.BucketNotificationDestinationType.QUEUE,
            dependencies=[self._policy] if self._policy is not None else [],
        )
