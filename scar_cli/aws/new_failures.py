"""Failures that keep files from appearing in a folder, for `scar get --watch`."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from scar_cli.aws.deployed import DeployedFunction, overlap, stacks
from scar_cli.aws.failure_queues import (
    UnreadableMessageError,
    depth,
    event_of,
    looked_at,
    reason_of,
    stored_event,
    subject_of,
)
from scar_cli.aws.session import client
from scar_cli.errors import UserError

_EARLIER_MS = 30_000
"""Failures this long before the watch began count: the files may have been uploaded a moment before."""


@dataclass(frozen=True)
class NewFailure:
    """An event that failed for good."""

    function: str
    subject: str
    """The input file."""
    reason: str


@dataclass
class NewFailures:
    """Looks for events that fail from now on, in the functions whose outputs end up in a folder."""

    functions: Sequence[DeployedFunction]
    since_ms: int = field(default_factory=lambda: int(time.time() * 1000) - _EARLIER_MS)
    depths: dict[str, int] = field(default_factory=dict)
    """Messages in each failure queue at the last look."""
    clients: dict[str, Any] = field(default_factory=dict)
    """Of SQS, by region: creating one takes longer than a look."""

    @classmethod
    def of(cls, bucket: str, folder: str) -> NewFailures:
        """Of the functions that write to the folder, and those that feed them.

        None if these credentials may not see what is deployed: the files can be downloaded all the same.
        """
        found: list[DeployedFunction] = []
        with suppress(UserError):
            deployed = [function for stack in stacks() for function in stack.functions]
            wanted = [f"{bucket}/{folder}".rstrip("/")]
            while wanted:
                path = wanted.pop()
                for one in deployed:
                    if one not in found and any(overlap(path, output) for output in one.outputs):
                        found.append(one)
                        wanted += one.inputs
        return cls(found)

    def look(self) -> NewFailure | None:
        """The first new failure, as far as the failure queues can be read."""
        for function in self.functions:
            with suppress(UserError):
                if (failure := self._look(function)) is not None:
                    return failure
        return None

    def _look(self, function: DeployedFunction) -> NewFailure | None:
        if (region := function.region) not in self.clients:
            self.clients[region] = client("sqs", region=region)
        sqs, url = self.clients[region], function.failure_queue_url
        number = depth(sqs, url)
        if number == self.depths.get(url, 0):
            return None
        read = 0
        for message in looked_at(sqs, url, number):
            read += 1
            if int(message.get("Attributes", {}).get("SentTimestamp", 0)) >= self.since_ms:
                return _failure(function, message["Body"])
        if read >= number:
            self.depths[url] = number
        return None


def _failure(function: DeployedFunction, body: str) -> NewFailure:
    subject = "an event"
    with suppress(UnreadableMessageError):
        subject = subject_of(event_of(body, partial(stored_event, client("s3", region=function.region))))
    return NewFailure(function.name, subject, reason_of(body) or "its log has the reason")
