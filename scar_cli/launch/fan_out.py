"""Sends one event for each file, with several threads, as fast as Lambda accepts them.

The listing is two pages ahead. The journal records a few files before they are sent, and each acceptance.
Calls that are throttled, cut off or not answered are repeated. Errors that would persist (expired
credentials, a deleted function) end the launch.
"""

from __future__ import annotations

import http.client
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Generic, TypeVar

from scar_cli.aws.invoking import LambdaAnswer, LambdaConnection, LambdaEndpoint
from scar_cli.aws.session import explain
from scar_cli.errors import UserError
from scar_cli.launch.files import CONFIGURATION_ID, InputFile, event_bytes
from scar_cli.launch.journal import Journal
from scar_cli.launch.pace import Pace, Patience

if TYPE_CHECKING:
    from scar_cli.launch.budget import Budget

_PAGES_AHEAD = 2
_END_WITHIN_S = 5.0
"""Time for running calls after an interruption."""
_LOOK_EVERY_S = 0.2
_RETRIED = frozenset({408, 409, 425, 429})
"""Temporary errors: too many requests, a function that is being updated. So are all from 500 on."""
_Item = TypeVar("_Item")


@dataclass(frozen=True)
class Target:
    """The function that gets the events."""

    function: str
    region: str
    endpoint: LambdaEndpoint
    launch_id: str = CONFIGURATION_ID
    """Part of each event, to recognize those in the failure queue."""


@dataclass(slots=True)
class Event:
    """A file whose event is being sent."""

    file: InputFile
    number: int | None = None
    """Its number in the journal; None: not yet recorded."""
    perhaps_sent: bool = False
    """A call with it ended without a response."""
    noted: bool = False
    """The journal records it as perhaps sent twice."""


