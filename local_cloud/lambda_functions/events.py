"""Lambda's asynchronous invocations, queued as on AWS.

ministack starts a thread for each event, counts a throttled invocation as a failed attempt, and loses waiting
events when it stops. Here, S3, SNS, EventBridge and calls put their events into one queue, which

- runs as many at once as `--parallel` allows, in turn for each function;
- waits if there is no capacity: throttling does not count as an attempt;
- retries a failed event after increasing delays, as specified in the function's event invoke configuration,
  and passes it on after the last attempt (`event_failures.py`);
- is on disk before the caller is answered, and keeps an event until its function has succeeded or its failure
  was passed on, in one transaction: at-least-once delivery, as on AWS.

Its workers also invoke functions with messages of SQS queues (`queue_sources.py`), in turn with events.
"""

from __future__ import annotations

import heapq
import json
import logging
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from ministack.core.responses import get_account_id, get_region, request_scope
from ministack.services import eventbridge, lambda_svc, sns

from local_cloud.lambda_functions import event_failures, loops, request_ids
from local_cloud.lambda_functions.queue_sources import MessageBatch, QueueSources
from local_cloud.messages import chains
from local_cloud.metrics.published import record_event_age
from local_cloud.patches import Original, replaces
from local_cloud.state.stopping import BackgroundWork
from local_cloud.state.store import Store

Event = Any
RETRY_AFTER_S = (1.0, 2.0)
"""Before the second and third attempt. (AWS: one and two minutes, which is too long for development.)"""
_NO_ROOM_FOR_S = 0.05
_KIND = "event"
_log = logging.getLogger("lambda-events")


@dataclass
class QueuedEvent:
    """One event that waits for a function."""

    account: str
    region: str
    function_arn: str
    event: Event
    queued_at: float
    chain: dict[str, int] = field(default_factory=dict)
    """The invocations that led to it (`messages/chains.py`)."""
    attempts: int = 0
    request_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    """The same for each attempt, as on AWS: programs recognize a retry by it."""
    key: str = ""
    """In the store."""


