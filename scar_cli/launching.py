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

import json
import os
import shlex
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import click

from fdl_schemas.model import Function, Workflow
from scar_cli.deployed import workflow_of
from scar_cli.errors import UserError
from scar_cli.fan_out import Ahead, Event, FanOut, Target
from scar_cli.first_event import run_first
from scar_cli.invoking import LambdaEndpoint
from scar_cli.journal import Journal
from scar_cli.launch_files import InputFile, Listing, Selection, input_entries, sources_of
from scar_cli.launch_progress import Progress
from scar_cli.log import moment_ms
from scar_cli.pace import rate_of
from scar_cli.session import LOOPBACK, botocore_session, client

CONCURRENCY = 32
_REMEMBERED = ("bucket_suffix", "bucket_path", "match", "newer_than", "skip_done", "limit")
"""Options that say which files are taken: a launch that goes on has them from its journal."""


@dataclass(frozen=True)
class Wanted:
    """What was typed."""

    fdl: str | None = None
    name: str | None = None
    bucket_suffix: str | None = None
    bucket_path: str | None = None
    match: str | None = None
    newer_than: str | None = None
    skip_done: bool = False
    limit: int | None = None
    concurrency: int = CONCURRENCY
    rate: str | None = None
    resume: str | None = None


@dataclass
class Outcome:
    """What came of a launch."""

    function: str
    sent: int = 0
    """In this run of the command."""
    accepted: int = 0
    """In all, with those before an interruption."""
    seconds: float = 0.0
    left_out: dict[str, int] = field(default_factory=dict)
    journal: Path | None = None

    def told(self) -> Iterator[str]:
        """Sentences for people."""
        if self.sent:
            rate = f" ({self.sent / self.seconds:.0f}/s)" if self.seconds >= 1 else ""
            yield f"Sent {_count(self.sent, 'event')} to {self.function} in {self.seconds:.1f} s{rate}."
        elif self.accepted:
            yield f"Nothing is left to send: {self.function} got {_count(self.accepted, 'event')} before."
        else:
            yield f"There is no file in the input folder of {self.function} to send."
        reasons = {
            "empty": "of zero bytes, which the function takes for markers of folders",
            "done": "whose output is there already",
            "gone": "that were deleted since the launch was interrupted",
        }
        for name, count in self.left_out.items():
            yield f"Left out: {_count(count, 'file')} {reasons[name]}."
        if self.journal is not None:
            yield f"Journal: {self.journal}"


class Launch:
    """One launch of one function; closes its journal at the end of a `with`."""

    def __init__(self, wanted: Wanted) -> None:
        """
        Raises:
            UserError: something is wrong with what was asked for.
        """
        self.journal = Journal.resume(Path(wanted.resume).absolute()) if wanted.resume is not None else None
        head = self.journal.record.head if self.journal is not None else None
        self.wanted = wanted = _completed(wanted, head)
        self.rate = rate_of(wanted.rate)
        self.function = choose(workflow_of(str(wanted.fdl)), wanted.name)
        since = wanted.newer_than
        entries = input_entries(self.function, wanted.bucket_suffix)
        self.selection = Selection(
            sources_of(entries, wanted.bucket_path),
            entries,
            wanted.match,
            since,
            head["newer_than_ms"] if head is not None else moment_ms(since) if since is not None else None,
        )
        self._session = botocore_session()
        retries = {"mode": "standard", "total_max_attempts": 4}
        s3 = client("s3", region=self.function.region, session=self._session, retries=retries)
        self.region = str(s3.meta.region_name)
        self._head = self._described(s3)
        if head is not None:
            _require_the_same(head, self._head, str(wanted.resume))
        self.listing = Listing(s3, self.selection)

    def __enter__(self) -> Launch:
        return self

    def __exit__(self, *_error: object) -> None:
        if self.journal is not None:
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
        outcome.left_out = {name: count for name, count in vars(self.listing.left_out).items() if count}
        return outcome

    def _send(self, progress: Progress) -> int:
        events = chain(self._pending(), self._new(progress))
        first = next(events, None)
        if first is None:
            if self.journal is not None:
                self.journal.finish()
            return 0
        lambda_ = client("lambda", region=self.region, session=self._session)
        target = Target(self.function.name, self.region, LambdaEndpoint.of(lambda_, self._session))
        is_new = self.journal is None
        self.journal = journal = self.journal or Journal.create(_place(self.function.name), self._head)
        sent = 0
        try:
            if not journal.record.accepted:
                if first.number is None:
                    (first.number,) = journal.sending(first.file.source, [first.file.key])
                run_first(target, first.file)
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
        except (KeyboardInterrupt, UserError) as error:
            self._stopped(error, is_new)
        return sent

    def _stopped(self, error: KeyboardInterrupt | UserError, is_new: bool) -> None:
        """Say how to go on. Raises the error, or one with the same cause."""
        assert self.journal is not None  # noqa: S101 (there is one while events are sent)
        record = self.journal.record
        if is_new and not record.accepted:
            self.journal.remove()
            raise error
        told = f"Accepted so far: {_count(record.accepted, 'event')}. Go on with: {self.resume_command}"
        if isinstance(error, KeyboardInterrupt):
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
        for page in self._not_done(pages):
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

    def _not_done(self, pages: Iterator[list[InputFile]]) -> Iterator[list[InputFile]]:
        return pages

    def _described(self, s3: Any) -> dict[str, Any]:
        """The head of the journal."""
        host = urlsplit(s3.meta.endpoint_url).hostname
        return {
            "function": self.function.name,
            "region": self.region,
            "cloud": "embedded" if host in LOOPBACK else "aws",
            "fdl": str(Path(str(self.wanted.fdl)).absolute()),
            "options": {name: getattr(self.wanted, name) for name in _REMEMBERED},
            **self.selection.described(),
        }


