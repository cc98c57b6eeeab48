"""S3 event notifications: which folder triggers which function.

S3 filters keys by one prefix and one suffix. A folder is a prefix; a list of suffixes becomes one
notification each if S3 can distinguish them. The FDL's `prefix` filters look at a file's base name, which S3
cannot (a key may have sub-folders): the runner applies them, and all others again.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import combinations
from urllib.parse import quote_plus

import jsii
from aws_cdk import Aws, CfnResource, Stack
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_s3 as s3
from aws_cdk.interfaces.aws_s3 import IBucketRef
from constructs import Construct, IDependable

from fdl_schemas.model import StorageEntry
from scar_constructs.functions.data_access import bucket_arn, write_log_statement
from scar_constructs.functions.retention import log_group
from scar_constructs.functions.service_principal import service_principal

_PLAIN_SUFFIX = re.compile(r"[A-Za-z0-9._-]+")


def notify(
    bucket: s3.IBucket,
    destination: s3.IBucketNotificationDestination,
    entry: StorageEntry,
    *,
    after: Sequence[IDependable] = (),
) -> None:
    """Notify a function, or its queue, of every object that is created in an input folder.

    :param after: what must exist before the first notification.
    """
    for filter_ in key_filters(entry):
        bucket.add_event_notification(
            s3.EventType.OBJECT_CREATED, destination, *([filter_] if filter_ else [])
        )
    wait_for(bucket, *after)


@jsii.implements(s3.IBucketNotificationDestination)
class FunctionDestination:
    """A function as the destination of a bucket's notifications.

    `LambdaDestination` of the CDK would put S3's permission into the stack of the bucket, where the
    permissions of hundreds of functions have no room.

    :param bucket_name: the final name of the bucket.
    """

    def __init__(self, function: lambda_.Function, bucket_name: str) -> None:
        self._function = function
        self._bucket_name = bucket_name

    def bind(self, scope: Construct, bucket: IBucketRef) -> s3.BucketNotificationDestinationConfig:
        """Called by the CDK."""
        return s3.BucketNotificationDestinationConfig(
            type=s3.BucketNotificationDestinationType.LAMBDA,
            arn=self._function.function_arn,
            dependencies=[self._permission()],
        )

    def _permission(self) -> IDependable:
        """S3's permission to invoke the function for this bucket."""
        name = f"Notified-{self._bucket_name}"
        found = self._function.node.try_find_child(name)
        if found is not None:
            return found
        return lambda_.CfnPermission(
            self._function,
            name,
            action="lambda:InvokeFunction",
            function_name=self._function.function_arn,
            principal="s3.amazonaws.com",
            source_account=Aws.ACCOUNT_ID,
            source_arn=bucket_arn(self._function, self._bucket_name),
        )


def wait_for(bucket: s3.IBucket, *before: IDependable) -> None:
    """Create a bucket's notifications after another resource."""
    notifications = bucket.node.try_find_child("Notifications")
    if notifications is not None and before:
        notifications.node.add_dependency(*before)


def key_filters(entry: StorageEntry) -> Iterator[s3.NotificationKeyFilter | None]:
    """The S3 filters that together match every object that the entry can accept, each object once."""
    # S3 expects a space as `+` and all but its "safe characters" percent-encoded:
    # https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-how-to-filtering.html
    prefix = quote_plus(entry.key_prefix, safe="/!*'()") or None
    suffixes = entry.suffixes if s3_can_tell_apart(entry.suffixes) else ()
    if prefix is None and not suffixes:
        yield None
    for suffix in suffixes or (None,):
        if prefix or suffix:
            yield s3.NotificationKeyFilter(prefix=prefix, suffix=suffix)


def s3_can_tell_apart(suffixes: Sequence[str]) -> bool:
    """Whether S3 accepts these suffixes as notifications of one folder: plain, and none is the end of
    another."""
    return all(_PLAIN_SUFFIX.fullmatch(suffix) for suffix in suffixes) and not any(
        one.endswith(other) or other.endswith(one) for one, other in combinations(suffixes, 2)
    )


class NotificationsHandler(Construct):
    """Permissions and logs of the CDK's function that writes bucket notifications, one for each stack.

    By default, the CDK gives it a managed policy for all log groups of the account, and a log group that is
    never deleted. Here it may only write its own log, and change the notifications of the workflow's buckets.
    In stacks of other CDK apps, the function is not changed: other buckets there may have notifications, too.
    """

    # Where the CDK keeps its handler in a stack: the name is part of every template with notifications.
    _ID = "BucketNotifications"
    _CDK_ID = "BucketNotificationsHandler050a0587b7544547bf325f094a3db834"

    def __init__(self, stack: Stack) -> None:
        super().__init__(stack, self._ID)
        self._log_group = log_group(self, "Logs")
        self._policy = iam.PolicyDocument(statements=[write_log_statement(self._log_group)])
        role = iam.Role(
            self,
            "Role",
            assumed_by=service_principal("lambda.amazonaws.com"),
            description="Writes the notifications of the workflow's buckets",
            inline_policies={"Notifications": self._policy},
        )
        self.role = role.without_policy_updates()

    @classmethod
    def of(cls, scope: Construct) -> NotificationsHandler | None:
        """The stack's one, if it has one."""
        found = Stack.of(scope).node.try_find_child(cls._ID)
        return found if isinstance(found, NotificationsHandler) else None

    def allow(self, bucket: s3.IBucket, *, existing: bool) -> None:
        """Let the handler change a bucket's notifications, and read those that an existing one has."""
        actions = ["s3:PutBucketNotification", *(["s3:GetBucketNotification"] if existing else [])]
        self._policy.add_statements(iam.PolicyStatement(actions=actions, resources=[bucket.bucket_arn]))

    def keep_log(self) -> None:
        """Send the log of the CDK's function to our log group. Call it after the last notification."""
        handler = Stack.of(self).node.try_find_child(self._CDK_ID)
        function = handler.node.try_find_child("Resource") if handler is not None else None
        if isinstance(function, CfnResource):
            function.add_property_override("LoggingConfig.LogGroup", self._log_group.log_group_name)