class EventQueue(BackgroundWork):
    """The queue, and the threads that empty it, from `resume` on."""

    def __init__(self, *, parallel: int, store: Store) -> None:
        super().__init__(store)
        self._waiting: dict[str, deque[QueuedEvent]] = {}
        self._delayed: list[tuple[float, int, QueuedEvent]] = []
        self._no_room_until: dict[str, float] = {}
        self._sequence = 0
        self._queues = QueueSources()
        self._events_next = True
        for number in range(parallel):
            threading.Thread(target=self._work, daemon=True, name=f"lambda-events-{number}").start()

    def install(self) -> None:
        """Take the place of ministack's own asynchronous invocation, everywhere that has one."""
        lambda_svc.invoke_async_with_retry = self.put
        eventbridge._dispatch_to_lambda = self._from_event_bridge
        sns._lambda_svc = _AsynchronousDoor(self.put)

        @replaces(lambda_svc, "_ensure_poller")
        def poll_streams_unless_paused(poll_sources: Original) -> None:
            mappings = lambda_svc._esms.all_values()
            if not self._paused and any(":sqs:" not in mapping["EventSourceArn"] for mapping in mappings):
                poll_sources()
            self.wake()  # a mapping of a queue may be new

        self._queues.install()

        @replaces(lambda_svc, "reset")
        def reset_all(reset: Original) -> None:
            self.forget_all()
            reset()

    def put(self, function: dict[str, Any], event: Event) -> None:
        """Queue an event for a function's record of ministack's."""
        config = function.get("config") or function
        self._add(
            QueuedEvent(
                account=get_account_id(),
                region=get_region(),
                function_arn=config["FunctionArn"],
                event=event,
                queued_at=time.time(),
                chain=dict(chains.current.get()),
                request_id=request_ids.current.get() or str(uuid.uuid4()),
            )
        )

    def restore(self) -> None:
        """Queue the stored events; they wait for `resume`."""
        with self._changed:
            for _key, value in self._store.items(_KIND):
                known = QueuedEvent.__dataclass_fields__  # an earlier version has stored others, too
                invocation = QueuedEvent(
                    **{name: one for name, one in json.loads(value).items() if name in known}
                )
                self._waiting.setdefault(invocation.function_arn, deque()).append(invocation)

    def resume(self) -> None:
        """Start working, when everything is loaded and the server answers; streams are polled from now on."""
        super().resume()
        lambda_svc._ensure_poller()

    def wake(self, queue_arn: str = "") -> None:
        """Look again for what can run: a message of this queue may be received, or mappings have changed."""
        with self._changed:
            self._queues.look_again(queue_arn)
            self._changed.notify()

    def forget_all(self) -> None:
        """Drop everything that waits."""
        with self._store.transaction():
            self._waiting.clear()
            self._delayed.clear()
            self._queues.forget_all()
            self._store.remove_below(_KIND, "")

    def _add(self, invocation: QueuedEvent) -> None:
        with self._store.transaction():
            invocation.key = self._store.new_key()
            self._keep(invocation)
            self._waiting.setdefault(invocation.function_arn, deque()).append(invocation)
            self._changed.notify()

    def _keep(self, invocation: QueuedEvent) -> None:
        self._store.put(_KIND, invocation.key, json.dumps(vars(invocation)))

    def _work(self) -> None:
        while True:
            with self._changed:
                work = self._next()
                self._running[id(work)] = work
            try:
                conclude = self._queues.run(work) if isinstance(work, MessageBatch) else self._run(work)
            except Exception:
                _log.exception("trying again: %s", work)
                if isinstance(work, MessageBatch):
                    conclude = partial(self._queues.give_back, work)
                else:
                    conclude = partial(self._delay, work, RETRY_AFTER_S[-1])
            with self._store.transaction():
                del self._running[id(work)]
                if not self._abandoned:
                    with request_scope(work.account, work.region):
                        conclude()
                self._changed.notify_all()

    def _next(self) -> QueuedEvent | MessageBatch:
        """Wait for an event, or a batch of messages, whose function has room. The lock is held."""
        while True:
            if self._paused:
                self._changed.wait()
                continue
            now = time.monotonic()
            takers: list[Callable[[float], tuple[QueuedEvent | MessageBatch | None, float | None]]] = [
                self._next_event,
                self._queues.take,
            ]
            wake_at: list[float] = []
            for take in takers if self._events_next else reversed(takers):
                work, at = take(now)
                if work is not None:
                    self._events_next = isinstance(work, MessageBatch)
                    return work
                wake_at += [] if at is None else [at]
            self._changed.wait(max(0.0, min(wake_at) - now) if wake_at else None)

    def _next_event(self, now: float) -> tuple[QueuedEvent | None, float | None]:
        """An event, or else when to look again (None: after a change)."""
        while self._delayed and self._delayed[0][0] <= now:
            invocation = heapq.heappop(self._delayed)[2]
            self._waiting.setdefault(invocation.function_arn, deque()).append(invocation)
        wake_at = [self._delayed[0][0]] if self._delayed else []
        for arn in list(self._waiting):
            no_room_until = self._no_room_until.get(arn, 0.0)
            if no_room_until > now:
                wake_at.append(no_room_until)
                continue
            queue = self._waiting.pop(arn)
            invocation = queue.popleft()
            if queue:
                self._waiting[arn] = queue  # at the end: its next event follows one of each other function
            return invocation, None
        return None, min(wake_at, default=None)

    def _run(self, invocation: QueuedEvent) -> Callable[[], None]:
        """Invoke the function once. Returns what must be done afterwards, in one transaction."""
        done = partial(self._store.remove, _KIND, invocation.key)
        with request_scope(invocation.account, invocation.region):
            # As it is now: a function that was updated while the event waited runs in its new form.
            record, config, name = lambda_svc._get_func_record_for_ref(invocation.function_arn)
            if not record or not config:
                _log.warning("event for %s dropped: the function no longer exists", invocation.function_arn)
                return done
            function = lambda_svc._execution_record_for_config(
                record, {**config, "FunctionArn": invocation.function_arn}
            )
            settings = event_invoke_config(record, invocation.function_arn)
            record_event_age(name, time.time() - invocation.queued_at)
            chain = chains.current.set(invocation.chain)
            request_id = request_ids.current.set(invocation.request_id)
            is_loop = loops.is_loop(invocation.chain, function)
            try:
                result = (
                    loops.stopped(function)
                    if is_loop
                    else lambda_svc._execute_function(function, invocation.event)
                )
            except Exception as error:
                _log.exception("invocation of %s", name)
                result = {
                    "error": True,
                    "body": {"errorMessage": str(error), "errorType": type(error).__name__},
                }
            finally:
                chains.current.reset(chain)
                request_ids.current.reset(request_id)
            if result.get("throttle"):
                return partial(self._put_back, invocation)
            invocation.attempts += 1
            if log := result.get("log"):
                _log.debug("%s, attempt %d:\n%s", name, invocation.attempts, log)
            if not result.get("error"):
                return done
            condition = event_failures.RETRIES_EXHAUSTED
            if invocation.attempts <= retries_of(settings) and not is_loop:
                delay_s = RETRY_AFTER_S[min(invocation.attempts, len(RETRY_AFTER_S)) - 1]
                age_s = time.time() - invocation.queued_at + delay_s
                if age_s <= float(settings.get("MaximumEventAgeInSeconds") or 21600):
                    return partial(self._delay, invocation, delay_s)
                condition = event_failures.EVENT_AGE_EXCEEDED
            _log.warning("event for %s failed %d times: %s", name, invocation.attempts, result.get("body"))
            failure = event_failures.Failure(
                request_id=invocation.request_id,
                function_arn=invocation.function_arn,
                event=invocation.event,
                attempts=invocation.attempts,
                condition=condition,
                result=result,
            )

            def give_up() -> None:
                event_failures.send(failure, settings, config, self.put)
                done()

            return give_up

    def _put_back(self, invocation: QueuedEvent) -> None:
        self._no_room_until[invocation.function_arn] = time.monotonic() + _NO_ROOM_FOR_S
        self._waiting.setdefault(invocation.function_arn, deque()).appendleft(invocation)

    def _delay(self, invocation: QueuedEvent, delay_s: float) -> None:
        self._keep(invocation)  # with its attempts
        self._sequence += 1
        heapq.heappush(self._delayed, (time.monotonic() + delay_s, self._sequence, invocation))

    def _from_event_bridge(self, arn: str, payload: str) -> None:
        try:
            event = json.loads(payload)
        except ValueError:
            event = {"body": payload}
        record, config, _name = lambda_svc._get_func_record_for_ref(arn)
        if record and config:
            self.put(lambda_svc._execution_record_for_config(record, config), event)


class _AsynchronousDoor:
    """`lambda_svc` for SNS, whose deliveries to a function are asynchronous on AWS."""

    def __init__(self, put: Callable[[dict[str, Any], Event], None]) -> None:
        self._execute_function_with_config_scope = put

    def __getattr__(self, name: str) -> Any:
        return getattr(lambda_svc, name)


def retries_of(settings: dict[str, Any]) -> int:
    """How often a failed event is tried again, by the function's event invoke configuration."""
    retries = settings.get("MaximumRetryAttempts")
    return 2 if retries is None else int(retries)


def event_invoke_config(record: dict[str, Any], arn: str) -> dict[str, Any]:
    """The event invoke configuration of a function, or of its version or alias in `arn`; empty without
    one."""
    configs = record.get("event_invoke_configs") or {}
    qualifier = arn.split(":", 7)[7] if arn.count(":") >= 7 else ""  # noqa: PLR2004 (arn:…:function:NAME:QUALIFIER)
    found: dict[str, Any] = (
        configs.get(qualifier)
        or record.get("event_invoke_config")
        or configs.get("$LATEST")
        or configs.get("")
        or {}
    )
    return found