def _count(number: int, what: str) -> str:
    return f"1 {what}" if number == 1 else f"{number} {what}s"


def choose(workflow: Workflow, name: str | None) -> Function:
    """The function that is named, or the only one whose input no other function writes.

    Raises:
        UserError: no function fits, or several do.
    """
    readers = {
        function.name: function
        for function in workflow.functions
        if any(entry.provider == "s3" for entry in function.inputs)
    }
    if name is not None:
        if name in readers:
            return readers[name]
        known = any(function.name == name for function in workflow.functions)
        cause = (
            f"The function {name} has no input on S3" if known else f"There is no function {name} in the file"
        )
        raise UserError(cause, f"Functions that read from S3: {', '.join(readers) or 'none'}")
    fed = {target for _source, target in workflow.edges}
    heads = [function for function in readers.values() if function.name not in fed]
    if len(heads) == 1:
        return heads[0]
    if not heads:
        raise UserError(
            "No function in the file has an input on S3", "Give the function an input with a bucket"
        )
    raise UserError(
        f"Several functions read files that nobody else writes: {', '.join(head.name for head in heads)}",
        "Say which one by -n",
    )


def _completed(wanted: Wanted, head: dict[str, Any] | None) -> Wanted:
    """With what the journal remembers in place of what was not typed.

    Raises:
        UserError: what was typed is something else than what the journal remembers.
    """
    if head is None:
        return wanted
    try:
        remembered = {name: head["options"][name] for name in _REMEMBERED}
        remembered |= {"name": head["function"]}
        fdl = wanted.fdl or head["fdl"]
    except (KeyError, TypeError):
        raise UserError(f"The journal {wanted.resume} cannot be read", "Start a new launch") from None
    for name, value in remembered.items():
        typed = getattr(wanted, name)
        if typed not in (None, False, value):
            option = f"--{name.replace('_', '-')}"
            raise UserError(
                f"The journal {wanted.resume} is of a launch {_with(option, value)}, and not "
                f"{_with(option, typed)}",
                "Leave that option out, or start a new launch without --resume",
            )
    return replace(wanted, fdl=fdl, **remembered)


def _with(option: str, value: object) -> str:
    if value in (None, False):
        return f"without {option}"
    return f"with {option}" if value is True else f"with {option} {value}"


def _require_the_same(head: dict[str, Any], now: dict[str, Any], path: str) -> None:
    words = {
        "cloud": "another cloud (the embedded one, or AWS)",
        "region": "another region",
        "sources": "other folders",
        "inputs": "a function with other inputs",
    }
    for name, what in words.items():
        if head.get(name) != now[name]:
            raise UserError(
                f"{path} is the journal of a launch for {what}: {json.dumps(head.get(name))}, and now it is "
                f"{json.dumps(now[name])}",
                "Use the FDL file, the region and the credentials of that launch, or start a new one",
            )


def _place(function: str) -> Path:
    """Where a new journal goes: below the XDG state folder."""
    base = Path(os.environ.get("XDG_STATE_HOME") or "~/.local/state").expanduser()
    moment = f"{datetime.now(UTC):%Y%m%dT%H%M%S.%f}"[:-3]
    return (base / "scar-cdk" / "launches" / f"{function}-{moment}Z.jsonl").absolute()
