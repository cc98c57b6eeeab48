"""Until each file of a launch is done or has failed: what `--wait` waits for.

The runner ends each run with a line `summary` in the function's log, Lambda's or Batch's, that names the
file. A file is done when such a line says so. A run that fails may be tried again, so a file has failed when
its event is in the function's failure queue; it is read there and stays there, for `scar retry`. Both are the
same on AWS and on the embedded cloud. The files that are waited for are in a table in a temporary file,
filled from the journal: memory does not grow with them.
"""

from __future__ import annotations

import json
import sqlite3
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any
from urllib.parse import unquote_plus

from scar_cli.aws.deployed import DeployedFunction
from scar_cli.aws.failure_queues import UnreadableMessageError, event_of, stored_event
from scar_cli.aws.logs import lines, parsed
from scar_cli.aws.session import client, explained, is_passing
from scar_cli.errors import UserError
from scar_cli.launch.pace import Patience

_LOOK_EVERY_S = 2.0
_LATE_MS = 60_000
"""A line may reach CloudWatch this long after it was written."""
_HELD_S = 30
"""How long nobody else sees a message that was looked at, if giving it back fails."""
_AT_ONCE = 10
_HANDLES_LIMIT = 10_000


@dataclass(frozen=True)
class Count:
    """How far it is."""

    all: int
    done: int
    failed: int

    @property
    def left(self) -> int:
        """Files of which nothing is known yet."""
        return self.all - self.done - self.failed


class Waiting:
    """The files of one launch, and what became of them."""

    def __init__(self, function: DeployedFunction, launch_id: str, since_ms: int) -> None:
        self._function = function
        self._launch_id = launch_id
        self._since_ms = since_ms
        self._logs = {function.region: client("logs", region=function.region)}
        self._sqs = client("sqs", region=function.region)
        self._stored = partial(stored_event, client("s3", region=function.region))
        self._depth = 0
        self._table = sqlite3.connect("")  # a file that SQLite makes, and that is gone with the connection
        self._table.execute("PRAGMA journal_mode = OFF")  # nothing is ever taken back
        self._table.execute(
            "CREATE TABLE files (subject TEXT PRIMARY KEY, key TEXT, state TEXT, reason TEXT) WITHOUT ROWID"
        )

    def expect(self, files: Iterator[tuple[str, str]]) -> None:
        """Wait for these files too: bucket and key of each."""
        self._table.executemany(
            "INSERT OR IGNORE INTO files VALUES (?, ?, 'sent', NULL)",
            ((_subject(bucket, key), f"{bucket}/{key}") for bucket, key in files),
        )

    def count(self) -> Count:
        """How far it is."""
        found = dict(self._table.execute("SELECT state, count(*) FROM files GROUP BY state"))
        return Count(sum(found.values()), found.get("done", 0), found.get("failed", 0))

    def until_over(self, look: Callable[[Count], None]) -> None:
        """Come back when nothing is left; `look` is called every few seconds.

        Raises:
            UserError: logs or queue cannot be read, and that does not pass within some minutes.
        """
        patience, answered_at = Patience(), time.monotonic()
        while True:
            try:
                self._read_logs()
                self._read_queue()
                answered_at = time.monotonic()
            except UserError as error:
                silent_for = time.monotonic() - answered_at
                if not is_passing(error.__cause__ or error) or silent_for >= patience.give_up_s:
                    raise
            count = self.count()
            look(count)
            if not count.left:
                return
            time.sleep(_LOOK_EVERY_S)

    def failures(self) -> Iterator[tuple[str, str]]:
        """`bucket/key` and reason of each file that failed, in the order of the keys."""
        yield from self._table.execute(
            "SELECT key, coalesce(reason, 'see its log') FROM files WHERE state = 'failed' ORDER BY key"
        )

    def _read_logs(self) -> None:
        """Take in the runs that have ended since the last look, and some of those before: lines come late."""
        newest = self._since_ms
        for word in ('"summary"', '"skipped"'):
            for line in lines(self._logs, [self._function], self._since_ms, pattern=word):
                newest = max(newest, line.timestamp_ms - _LATE_MS)
                own = parsed(line.text)
                if own is None:
                    continue
                status = own["message"] if own["message"] == "skipped" else own.get("status")
                if own["message"] in ("summary", "skipped") and status in ("done", "skipped"):
                    self._set(str(own.get("subject")), "done", None)
                elif own["message"] == "summary" and status == "failed":
                    self._table.execute(
                        "UPDATE files SET reason = ? WHERE subject = ? AND state = 'sent'",
                        (str(own.get("error")), str(own.get("subject"))),
                    )
        self._since_ms = newest

    def _read_queue(self) -> None:
        """Look at what is in the failure queue, if that has changed; everything stays there."""
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        url = self._function.failure_queue_url
        with explained():
            told = self._sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"]
        depth = sum(int(told[name]) for name in names)
        if depth == self._depth:
            return
        held: list[str] = []
        seen: set[str] = set()
        try:
            while len(seen) < depth:
                with explained():
                    answer = self._sqs.receive_message(
                        QueueUrl=url, MaxNumberOfMessages=_AT_ONCE, VisibilityTimeout=_HELD_S
                    )
                messages = answer.get("Messages", [])
                held += [one["ReceiptHandle"] for one in messages][: _HANDLES_LIMIT - len(held)]
                if not {one["MessageId"] for one in messages} - seen:
                    return  # it looks again the next time, as the depth is not noted
                seen |= {one["MessageId"] for one in messages}
                for one in messages:
                    self._read_message(one["Body"])
            self._depth = depth
        finally:
            self._give_back(held)

    def _read_message(self, body: str) -> None:
        try:
            event: Any = event_of(body, self._stored)
            entry = event["Records"][0]["s3"]
            if entry["configurationId"] == self._launch_id:
                bucket, key = str(entry["bucket"]["name"]), unquote_plus(str(entry["object"]["key"]))
                self._set(_subject(bucket, key), "failed", reason_of(body))
        except (UnreadableMessageError, KeyError, TypeError, IndexError):
            pass  # not of this launch

    def _give_back(self, handles: list[str]) -> None:
        """Let others see the messages at once; after a while they would anyway."""
        from botocore.exceptions import BotoCoreError, ClientError

        for first in range(0, len(handles), _AT_ONCE):
            entries = [
                {"Id": str(number), "ReceiptHandle": handle, "VisibilityTimeout": 0}
                for number, handle in enumerate(handles[first : first + _AT_ONCE])
            ]
            with suppress(ClientError, BotoCoreError):
                self._sqs.change_message_visibility_batch(
                    QueueUrl=self._function.failure_queue_url, Entries=entries
                )

    def _set(self, subject: str, state: str, reason: str | None) -> None:
        self._table.execute(
            "UPDATE files SET state = ?, reason = coalesce(reason, ?) WHERE subject = ? AND state != 'done'",
            (state, reason, subject),
        )


