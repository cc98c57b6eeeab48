"""Waiting until each file of a launch is done or has failed (`--wait`).

The runner ends each run with a line `summary` that names the file, in the log of Lambda or Batch. A file is
done if that line reports success. A failed run may be retried, so a file has failed only when its event is in
the failure queue of the function, where it stays for `scar retry`. Both are the same on AWS and on the
embedded cloud.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import unquote_plus

from scar_cli.aws import failure_queues
from scar_cli.aws.deployed import DeployedFunction, one_selected
from scar_cli.aws.failure_queues import Fetch, UnreadableMessageError, event_of, reason_of, stored_event
from scar_cli.aws.logs import lines, parsed
from scar_cli.aws.session import client, is_passing
from scar_cli.errors import UserError
from scar_cli.launch.done import Count, FileStates, subject_of
from scar_cli.launch.journal import Journal, accepted_files
from scar_cli.launch.pace import Patience
from scar_cli.launch.plan import Plan, explained_end
from scar_cli.progress import terminal_line
from scar_cli.scratch import explained_disk
from scar_cli.table import counted

_LOOK_EVERY_S = 2.0
_LATE_MS = 60_000
"""A line may reach CloudWatch this long after it was written."""


def ready_to_wait(plan: Plan) -> DeployedFunction:
    """The deployed function, with its log and its failure queue. Call this before sending anything.

    Raises:
        UserError: it is not deployed, or its log does not show which files are done.
    """
    require_log(plan.function.name, plan.function.log_level)
    return one_selected(plan.fdl, plan.options.name, stage=plan.options.stage)


def wait(plan: Plan, deployed: DeployedFunction, path: Path, *, shown: bool) -> FileStates:
    """Wait until each file whose event was accepted, according to the journal at `path`, is done or failed.

    Raises:
        UserError: logs or the failure queue cannot be read for some minutes.
        KeyboardInterrupt: its note says how to continue.
    """
    with closing(Journal.resume(path)) as journal:
        head, sources = journal.record.head, plan.selection.sources
        with explained_disk():
            states = FileStates.of((sources[one].bucket, key) for one, key in accepted_files(path))

        def how_to_go_on() -> str:
            count = states.count()
            told = f"{count.done} of {counted(count.all, 'file')} are done, {count.failed} failed so far"
            return f"{told}. To continue waiting: {plan.resume_command} --wait"

        logs, sqs, s3 = (client(one, region=deployed.region) for one in ("logs", "sqs", "s3"))
        since_ms, stored = int(head["since_ms"]), partial(stored_event, s3)
        looks = _Looks(deployed, states, str(head["launch"]), since_ms, logs, sqs, stored)
        with explained_end(how_to_go_on), waiting_bar(shown=shown) as look:
            looks.until_over(look)
    return states


@dataclass
class _Looks:
    """Polls logs and failure queue, and records the state of each file."""

    function: DeployedFunction
    states: FileStates
    launch_id: str
    since_ms: int
    """Time from which the log is read."""
    logs: Any
    sqs: Any
    stored: Fetch
    """Reads an event that is stored in S3."""
    depth: int = 0
    """Messages in the failure queue at the last poll."""

    def until_over(self, look: Callable[[Count], None]) -> None:
        """Return when no file is left; `look` is called every few seconds."""
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
            count = self.states.count()
            look(count)
            if not count.left:
                return
            time.sleep(_LOOK_EVERY_S)

    def _read_logs(self) -> None:
        """Read the runs that ended since the last poll, and some earlier ones: lines may arrive late."""
        newest = self.since_ms
        for word in ('"summary"', '"skipped"'):
            for line in lines(
                {self.function.region: self.logs}, [self.function], self.since_ms, pattern=word
            ):
                newest = max(newest, line.timestamp_ms - _LATE_MS)
                own = parsed(line.text)
                if own is None:
                    continue
                status = own["message"] if own["message"] == "skipped" else own.get("status")
                if own["message"] in ("summary", "skipped") and status in ("done", "skipped"):
                    self.states.set(str(own.get("subject")), "done")
                elif own["message"] == "summary" and status == "failed":
                    self.states.note_reason(str(own.get("subject")), str(own.get("error")))
        self.since_ms = newest

    def _read_queue(self) -> None:
        """Read the failure queue, if it changed; all messages stay in it."""
        url = self.function.failure_queue_url
        depth = failure_queues.depth(self.sqs, url)
        if depth == self.depth:
            return
        number = 0
        for message in failure_queues.looked_at(self.sqs, url, depth):
            self._read_message(message["Body"])
            number += 1
        if number >= depth:  # otherwise it is read again at the next poll
            self.depth = depth

    def _read_message(self, body: str) -> None:
        try:
            event: Any = event_of(body, self.stored)
            entry = event["Records"][0]["s3"]
            if entry["configurationId"] == self.launch_id:
                bucket, key = str(entry["bucket"]["name"]), unquote_plus(str(entry["object"]["key"]))
                self.states.set(subject_of(bucket, key), "failed", reason_of(body))
        except (UnreadableMessageError, KeyError, TypeError, IndexError):
            pass  # not of this launch


def require_log(function: str, level: str) -> None:
    """
    Raises:
        UserError: the function does not log that a file is done.
    """
    if level not in ("DEBUG", "INFO"):
        raise UserError(
            f"--wait needs the log level INFO to see which files are done, and {function} has {level}",
            "Deploy it with the log level INFO, or use `scar status` instead",
        )


@contextmanager
def waiting_bar(*, shown: bool) -> Iterator[Callable[[Count], None]]:
    """A bar of the files that are done or failed, on a terminal only."""
    parts = ("MofNCompleteColumn", "BarColumn", "{task.fields[failed]}", "TimeRemainingColumn")
    with terminal_line(*parts, shown=shown, failed="") as update:

        def look(count: Count) -> None:
            if update is not None:
                failed = f"{count.failed} failed" if count.failed else ""
                update(total=count.all, completed=count.done + count.failed, failed=failed)

        yield look
