"""A request that changes a stack returns when the change is complete, or after a few seconds.

Most changes take less than a second here. Clients that wait for the end ask immediately, and then only every
5 s (the CDK CLI) or 30 s (boto3's waiters).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from contextvars import ContextVar
from typing import Any

from ministack.services import cloudformation
from ministack.services.cloudformation import changesets, handlers

from local_cloud.patches import replaces

_LONGEST_S = 4.0
_ended: ContextVar[asyncio.Event | None] = ContextVar("ended", default=None)
"""Of the change that this request has started."""


def install() -> None:
    """Put ourselves around what ministack does."""
    for module in (changesets, handlers):
        replaces(module, "_create_stack_task_in_region")(_started)

    @replaces(cloudformation, "handle_request")
    async def handle_request(handle: Callable[..., Awaitable[Any]], *request: Any) -> Any:
        _ended.set(None)
        answer = await handle(*request)
        ended = _ended.get()
        if ended is not None:
            with suppress(TimeoutError):
                await asyncio.wait_for(ended.wait(), _LONGEST_S)
        return answer


def _started(
    start: Callable[..., None], change: Coroutine[Any, Any, None], *stack: Any, **options: Any
) -> None:
    ended = asyncio.Event()

    async def until_the_end() -> None:
        try:
            await change
        finally:
            ended.set()

    _ended.set(ended)
    start(until_the_end(), *stack, **options)
