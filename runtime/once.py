"""Functions with `once: true`: each input is processed once.

S3, EventBridge, SQS and Lambda deliver an event at least once. A run first claims its input in a table of
DynamoDB (`SCAR_CLAIMS_TABLE`), with a conditional write:

    running ──► uploading ──► done      later deliveries of the event are skipped
       └──────────┴─────────► free      the run failed, or handed over to Batch: the next one takes the claim

A claim is about one function and one event of S3: bucket, key, version (or ETag) and sequencer.

**A run may die at any moment.** It writes a sign of life every `BEAT_S` seconds. The next attempt of the same
event (same request of Lambda, message of SQS, or job of Batch) takes the claim of a dead run at once; any
other run does so after `SILENT_S` seconds without a sign of life, which it measures itself. No decision
depends on the clocks of two machines, except that signs older than `OLD_S` are not waited for.

**A run may seem dead and be alive**, because it was paused, or because an event was delivered twice at the
same moment. Before its uploads, a run therefore confirms its claim. If another run has taken it, the outcome
of that run decides. Uploads are compare-and-swap (`storage/s3_once.py`): even if two runs upload at the same
time, each output is written once.

**No event is lost.** A delivery is skipped only if its input is done, or if a job of Batch is at work on it:
Batch retries a job that dies, and reports the end of a failed one, whose event goes to the failure queue. A
run of Lambda is waited for. If there is no time for that, or if DynamoDB cannot be reached, the delivery
fails, and is retried.
"""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Literal, Self
from uuid import uuid4

from containers import aws
from containers.errors import ErrorKind, ExplainedError
from runtime.logs import Log
from runtime.storage.contract import StoredObject

TABLE_VARIABLE = "SCAR_CLAIMS_TABLE"
BEAT_S = 5.0
SILENT_S = 15.0
OLD_S = 60.0
_LOOK_S = 1.0
_KEPT_S = 30 * 24 * 3600
"""An event may return for 14 days from a queue, and for another 14 from the failure queue."""
_ANSWER_S = 5
"""DynamoDB answers in milliseconds: a request without an answer is repeated."""

RUNNING, UPLOADING, DONE, FREE = "running", "uploading", "done", "free"

_TAKE = (
    "SET progress = :progress, claimant = :claimant, run_id = :run_id, beat_ms = :beat_ms, "
    "expires_at = :expires_at"
)
_AVAILABLE = "attribute_not_exists(id) OR progress = :free"


@dataclass(frozen=True, slots=True)
class Claimant:
    """A delivery of an event: the same for each attempt."""

    kind: Literal["request", "message", "job"]
    """An invocation of Lambda, a message of SQS, or a job of AWS Batch."""
    id: str

    def __str__(self) -> str:
        return f"{self.kind} {self.id}"


@dataclass(frozen=True, slots=True)
class _Found:
    """A claim in the table."""

    progress: str = FREE
    claimant: str = ""
    """As text."""
    run_id: str = ""
    beat_ms: int = 0
    """Time of the last sign of life, in milliseconds since 1970; different each time."""


