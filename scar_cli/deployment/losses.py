"""The data that a deployment destroys, because a resource is removed or replaced.

CloudFormation decides by the template that is deployed now: `DeletionPolicy` for a resource that leaves the
template, `UpdateReplacePolicy` for one that is replaced. Properties that force a replacement are the
`createOnlyProperties` of CloudFormation's resource schemas.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from scar_cli.table import counted

_KEPT_ON_REMOVAL = ("Retain", "RetainExceptOnCreate")
_KEPT = "Retain"

_QUEUE = "AWS::SQS::Queue"
_CONTENTS = {
    "AWS::S3::Bucket": "all files in it",
    "AWS::SQS::Queue": "the messages in it, such as failed events",
    "AWS::DynamoDB::Table": "the record of processed inputs: repeated events of `once` functions run again",
    "AWS::Lambda::Function": "the events that are waiting for it",
    "AWS::Logs::LogGroup": "its log lines",
    "AWS::ECR::Repository": "the images in it",
    "AWS::SecretsManager::Secret": "its value",
    "AWS::ApiGateway::RestApi": "its address: callers have to use a new one",
    "AWS::Batch::JobQueue": "the jobs that are waiting in it",
}
"""The data that is lost when a resource of this type is deleted."""

REPLACING: Mapping[str, tuple[str, ...]] = {
    "AWS::S3::Bucket": ("BucketName",),
    "AWS::SQS::Queue": ("QueueName", "FifoQueue"),
    "AWS::DynamoDB::Table": ("TableName",),
    "AWS::Lambda::Function": ("FunctionName", "PackageType"),
    "AWS::Logs::LogGroup": ("LogGroupName",),
    "AWS::ECR::Repository": ("RepositoryName",),
    "AWS::SecretsManager::Secret": ("Name",),
    "AWS::Batch::JobQueue": ("JobQueueName",),
}
"""Properties whose change makes CloudFormation replace the resource."""


def what_is_lost(
    was: Mapping[str, Any],
    will: Mapping[str, Any] | None,
    messages: Callable[[], int | None] = lambda: None,
) -> str | None:
    """One sentence about the data that is lost when a resource changes.

    None if the change destroys nothing that matters to a user.

    Args:
        was: the resource as deployed.
        will: the resource in the new template; None: it is removed.
        messages: for a queue, the number of messages in it; None: unknown.
    """
    kind = str(was.get("Type"))
    if kind not in _CONTENTS:
        return None
    lost = _lost(kind, was, will)
    if kind == _QUEUE and lost is not None and (number := messages()) is not None:
        # Only input queues move messages to another queue.
        is_input = _property(was, "RedrivePolicy") is not None
        events = counted(number, "event" if is_input else "failed event")
        if _CONTENTS[kind] not in lost:
            return f"{lost} It contains {events}. To see them, run scar status." if number else None
        events = f"the {events} in it"
        if not is_input:
            events += ". To keep them, run scar retry first"
        return lost.replace(_CONTENTS[kind], events) if number else None
    return lost


def _lost(kind: str, was: Mapping[str, Any], will: Mapping[str, Any] | None) -> str | None:
    if will is None:
        return _removed(kind, was)
    if was.get("Type") != will.get("Type"):
        return f"Replaced by a resource of another type, and deleted with {_CONTENTS[kind]}."
    reasons = [key for key in REPLACING.get(kind, ()) if _property(was, key) != _property(will, key)]
    if reasons:
        kept = was.get("UpdateReplacePolicy") == _KEPT
        fate = "The old one is kept, outside the stack" if kept else "The old one is deleted with "
        return f"Replaced, because {' and '.join(reasons)} changes. {fate}{'' if kept else _CONTENTS[kind]}."
    if was.get("DeletionPolicy") in _KEPT_ON_REMOVAL and will.get("DeletionPolicy") not in _KEPT_ON_REMOVAL:
        return f"From now on, deleting the stack also deletes this, with {_CONTENTS[kind]}."
    return None


def _removed(kind: str, was: Mapping[str, Any]) -> str:
    if was.get("DeletionPolicy") in _KEPT_ON_REMOVAL:
        files = " with its files" if kind == "AWS::S3::Bucket" else ""
        return f"Removed from the stack and kept{files}. Nothing in the stack uses it any longer."
    return f"Deleted with {_CONTENTS[kind]}."


def _property(resource: Mapping[str, Any], key: str) -> object:
    return (resource.get("Properties") or {}).get(key)