def require_log(function: str, level: str) -> None:
    """
    Raises:
        UserError: the function does not log what tells that a file is done.
    """
    if level not in ("DEBUG", "INFO"):
        raise UserError(
            f"--wait reads in the log of {function} which files are done, and its log level {level} leaves "
            "that out",
            "Deploy it with the log level INFO, or look at `scar status` instead",
        )


@contextmanager
def waiting_bar(*, shown: bool) -> Iterator[Callable[[Count], None]]:
    """A bar of the files that are done or have failed, on a terminal alone."""
    if not (shown and sys.stderr.isatty()):
        yield lambda _count: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        MofNCompleteColumn(),
        BarColumn(),
        TextColumn("{task.fields[failed]}", markup=False),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("wait", total=None, failed="")

        def look(count: Count) -> None:
            progress.update(
                task,
                total=count.all,
                completed=count.done + count.failed,
                failed=f"{count.failed} failed" if count.failed else "",
            )

        yield look


def reason_of(body: str) -> str | None:
    """Why an event failed, as the message in the failure queue tells it."""
    try:
        message = json.loads(body)
        if message.get("detail-type") == "Batch Job State Change":
            detail = message["detail"]
            return str(detail.get("statusReason") or detail["container"]["reason"])
        answer = message["responsePayload"]
        return str(answer["errorMessage"] if isinstance(answer, dict) else answer)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def _subject(bucket: str, key: str) -> str:
    """A file as the runner's log names it."""
    uri = f"s3://{bucket}/{key}"
    return uri if uri.isprintable() else ascii(uri)[1:-1]
