"""Doubles and reorders events inside the emulator, as S3, Lambda and SQS may do on AWS.

`SCAR_TEST_EVENTS` is `SEED SHARE`: this share of all events is doubled, and as many are reordered. Three
kinds of duplicates, equally often:

- S3 notifies twice: two invocations with ids of their own, with the same sequencer
- Lambda delivers an event twice: two invocations with the same id
- the second event arrives later, when the first one has probably been processed
"""

from __future__ import annotations

import dataclasses
import heapq
import os
import random
import time
import uuid
from collections.abc import Callable
from types import ModuleType
from typing import Any

VARIABLE = "SCAR_TEST_EVENTS"
_LATEST_S = 3.0


def double_and_reorder(emulator: ModuleType) -> None:
    """Have `emulator.install` do it, if the environment says so."""
    if VARIABLE not in os.environ:
        return
    seed, share = os.environ[VARIABLE].split()
    install = emulator.install

    def install_with_duplicates(**options: Any) -> Callable[[], None]:
        resume: Callable[[], None] = install(**options)
        chance = random.Random(seed)
        _double_events(chance, float(share))
        _double_messages(chance, float(share))
        return resume

    emulator.install = install_with_duplicates  # type: ignore[attr-defined]


def _double_events(chance: random.Random, share: float) -> None:
    from ministack.services import lambda_svc

    queue = lambda_svc.invoke_async_with_retry.__self__
    add = queue._add

    def add_to_queue(invocation: Any) -> None:
        with queue._store.transaction():
            add(invocation)
            if chance.random() < share:
                waiting = queue._waiting[invocation.function_arn]
                waiting.insert(chance.randrange(len(waiting)), waiting.pop())
            if chance.random() < share:
                kind = chance.choice(("notified twice", "delivered twice", "late"))
                same_id = {} if kind == "delivered twice" else {"request_id": str(uuid.uuid4())}
                add(again := dataclasses.replace(invocation, **same_id))
                if kind == "late":
                    queue._waiting[again.function_arn].pop()
                    if not queue._waiting[again.function_arn]:
                        del queue._waiting[again.function_arn]
                    queue._sequence += 1
                    at = time.monotonic() + chance.random() * _LATEST_S
                    heapq.heappush(queue._delayed, (at, queue._sequence, again))

    queue._add = add_to_queue


def _double_messages(chance: random.Random, share: float) -> None:
    from ministack.services import s3

    deliver = s3._deliver_event_to_sqs

    def deliver_twice(*arguments: Any, **options: Any) -> None:
        deliver(*arguments, **options)
        if chance.random() < share:
            deliver(*arguments, **options)

    s3._deliver_event_to_sqs = deliver_twice
