"""A request is answered after all its effects are on disk.

The notifications of a request are delivered after the object is written and before the answer is sent.
(ministack does it in a thread of its own, after the answer.) They are in the store before the object is
written: if the cloud is killed in between, they are delivered at the next start. If the disk is full, the
answer is an error.
"""

from __future__ import annotations

import contextvars
import json
import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import ministack.app
from ministack.core.responses import get_account_id, get_region, request_scope
from ministack.services import s3, sns

from local_cloud.asgi import Message, Receive, Scope, Send
from local_cloud.patches import Original, replaces
from local_cloud.state.disk_space import refuse
from local_cloud.state.store import Store, not_saved

_KIND = "notification"
_log = logging.getLogger("s3-notifications")


@dataclass
class _ServedRequest:
    """A request that is being served."""

    notifications: list[tuple[str, Callable[[], None]]] = field(default_factory=list)
    """Still to be delivered, with their keys in the store."""
    answered: bool = False
    """Background tasks of the request send their own notifications from then on."""

    def deliver(self, store: Store) -> None:
        self.answered = True
        if not self.notifications:
            return
        with store.transaction():
            while self.notifications:
                key, deliver = self.notifications.pop(0)
                deliver()
                store.remove(_KIND, key)


_request: contextvars.ContextVar[_ServedRequest | None] = contextvars.ContextVar("request", default=None)


def install(store: Store) -> None:
    """Put ourselves between the server and the emulator, and in front of what notifies in threads."""

    @replaces(ministack.app, "app")
    async def answering(serve: Original, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await serve(scope, receive, send)
            return
        request = _ServedRequest()
        failed: list[str] = []
        refused = False
        _request.set(request)
        not_saved.set(failed)

        async def send_when_saved(message: Message) -> None:
            nonlocal refused
            if message["type"] == "http.response.start":
                request.deliver(store)
                if failed:
                    refused = True
                    await refuse(scope, send, f"The embedded cloud could not save its state: {failed[0]}")
            if not refused:
                await send(message)

        try:
            await serve(scope, receive, send_when_saved)
        finally:
            request.deliver(store)  # of a caller who has disconnected

    s3._fire_s3_event_async = partial(_notify, store)
    sns._threading = _InlineDelivery()


def deliver_interrupted(store: Store) -> None:
    """Deliver the notifications of objects that a killed cloud had written, but not yet notified of."""
    for item, text in store.items(_KIND):
        account, region, arguments, more = json.loads(text)
        with request_scope(account, region), store.transaction():
            if _is_written(*arguments[:3], **more):
                _log.info("notification of %s/%s is delivered now", *arguments[:2])
                s3._fire_s3_event(*arguments, **more)
            store.remove(_KIND, item)


def _is_written(bucket: str, key: str, event: str, **more: Any) -> bool:
    """Whether the request came as far as writing the object."""
    record = s3._buckets.get(bucket, {}).get("objects", {}).get(key)
    if not event.startswith("s3:ObjectCreated:"):
        return True
    if version := more.get("version_id"):
        return any(one["version_id"] == version for one in s3._object_versions.get((bucket, key), []))
    return record is not None and record["etag"] == more.get("etag")


def _notify(store: Store, bucket: str, key: str, event: str, *details: Any, **more: Any) -> None:
    """Notify of a change of an object, when the request that made it is about to be answered."""
    if bucket not in s3._bucket_notifications:
        return
    more.setdefault("sequencer", s3._next_event_sequencer(event))
    deliver = partial(contextvars.copy_context().run, s3._fire_s3_event, bucket, key, event, *details, **more)
    request = _request.get()
    if request is None or request.answered:
        deliver()
        return
    item = store.new_key()
    store.put(_KIND, item, json.dumps([get_account_id(), get_region(), [bucket, key, event, *details], more]))
    request.notifications.append((item, deliver))


class _InlineDelivery:
    """`threading` for SNS: a delivery to a function only puts it into the queue of events, which is not
    worth a thread and must not be lost with one.
    """

    def Thread(self, *, target: Any, args: tuple[Any, ...], daemon: bool) -> Any:  # noqa: N802
        if args and args[0] is sns._deliver_to_lambda:
            return _Started(partial(target, *args))
        return threading.Thread(target=target, args=args, daemon=daemon)


class _Started:
    def __init__(self, run: Callable[[], None]) -> None:
        self.start = run
