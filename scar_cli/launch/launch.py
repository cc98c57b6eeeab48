"""A launch, from what was asked for to the last accepted event.

    selection    which files: the function's folders, a pattern, an age, what has no output yet
    journal      a new one, or that of an interrupted launch, which then has to be of the same selection
    first        one event waits for its answer: a function that does not work costs one run, not a million
    fan-out      one asynchronous event for each other file
    waiting      until each file is done or has failed, if that was asked for

A launch without files has no journal, and that of a launch whose first event fails is taken away: there is
nothing to go on with.
"""

from __future__ import annotations

import shlex
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import click

from scar_cli.aws.deployed import DeployedFunction, one_selected, workflow_of
from scar_cli.aws.invoking import LambdaEndpoint
from scar_cli.aws.logs import moment_ms
from scar_cli.aws.session import LOOPBACK, botocore_session, client, explained
from scar_cli.errors import UserError
from scar_cli.launch.fan_out import Ahead, Event, FanOut, Target
from scar_cli.launch.files import (
    CONFIGURATION_ID,
    InputFile,
    Listing,
    NoBucketError,
    Selection,
    entries_of,
    sources_of,
)
from scar_cli.launch.first_event import run_first
from scar_cli.launch.function import choose, deployed_suffix
from scar_cli.launch.journal import Journal, accepted_files
from scar_cli.launch.journal_head import CONCURRENCY, REMEMBERED, Wanted, new_place, require_the_same
from scar_cli.launch.outcome import Outcome, counted
from scar_cli.launch.pace import rate_of
from scar_cli.launch.progress import Progress

if TYPE_CHECKING:
    from scar_cli.launch.waiting import Waiting