class FanOut:
    """One launch, from its first asynchronous event to its last."""

    def __init__(
        self,
        target: Target,
        events: Iterator[Event],
        journal: Journal,
        *,
        concurrency: int,
        rate: float | None = None,
        budget: Budget | None = None,
        patience: Patience | None = None,
    ) -> None:
        self.sent = 0
        self.trouble = ""
        """The latest error, in words; empty once an event is accepted again."""
        self._target = target
        self._events = events
        self._journal = journal
        self._patience = patience or Patience()
        self._concurrency = concurrency
        self._pace = Pace(concurrency, rate, self._patience)
        self._budget = budget
        self._stop = threading.Event()
        self._over = threading.Event()
        self._lock = threading.Lock()
        self._taking = threading.Lock()
        """Held by the sender that waits for the listing, while the others continue."""
        self._ready: deque[Event] = deque()
        self._at_work: dict[int, Event] = {}
        self._senders = 0
        self._error: BaseException | None = None
        self._last_accepted = time.monotonic()

    def run(self, look: Callable[[FanOut], None] = lambda _fan_out: None) -> None:
        """Send everything; `look` is called a few times a second.

        Raises:
            UserError: it ended early.
            KeyboardInterrupt: the same. In both cases the journal records what was not sent.
        """
        self._senders = self._concurrency
        threads = [
            threading.Thread(target=self._send_all, daemon=True, name=f"sender-{number}")
            for number in range(self._concurrency)
        ]
        for thread in threads:
            thread.start()
        try:
            while not self._over.wait(_LOOK_EVERY_S):
                look(self)
            look(self)
            self._raise_error()
        except BaseException as error:
            self._stop.set()
            self._over.wait(_END_WITHIN_S)
            with suppress(UserError):  # a full disk may be the reason
                self._journal.stopped(str(error) or "interrupted", self._not_sent())
            raise

    def _raise_error(self) -> None:
        if self._error is not None:
            raise self._error

    def _not_sent(self) -> list[int]:
        """Numbers of the recorded events that were certainly not sent."""
        with self._lock:
            left = [*self._ready, *(one for one in self._at_work.values() if not one.perhaps_sent)]
        return [one.number for one in left if one.number is not None]

    def _send_all(self) -> None:
        connection = LambdaConnection(self._target.endpoint, self._patience.answer_s)
        try:
            while not self._stop.is_set() and (event := self._next()) is not None:
                self._send(connection, event)
        except BaseException as error:
            self._error = self._error or error
            self._stop.set()
        finally:
            connection.close()
            with self._lock:
                self._senders -= 1
                if not self._senders:
                    self._over.set()

    def _next(self) -> Event | None:
        """The next event to send, which the journal has recorded."""
        with self._taking:
            if not self._ready:
                self._take_some()
            with self._lock:
                if not self._ready or self._stop.is_set():
                    return None
                event = self._ready.popleft()
                self._at_work[id(event)] = event
                return event

    def _take_some(self) -> None:
        batch = list(islice(self._events, 1))
        try:
            if batch and (room := self._may_send()):
                batch += islice(self._events, room - 1)
        except UserError:
            self._stop.set()
            with self._lock:
                self._ready.extend(batch)  # not sent
            raise
        with self._lock:
            if self._stop.is_set():
                return
            for source in dict.fromkeys(event.file.source for event in batch if event.number is None):
                new = [event for event in batch if event.number is None and event.file.source == source]
                numbers = self._journal.sending(source, [event.file.key for event in new])
                for event, number in zip(new, numbers, strict=True):
                    event.number = number
            self._ready.extend(batch)

    def _may_send(self) -> int:
        """How many events may be taken now.

        Raises:
            UserError: none, because of their cost.
        """
        if self._budget is None:
            return self._concurrency
        with self._lock:
            sent = self._journal.record.accepted + len(self._ready) + len(self._at_work)
        return self._budget.may_send(sent, self._concurrency, self._stop)

    def _send(self, connection: LambdaConnection, event: Event) -> None:
        """Send one event until it is accepted, or the launch ends."""
        attempts = 0
        since = time.monotonic()
        body = event_bytes(event.file, self._target.region, self._target.launch_id)
        while self._pace.begin(self._stop):
            answer = None
            if event.perhaps_sent:
                self._note_lost(event)
            event.perhaps_sent, before = True, event.perhaps_sent
            try:
                answer = connection.send_event(self._target.function, body, partial(self._note_lost, event))
            except (OSError, http.client.HTTPException) as error:
                event.perhaps_sent = before or event.noted or connection.may_have_arrived
                reason = words_of(error)
            else:
                event.perhaps_sent = before or event.noted or answer.status >= 500  # noqa: PLR2004 (unknown how far it got)
                reason = f"{answer.status} {answer.code or answer.message}"
            if answer is not None and answer.status == 202:  # noqa: PLR2004
                self._pace.end(accepted=True)
                self._note(event)
                return
            self._pace.slow_down()
            if answer is not None and not (answer.status in _RETRIED or answer.status >= 500):  # noqa: PLR2004
                raise refusal(answer, self._target.function)
            self.trouble = reason
            attempts += 1
            self._give_up_late(since, reason)
            pause = self._patience.pause(attempts, answer.retry_after_s if answer else 0.0)
            at_first = min(pause, self._patience.first_pause_s)
            self._stop.wait(at_first)
            self._pace.end()
            if self._stop.wait(pause - at_first):
                return

    def _note_lost(self, event: Event) -> None:
        """Record that an event is sent again although it may have been accepted."""
        if not event.noted:
            assert event.number is not None  # noqa: S101 (it comes from _next)
            self._journal.perhaps_twice(event.number, event.file.key)
            event.noted = True

    def _note(self, event: Event) -> None:
        assert event.number is not None  # noqa: S101 (it comes from _next)
        with self._lock:  # between these two, the budget would count the event twice
            self._journal.accepted(event.number)
            del self._at_work[id(event)]
            self.sent += 1
            self.trouble = ""
            self._last_accepted = time.monotonic()

    def _give_up_late(self, since: float, reason: str) -> None:
        waited = time.monotonic() - max(since, self._last_accepted)
        if waited >= self._patience.give_up_s:
            raise UserError(
                f"Lambda has not accepted an event for {waited / 60:.0f} minutes. Last error: {reason}",
                "Check the network connection and the state of the function",
                exit_code=1,
            )


class Ahead(Generic[_Item]):
    """The items of an iterator, a few of them read ahead by a thread."""

    def __init__(self, items: Iterator[_Item]) -> None:
        self._got: queue.Queue[tuple[_Item | None, BaseException | None]] = queue.Queue(_PAGES_AHEAD)
        self._ended: BaseException | None = None
        threading.Thread(target=self._get, args=(items,), daemon=True, name="listing").start()

    def __iter__(self) -> Iterator[_Item]:
        return self

    def __next__(self) -> _Item:
        if self._ended is not None:
            raise self._ended
        item, error = self._got.get()
        if error is not None:
            self._ended = error
            raise error
        return item  # type: ignore[return-value]

    def _get(self, items: Iterator[_Item]) -> None:
        try:
            for item in items:
                self._got.put((item, None))
            self._got.put((None, StopIteration()))
        except BaseException as error:
            self._got.put((None, error))


def refusal(answer: LambdaAnswer, function: str) -> UserError:
    """The error for a rejected call."""
    if answer.code == "ResourceNotFoundException":
        return UserError(f"The function {function} is not deployed", "Deploy it: scar init -f FILE")
    if not answer.code:
        return UserError(
            f"The response is not from AWS Lambda: {answer.status} {answer.message}".rstrip(),
            "Check AWS_ENDPOINT_URL and the proxy",
        )
    from botocore.exceptions import ClientError

    error = ClientError({"Error": {"Code": answer.code, "Message": answer.message}}, "Invoke")
    return explain(error) or UserError(f"Invoke failed: {answer.message}")


def words_of(error: Exception) -> str:
    """Why a call got no response."""
    if isinstance(error, TimeoutError):
        return "no response in time"
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
