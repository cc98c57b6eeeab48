"""SNS topics as inputs of functions, or of their queues: public data sets announce new objects in this way.

The topic and the bucket belong to another account. The subscription filters the messages (S3 notifications)
by bucket and key; the runner checks both again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from aws_cdk import Arn, ArnFormat
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_sns as sns
from aws_cdk import aws_sns_subscriptions as subscriptions
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from fdl_schemas.model import StorageEntry

_MOST_COMBINATIONS = 150
"""Of values (https://docs.aws.amazon.com/sns/latest/dg/subscription-filter-policy-constraints.html)."""
_LEVELS = 4
"""Names of buckets and keys are at the fourth level of a notification; a value counts once for each level."""


class TopicTrigger(Construct):
    """Subscribes a function, or its queue, to a topic with S3 notifications, in any account.

    A message that cannot be delivered is sent to the failure queue, if topic and function are in one region
    (SNS does not support such queues across regions).

    :param topic_arn: the topic. Its owner must allow this account to subscribe.
    :param target: the function or the queue.
    :param entries: the inputs of the topic.
    :param region: the function's, if it is known.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        topic_arn: str,
        target: lambda_.Function | sqs.IQueue,
        entries: Sequence[StorageEntry],
        failure_queue: sqs.IQueue,
        region: str | None = None,
    ) -> None:
        super().__init__(scope, construct_id)
        same = region in (None, Arn.split(topic_arn, ArnFormat.NO_RESOURCE_NAME).region)
        # A function's subscriptions bear the ids of their topics.
        topic = sns.Topic.from_topic_arn(self, f"{construct_id}Source", topic_arn)
        dead_letter_queue = failure_queue if same else None
        filter_policy = message_filter(entries)
        self.subscription = topic.add_subscription(
            subscriptions.LambdaSubscription(
                target, dead_letter_queue=dead_letter_queue, filter_policy_with_message_body=filter_policy
            )
            if isinstance(target, lambda_.Function)
            else subscriptions.SqsSubscription(
                target, dead_letter_queue=dead_letter_queue, filter_policy_with_message_body=filter_policy
            )
        )


def message_filter(entries: Sequence[StorageEntry]) -> Mapping[str, sns.FilterOrPolicy] | None:
    """A filter on messages that are S3 notifications
    (https://docs.aws.amazon.com/sns/latest/dg/example-filter-policies.html), which may match too much: a key
    has one condition, and those of several inputs are combined. The runner checks what would be too complex
    for SNS; None if nothing remains.
    """
    buckets = _distinct([entry.bucket for entry in entries])
    prefixes = _distinct([entry.key_prefix for entry in entries])
    suffixes = _distinct([suffix for entry in entries for suffix in entry.suffixes or ("",)])
    s3: dict[str, sns.FilterOrPolicy] = {}
    room = _MOST_COMBINATIONS
    if len(buckets) * _LEVELS <= room:
        s3["bucket"] = _policy(name=sns.SubscriptionFilter.string_filter(allowlist=buckets))
        room //= len(buckets) * _LEVELS
    # A key in a notification is URL-encoded: the runner checks what another encoding could change.
    if _can_be_compared(prefixes, room):
        s3["object"] = _policy(key=sns.SubscriptionFilter.string_filter(match_prefixes=prefixes))
    elif _can_be_compared(suffixes, room):
        s3["object"] = _policy(key=sns.SubscriptionFilter.string_filter(match_suffixes=suffixes))
    return {"Records": _policy(s3=sns.FilterOrPolicy.policy(s3))} if s3 else None


def _policy(**members: Any) -> sns.FilterOrPolicy:
    return sns.FilterOrPolicy.policy(
        {
            name: sns.FilterOrPolicy.filter(member) if isinstance(member, sns.SubscriptionFilter) else member
            for name, member in members.items()
        }
    )


def _can_be_compared(texts: Sequence[str], room: int) -> bool:
    return len(texts) * _LEVELS <= room and all(_is_plain(text) for text in texts)


def _distinct(texts: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(texts))


def _is_plain(text: str) -> bool:
    return bool(text) and all(letter.isascii() and (letter.isalnum() or letter in "/._-") for letter in text)
