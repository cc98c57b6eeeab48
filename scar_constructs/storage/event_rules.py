"""EventBridge rules: which folder triggers which functions, if several functions read one folder.

S3's own notifications support one function for each folder, and no overlapping folders. A bucket with such
inputs therefore sends its events to EventBridge, and each function that reads it has a rule. Like S3's
filters, a rule compares the start and the end of keys; the runner checks base names again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from itertools import groupby

from aws_cdk import aws_events as events
from aws_cdk import aws_s3 as s3
from constructs import Construct

from fdl_schemas.graph import overlapping_inputs
from fdl_schemas.model import Function, StorageEntry
from scar_constructs.storage.notifications import key_filters

_NOTIFICATIONS_OF_A_BUCKET = 100
"""The maximum of S3 (https://docs.aws.amazon.com/general/latest/gr/s3.html)."""
_MOST_WILDCARDS = 5
"""EventBridge rejects rules that are \"too complex\", and does not document the limit."""
_RULES_WITH_WILDCARDS = 15
"""Of a workflow. AWS allows 30 for each event bus, and does not raise that quota
(https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-quota.html)."""
_ROOM_FOR_KEYS = 1800
"""An event pattern has at most 2048 characters (https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-quota.html);
the rest is for the name of the bucket and the surrounding pattern."""


def buckets_for_event_bridge(functions: Sequence[Function]) -> frozenset[str]:
    """Names of the buckets whose inputs S3's own notifications cannot express."""
    crowded = {
        functions[index].inputs[number].bucket
        for pair in overlapping_inputs(functions)
        for index, number in pair
    }
    own = sorted(
        (entry.bucket, sum(1 for _ in key_filters(entry)))
        for function in functions
        for entry in function.inputs
        if not entry.is_notified_elsewhere
    )
    for bucket, found in groupby(own, key=lambda pair: pair[0]):
        if sum(count for _, count in found) > _NOTIFICATIONS_OF_A_BUCKET:
            crowded.add(bucket)
    return frozenset(crowded)


class ObjectCreatedRule(Construct):
    """Sends the event of every object that is created in one of some folders of a bucket, once for each
    object, even if the folders overlap.

    :param bucket: the bucket, which sends its events to EventBridge.
    :param target: the function, or its queue.
    :param entries: what the function reads of it.
    :param wildcards: whether the rule may compare both ends of keys. AWS allows 30 such rules in a region.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        bucket: s3.IBucket,
        target: events.IRuleTarget,
        entries: Sequence[StorageEntry],
        wildcards: bool = True,
    ) -> None:
        super().__init__(scope, construct_id)
        patterns = key_patterns(entries, wildcards=wildcards)
        self.rule = events.Rule(
            self,
            "Rule",
            description="Sends events of new objects to a function",
            event_pattern=events.EventPattern(
                source=["aws.s3"],
                detail_type=["Object Created"],
                detail={
                    "bucket": {"name": [bucket.bucket_name]},
                    **({"object": {"key": patterns}} if patterns else {}),
                },
            ),
            targets=[target],
        )


def wildcards_fit(functions: Sequence[Function]) -> bool:
    """Whether the rules of a workflow may have wildcards: those of another one have to fit, too."""
    through_event_bridge = buckets_for_event_bridge(functions)
    return (
        sum(
            any(entry.bucket in through_event_bridge and any(entry.suffixes) for entry in function.inputs)
            for function in functions
        )
        <= _RULES_WITH_WILDCARDS
    )


def key_patterns(entries: Sequence[StorageEntry], *, wildcards: bool = True) -> list[Mapping[str, str]]:
    """EventBridge's patterns, one of which must match a key; empty for every key.

    If they would be too long for a rule, the runner checks suffixes, and then the ends of prefixes, instead.
    """
    found: list[Mapping[str, str]] = []
    for entry in entries:
        of_entry = _patterns(entry, wildcards=wildcards)
        if not of_entry:
            return []
        found += [pattern for pattern in of_entry if pattern not in found]
    prefixes = [entry.key_prefix for entry in entries]
    longest = max(map(len, prefixes), default=0)
    while len(json.dumps(found)) > _ROOM_FOR_KEYS:
        prefixes = list(dict.fromkeys(prefix[:longest] for prefix in prefixes))
        if not all(prefixes):
            return []
        found = [{"prefix": prefix} for prefix in prefixes]
        longest //= 2
    return found


def _patterns(entry: StorageEntry, *, wildcards: bool) -> list[Mapping[str, str]]:
    prefix = entry.key_prefix
    if prefix and not wildcards:
        return [{"prefix": prefix}]
    if not all(entry.suffixes) or len(entry.suffixes) > _MOST_WILDCARDS or not entry.suffixes:
        return [{"prefix": prefix}] if prefix else []
    if not prefix:
        return [{"suffix": suffix} for suffix in entry.suffixes]
    return [{"wildcard": f"{_literal(prefix)}*{_literal(suffix)}"} for suffix in entry.suffixes]


def _literal(text: str) -> str:
    """Text in which the special characters of a wildcard pattern are escaped."""
    return text.replace("\\", "\\\\").replace("*", "\\*")