class Claim:
    """The claim of one run on its input. As a context, it ends when the run does: as done, or as free."""

    def __init__(self, table: str, claim_id: str, claimant: Claimant, log: Log) -> None:
        self.id = claim_id
        self._table = table
        self._claimant = claimant
        self._log = log
        self._run_id = uuid4().hex
        self._beat_ms = 0
        self._holds = False
        self._ended = threading.Event()
        self._lock = threading.Lock()

    @classmethod
    def of(
        cls, source: StoredObject, environ: Mapping[str, str], *, function: str, claimant: Claimant, log: Log
    ) -> Self | None:
        """The claim for an event about `source`, not yet taken. None: nothing in the event distinguishes it
        from one about another object with the same content; S3 does not send such events.

        Raises `ExplainedError` of kind `Misconfigured`.
        """
        table = environ.get(TABLE_VARIABLE)
        if not table:
            raise ExplainedError(
                f"Function {function} has `once`, but {TABLE_VARIABLE} is not set",
                advice="Deploy the function again.",
                kind=ErrorKind.MISCONFIGURED,
            )
        claim_id = claim_id_of(source, function)
        if claim_id is None:
            return None
        return cls(table, claim_id, claimant, log)

    def take(self, until: float) -> str | None:
        """Take the claim, if necessary after waiting for the end of another run; returns None, or why there
        is nothing to do.

        Raises `ExplainedError` (`ClaimUnavailable`, or at `until` (`time.monotonic`) `InProgress`).
        """
        own = "progress = :running AND claimant = :claimant"
        reason = self._settle(self._attempt(f"{_AVAILABLE} OR ({own})", {":running": RUNNING}), until)
        if reason is None:
            threading.Thread(target=self._beat, daemon=True, name="claim").start()
        return reason

    def confirm(self, until: float) -> str | None:
        """Make sure, before anything is uploaded, that no other run has taken the claim; like `take`."""
        while True:
            found = self._update(
                "SET progress = :progress, beat_ms = :beat_ms",
                "run_id = :run_id AND progress = :running",
                {
                    ":progress": UPLOADING,
                    ":running": RUNNING,
                    ":run_id": self._run_id,
                    ":beat_ms": self._next_beat(),
                },
            )
            if found is None or (found.run_id == self._run_id and found.progress == UPLOADING):
                return None
            self._holds = False
            if (reason := self._settle(found, until)) is not None:
                return reason

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        if not self._holds:
            return
        try:
            if kind is None:
                # Even if another run has taken the claim in the meantime: the outputs are complete.
                self._update(_TAKE, None, self._values(DONE))
            else:
                values = {":progress": FREE, ":run_id": self._run_id}
                self._update("SET progress = :progress", "run_id = :run_id", values)
        except ExplainedError as unavailable:
            # The outputs are uploaded, or the run fails anyway. Another delivery waits for a sign of life.
            self._log.warning("claim not updated", reason=str(unavailable))

    def _settle(self, found: _Found | None, until: float) -> str | None:
        """From what a conditional write found, None if it succeeded: until the claim is taken (None), or
        there is nothing to do (the reason)."""
        seen, since = None, 0.0
        while found is not None and found.run_id != self._run_id:
            if found.progress == DONE:
                return f"the input was already processed ({found.claimant})"
            if found.progress == FREE:
                found = self._attempt(_AVAILABLE)
                continue
            sign = (found.run_id, found.beat_ms)
            if sign != seen:
                if seen is not None and seen[0] == found.run_id and found.claimant.startswith("job "):
                    return f"the input is being processed ({found.claimant})"
                seen, since = sign, time.monotonic()
            is_silent = time.monotonic() - since >= SILENT_S
            if is_silent or time.time() - found.beat_ms / 1000 > OLD_S:
                same = "run_id = :seen_run AND beat_ms = :seen_beat"
                found = self._attempt(same, {":seen_run": found.run_id, ":seen_beat": found.beat_ms})
                continue
            if time.monotonic() >= until:
                raise ExplainedError(
                    f"Another run of the same input has not ended yet ({found.claimant})",
                    advice="The event will be retried.",
                    kind=ErrorKind.IN_PROGRESS,
                )
            time.sleep(_LOOK_S)
            found = self._read()
        self._holds = True
        return None

    def _attempt(self, condition: str, more: Mapping[str, str | int] | None = None) -> _Found | None:
        """Take the claim if the condition is true; else return what the table has."""
        values = self._values(RUNNING)
        values.update(more or {})
        if ":free" in condition:
            values[":free"] = FREE
        return self._update(_TAKE, condition, values)

    def _values(self, progress: str) -> dict[str, str | int]:
        return {
            ":progress": progress,
            ":claimant": str(self._claimant),
            ":run_id": self._run_id,
            ":beat_ms": self._next_beat(),
            ":expires_at": int(time.time()) + _KEPT_S,
        }

    def _next_beat(self) -> int:
        with self._lock:
            self._beat_ms = max(self._beat_ms + 1, int(time.time() * 1000))
            return self._beat_ms

    def _beat(self) -> None:
        while not self._ended.wait(BEAT_S):
            values: dict[str, str | int] = {":run_id": self._run_id, ":beat_ms": self._next_beat()}
            try:
                self._update("SET beat_ms = :beat_ms", "run_id = :run_id", values)
            except ExplainedError as error:
                self._log.debug("no sign of life", reason=str(error))

    def _update(self, change: str, condition: str | None, values: Mapping[str, str | int]) -> _Found | None:
        """One write. None if it was done, else what the table has instead."""
        from botocore.exceptions import ClientError

        conditional = {}
        if condition is not None:
            conditional["ConditionExpression"] = condition
            conditional["ReturnValuesOnConditionCheckFailure"] = "ALL_OLD"
        try:
            with _explained(self._table):
                _client().update_item(
                    TableName=self._table,
                    Key={"id": {"S": self.id}},
                    UpdateExpression=change,
                    ExpressionAttributeValues={name: _typed(value) for name, value in values.items()},
                    **conditional,
                )
        except ClientError as error:
            response: dict[str, Any] = {**error.response}
            return _found(response.get("Item"))
        return None

    def _read(self) -> _Found:
        with _explained(self._table):
            answer: dict[str, Any] = _client().get_item(
                TableName=self._table, Key={"id": {"S": self.id}}, ConsistentRead=True
            )
        return _found(answer.get("Item"))


def claim_id_of(source: StoredObject, function: str) -> str | None:
    """The key of the claim in the table; None for an event without a version and without a sequencer."""
    version = source.version_id if source.version_id != "null" else None
    if not version and not source.sequencer:
        return None
    parts = [function, source.bucket, source.key, version or source.etag or "", source.sequencer or ""]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


@contextmanager
def _explained(table: str) -> Iterator[None]:
    """Turn errors of DynamoDB into `ExplainedError`, except for a condition that was false."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except (BotoCoreError, ClientError) as error:
        code = error.response["Error"]["Code"] if isinstance(error, ClientError) else ""
        if code == "ConditionalCheckFailedException":
            raise
        advice = "The event will be retried."
        if code == "AccessDeniedException":
            advice = f"The role needs dynamodb:GetItem and dynamodb:UpdateItem on {table}."
        elif not code:
            advice += " In a VPC, DynamoDB needs a gateway endpoint."
        raise ExplainedError(
            f"The claim on the input cannot be read or written: {error}",
            advice=advice,
            kind=ErrorKind.CLAIM_UNAVAILABLE,
        ) from None


def _client() -> Any:
    return aws.client("dynamodb", read_timeout_s=_ANSWER_S)


def _typed(value: str | int) -> dict[str, str]:
    """In DynamoDB's JSON."""
    return {"N": str(value)} if isinstance(value, int) else {"S": value}


def _found(item: Mapping[str, Mapping[str, Any]] | None) -> _Found:
    """An item of the table; a missing one is free."""
    if not item:
        return _Found()
    return _Found(
        progress=item["progress"]["S"],
        claimant=item["claimant"]["S"],
        run_id=item["run_id"]["S"],
        beat_ms=int(item["beat_ms"]["N"]),
    )
