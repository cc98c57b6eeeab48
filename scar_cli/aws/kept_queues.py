"""Input and failure queues that no stack contains any longer, and that still contain events.

`cdk destroy` and the removal of a function from an FDL file keep them. Their tag names the function. Finding
them needs the permission `tag:GetResources`; without it, none is found.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from scar_cli.aws.deployed import DeployedFunction
from scar_cli.aws.failure_queues import depth
from scar_cli.aws.session import client, explained
from scar_cli.errors import UserError
from scar_cli.table import counted

_TAG = "scar:failures-of"
"""See `scar_constructs.functions.failure_queue`."""
_DENIED = ("AccessDenied", "AccessDeniedException")
NO_SUCH_QUEUE = ("AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist")
"""SQS sends the first code over its query protocol, and the second over JSON."""


@dataclass(frozen=True)
class KeptQueue:
    """A queue of a function that was deployed once."""

    function: str
    region: str
    failure_queue_url: str
    failure_queue: int
    """Number of events in it."""


def kept_queues(
    region: str, deployed: Iterable[DeployedFunction], functions: Collection[str] | None = None
) -> list[KeptQueue]:
    """The queues of a region that contain events, sorted by function.

    Args:
        region: where to look.
        deployed: their queues are left out. Those of all functions of the region must be among them, or of
            all `functions`.
        functions: only queues of functions with these names.

    Raises:
        UserError: a call to AWS fails.
    """
    queues = ((function.failure_queue_url, function.input_queue_url) for function in deployed)
    known = {url.rpartition("/")[2] for urls in queues for url in urls if url is not None}
    sqs = client("sqs", region=region)
    found = []
    for arn, function in _tagged(client("resourcegroupstaggingapi", region=region), functions):
        account, name = arn.split(":")[4:6]
        if name not in known:
            with explained(*NO_SUCH_QUEUE, *_DENIED):  # tags of a deleted queue are found for a while
                url = sqs.get_queue_url(QueueName=name, QueueOwnerAWSAccountId=account)["QueueUrl"]
                with suppress(UserError):
                    found.append(KeptQueue(function, region, url, depth(sqs, url)))
    return sorted((one for one in found if one.failure_queue), key=lambda one: one.function)


def kept_queues_of(functions: Sequence[DeployedFunction], *, everything: bool) -> list[KeptQueue]:
    """The same for deployed functions, in their regions; with `everything`, for all functions ever deployed.

    Raises:
        UserError: a call to AWS fails.
    """
    regions = {function.region for function in functions}
    if everything:
        regions.add(client("cloudformation").meta.region_name)
    names = None if everything else {function.name for function in functions}
    return [one for region in sorted(regions) for one in kept_queues(region, functions, names)]


def described(kept: Iterable[KeptQueue], deployed: Collection[str]) -> Iterator[str]:
    """Sentences about queues, with the command that sends their events again."""
    for one in kept:
        events = counted(one.failure_queue, "event")
        if one.function in deployed:
            yield f"{one.function}: {events} of an earlier deployment. To send again: scar retry"
        else:
            yield (
                f"{one.function}, which is not deployed any longer: {events} in {one.failure_queue_url}. "
                f"To send to another function: scar retry -n FUNCTION --from {one.function}"
            )


def _tagged(tagging: Any, functions: Collection[str] | None) -> Iterable[tuple[str, str]]:
    """ARNs of queues, and the names of their functions."""
    pages = tagging.get_paginator("get_resources")
    with explained(*_DENIED):
        for page in pages.paginate(TagFilters=[{"Key": _TAG}], ResourceTypeFilters=["sqs"]):
            for resource in page["ResourceTagMappingList"]:
                tags = {tag["Key"]: tag["Value"] for tag in resource["Tags"]}
                if functions is None or tags[_TAG] in functions:
                    yield resource["ResourceARN"], tags[_TAG]