class Launch:
    """One launch of one function; closes its journal at the end of a `with`."""

    def __init__(self, wanted: Wanted) -> None:
        """
        Raises:
            UserError: something is wrong with what was asked for.
        """
        from botocore.exceptions import NoRegionError

        self.journal = Journal.resume(Path(wanted.resume).absolute()) if wanted.resume is not None else None
        head = self.journal.record.head if self.journal is not None else None
        self.wanted = wanted = wanted if head is None else wanted.completed(head)
        self.rate = rate_of(wanted.rate)
        self.function = choose(workflow_of(str(wanted.fdl)), wanted.name)
        since = wanted.newer_than
        entries = entries_of(self.function.inputs, wanted.bucket_suffix)
        self.selection = Selection(
            sources_of(entries, wanted.bucket_path),
            entries,
            wanted.match,
            since,
            head["newer_than_ms"] if head is not None else moment_ms(since) if since is not None else None,
        )
        self._outputs = entries_of(self.function.outputs, wanted.bucket_suffix)
        if wanted.skip_done and not self._outputs:
            raise UserError(
                f"{self.function.name} has no output on S3, so nobody knows which files are done",
                "Leave out --skip-done",
            )
        self._deployed: DeployedFunction | None = None
        self._told = False
        self.session = botocore_session()
        retries = {"mode": "standard", "total_max_attempts": 4}
        region = self.function.region or self.session.get_config_variable("region")
        if region is None:  # S3 needs none, and would say that it is us-east-1
            with explained():
                raise NoRegionError
        self._s3 = client("s3", region=region, session=self.session, retries=retries)
        self._s3.meta.events.register("after-call.s3.ListObjectsV2", self._note_time)
        self._now_ms = 0
        self.region = str(self._s3.meta.region_name)
        if head is not None:
            require_the_same(head, self._head(), str(wanted.resume))
        self.listing = Listing(self._s3, self.selection)

    def __enter__(self) -> Launch:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_error: object) -> None:
        if self.journal is None:
            return
        if (
            kind is not None
            and issubclass(kind, KeyboardInterrupt)
            and not self._told
            and self.journal.path.exists()
        ):
            click.echo(f"Go on with: {self.resume_command}", err=True)  # between two of its steps
        self.journal.close()

    @property
    def resume_command(self) -> str:
        """What to type to go on."""
        words = ["scar-launch", "--resume", str(self.journal.path if self.journal else "")]
        if self.wanted.concurrency != CONCURRENCY:
            words += ["--concurrency", str(self.wanted.concurrency)]
        if self.wanted.rate is not None:
            words += ["--rate", self.wanted.rate]
        return shlex.join(words)

    def files(self) -> Iterator[InputFile]:
        """What would be sent, without a trace in the journal."""
        pending = self.journal.record.pending.values() if self.journal is not None else ()
        again = (self.listing.again(one.source, one.key) for one in pending)
        yield from (file for file in again if file is not None)
        yield from chain.from_iterable(self._pages(None))

    def send(self, *, shown: bool) -> Outcome:
        """Send all events; `shown` on a terminal as they go.

        Raises:
            UserError: it ended early; the text says how to go on.
            KeyboardInterrupt: so it did, and how to go on has been said.
        """
        started = time.monotonic()
        outcome = Outcome(self.function.name)
        if self.journal is None or not self.journal.record.finished:
            with Progress(shown=shown) as progress:
                outcome.sent = self._send(progress)
        outcome.seconds = time.monotonic() - started
        if self.journal is not None:
            outcome.accepted = self.journal.record.accepted
            outcome.journal = self.journal.path
            outcome.perhaps_twice = list(self.journal.record.perhaps_twice.values())
        outcome.left_out = {name: count for name, count in vars(self.listing.left_out).items() if count}
        return outcome

    def prepare_to_wait(self) -> None:
        """Find out where logs and failures of the function are, before anything is sent.

        Raises:
            UserError: it is not deployed, or its log would not tell what is done.
        """
        from scar_cli.launch.waiting import require_log

        require_log(self.function.name, self.function.log_level)
        self._deployed = one_selected(str(self.wanted.fdl), self.function.name)

    def wait(self, *, shown: bool) -> Waiting | None:
        """Wait until each file is done or has failed; None: there is none.

        Raises:
            UserError: logs or the failure queue cannot be read.
            KeyboardInterrupt: how to go on waiting has been said.
        """
        from scar_cli.launch.done import explained_disk
        from scar_cli.launch.waiting import Waiting, waiting_bar

        if self.journal is None:
            return None
        assert self._deployed is not None  # noqa: S101 (prepare_to_wait comes first)
        head, sources = self.journal.record.head, self.selection.sources
        waiting = Waiting(self._deployed, str(head["launch"]), int(head["since_ms"]))
        with explained_disk():
            waiting.expect((sources[one].bucket, key) for one, key in accepted_files(self.journal.path))
        try:
            with waiting_bar(shown=shown) as look:
                waiting.until_over(look)
        except (KeyboardInterrupt, UserError) as error:
            count = waiting.count()
            told = f"{count.done} of {counted(count.all, 'file')} are done, {count.failed} failed so far"
            told += f". Go on waiting: {self.resume_command} --wait"
            if isinstance(error, UserError):
                advice = ". ".join(filter(None, (error.advice, told)))
                raise UserError(error.cause, advice, exit_code=1) from error
            self._told = True
            click.echo(told, err=True)
            raise
        return waiting

    def _send(self, progress: Progress) -> int:
        pending = list(self._pending())
        progress.found = len(pending)
        events = chain(pending, self._new(progress))
        first = next(events, None)
        if first is None:
            if self.journal is not None:
                self.journal.finish()
            return 0
        lambda_ = client("lambda", region=self.region, session=self.session)
        is_new = self.journal is None
        if self.journal is None:
            self.journal = Journal.create(new_place(self.function.name), self._head())
        journal = self.journal
        target = Target(
            self.function.name,
            self.region,
            LambdaEndpoint.of(lambda_, self.session),
            str(journal.record.head["launch"]),
        )
        sent = 0
        try:
            if not journal.record.accepted:
                if first.number is None:
                    (first.number,) = journal.sending(first.file.source, [first.file.key])
                lost = partial(journal.perhaps_twice, first.number, first.file.key)
                run_first(target, first.file, lost=lost)
                journal.accepted(first.number)
                sent = 1
            else:
                events = chain([first], events)
            fan_out = FanOut(target, events, journal, concurrency=self.wanted.concurrency, rate=self.rate)
            try:
                fan_out.run(progress.look)
            finally:
                sent += fan_out.sent
            journal.finish()
        except (KeyboardInterrupt, Exception) as error:
            self._stopped(error, is_new)
        return sent

    def _stopped(self, error: KeyboardInterrupt | Exception, is_new: bool) -> None:
        """Say how to go on. Raises the error, or one with the same cause."""
        assert self.journal is not None  # noqa: S101 (there is one while events are sent)
        record = self.journal.record
        if is_new and not record.accepted:
            self.journal.remove()
            raise error
        told = f"Accepted so far: {counted(record.accepted, 'event')}. Go on with: {self.resume_command}"
        if not isinstance(error, UserError):
            self._told = True
            click.echo(told, err=True)
            raise error
        raise UserError(error.cause, ". ".join(filter(None, (error.advice, told))), exit_code=1) from error

    def _pending(self) -> Iterator[Event]:
        """The events that an earlier run was about to send, if their files are still there."""
        if self.journal is None:
            return
        found, gone = {}, []
        for one in self.journal.record.pending.values():
            file = self.listing.again(one.source, one.key)
            if file is None:
                gone.append(one.number)
            else:
                found[one.number] = file
        self.listing.left_out.gone = len(gone)
        for one in self.journal.go_on(gone):
            yield Event(found[one.number], one.number)

    def _new(self, progress: Progress) -> Iterator[Event]:
        """The events of files that were not reached yet, listed ahead of their need."""
        return (Event(file) for file in chain.from_iterable(Ahead(self._pages(progress))))

    def _pages(self, progress: Progress | None) -> Iterator[list[InputFile]]:
        record = self.journal.record if self.journal is not None else None
        left = None
        if self.wanted.limit is not None:
            left = self.wanted.limit - (record.numbered - record.gone if record is not None else 0)
        pages = self.listing.pages(record.position if record is not None else None)
        if self.wanted.skip_done:
            from scar_cli.launch.done import not_done

            pages = not_done(pages, self.listing, self._outputs)
        for page in self._told_of_suffix(pages):
            page = page if left is None else page[:left]  # noqa: PLW2901 (what is over the limit is cut off)
            if progress is not None:
                progress.found += len(page)
            yield page
            if left is not None:
                left -= len(page)
                if not left:
                    break
        if progress is not None:
            progress.is_all = True

    def _told_of_suffix(self, pages: Iterator[list[InputFile]]) -> Iterator[list[InputFile]]:
        """The pages; a bucket that is missing for want of its suffix is said to be so."""
        try:
            yield from pages
        except NoBucketError as error:
            suffix = None
            if self.wanted.bucket_suffix is None:
                suffix = deployed_suffix(str(self.wanted.fdl), self.function.name, error.bucket)
            if suffix is None:
                raise
            raise UserError(
                f"{error.cause}: the workflow is deployed with the bucket suffix {suffix}",
                f"Add --bucket-suffix {suffix}",
            ) from error

    def _head(self) -> dict[str, Any]:
        """The head of a new journal."""
        host = urlsplit(self._s3.meta.endpoint_url).hostname
        now = datetime.now(UTC)
        return {
            "launch": f"{CONFIGURATION_ID}-{now:%Y%m%dT%H%M%S%f}",
            "since_ms": self._now_ms or int(now.timestamp() * 1000),
            "function": self.function.name,
            "region": self.region,
            "cloud": "embedded" if host in LOOPBACK else "aws",
            "fdl": str(Path(str(self.wanted.fdl)).absolute()),
            "options": {name: getattr(self.wanted, name) for name in REMEMBERED},
            **self.selection.described(),
        }

    def _note_time(self, parsed: dict[str, Any], **_more: Any) -> None:
        """Logs are dated by the cloud's clock, which may be another one than this machine's."""
        with suppress(KeyError, ValueError, TypeError):
            date = parsedate_to_datetime(parsed["ResponseMetadata"]["HTTPHeaders"]["date"])
            self._now_ms = self._now_ms or int(date.timestamp() * 1000)
