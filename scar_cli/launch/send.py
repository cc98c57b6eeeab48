"""The events of a launch, from the plan to the last one that is accepted.

    first event  the launch waits for its result: a function that does not work costs one run, not a million
    fan-out      one asynchronous event for each other file

For a function in `batch` mode, all events are submitted to Batch in array jobs (`arrays.py`) instead.

A launch without files has no journal, and the journal is deleted if the first event fails: there is nothing
to resume.
"""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, suppress
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import partial
from itertools import chain
from typing import Any

import click

from fdl_schemas.model import Function
from scar_cli.aws.deployed import DeployedFunction, one_selected
from scar_cli.aws.invoking import LambdaAnswer, LambdaConnection, LambdaEndpoint
from scar_cli.aws.logs import parsed, readable
from scar_cli.aws.session import client
from scar_cli.errors import UserError
from scar_cli.launch.arrays import ArrayLaunch
from scar_cli.launch.budget import Budget, budget_of, require_logs
from scar_cli.launch.done import not_done
from scar_cli.launch.fan_out import Ahead, Event, FanOut, Target, refusal, words_of
from scar_cli.launch.files import CONFIGURATION_ID, InputFile, Listing, NoBucketError, event_bytes
from scar_cli.launch.journal import Journal, Record
from scar_cli.launch.pace import Patience
from scar_cli.launch.plan import Plan, explained_end
from scar_cli.launch.report import Outcome, SendingBar, nothing_to_send, sending_bar
from scar_cli.launch.same_names import FOLDER_VARIABLE, SameNames, same_names_warning
from scar_cli.table import counted, printable, printable_line

_ANSWER_WITHIN_S = 930.0
"""A function runs for 900 seconds at most."""
_CONNECTED_WITHIN_S = 60.0
"""S3 has just responded: if Lambda cannot be reached, the cause is hardly temporary."""
_TOLD_AFTER = 5
_PASSING = (409, 429)
_SERVER_ERROR = 500


def files_to_send(plan: Plan, listing: Listing) -> Iterator[InputFile]:
    """The files of a listing that would be sent; the journal does not change."""
    with ExitStack() as held:
        record = Record({})
        if plan.resumes:
            record = held.enter_context(closing(Journal.resume(plan.journal))).record
        pending = () if record.array is not None else record.pending.values()
        again = (listing.again(one.source, one.key) for one in pending)
        yield from (file for file in again if file is not None)
        yield from chain.from_iterable(_pages(plan, listing, record))


def send(plan: Plan, *, shown: bool) -> Outcome:
    """Send all events; `shown`: with progress on a terminal.

    Raises:
        UserError: it ended early; the text says how to resume.
        KeyboardInterrupt: the same; its note says how to resume, if there is a journal.
    """
    started = time.monotonic()
    listing = Listing(plan.s3, plan.selection)
    sent, journal = 0, None
    jobs: tuple[str, ...] = ()
    deployed = _deployed_for_arrays(plan) if plan.in_arrays else None
    if plan.options.max_cost is not None:
        require_logs(plan.function)
    with ExitStack() as held:
        if plan.resumes:
            journal = held.enter_context(closing(Journal.resume(plan.journal)))
        if journal is None or not journal.record.finished:
            now_ms = _clock(plan.s3)
            bar = held.enter_context(sending_bar(shown=shown))
            events = _events(plan, listing, journal, bar)
            first = next(events, None)
            endpoint = None
            if first is not None and deployed is None:
                lambda_ = client("lambda", region=plan.region)
                endpoint = LambdaEndpoint.of(lambda_)
            if first is not None and journal is None:
                launch_id = f"{CONFIGURATION_ID}-{datetime.now(UTC):%Y%m%dT%H%M%S%f}"
                head = {"launch": launch_id, "since_ms": now_ms(), **plan.described()}
                journal = held.enter_context(closing(Journal.create(plan.journal, head)))
            all_events = chain([] if first is None else [first], events)
            if journal is not None and deployed is not None:
                sent, jobs = _submit_all(plan, deployed, journal, all_events, bar)
            elif journal is not None and endpoint is not None:
                sent = _send_all(plan, endpoint, journal, all_events, bar)
            elif journal is not None:
                journal.finish()
    record = journal.record if journal is not None else Record({})
    return Outcome(
        plan.function.name,
        sent=sent,
        accepted=record.accepted,
        seconds=time.monotonic() - started,
        left_out={name: count for name, count in vars(listing.left_out).items() if count},
        perhaps_twice=list(record.perhaps_twice.values()),
        nothing=nothing_to_send(plan.function.name, listing),
        journal=journal.path if journal is not None else None,
        jobs=jobs,
    )


def run_first(
    target: Target,
    file: InputFile,
    patience: Patience | None = None,
    lost: Callable[[], None] = lambda: None,
) -> None:
    """Run the function on the first file. `lost()` is called before it is run again because the response was
    lost.

    Raises:
        UserError: it failed, or skipped the file.
    """
    answer = _answer(target, file, patience or Patience(), lost)
    where = printable(f"{file.bucket}/{file.key}")
    if answer.function_failed:
        tail = list(_readable(answer.log_tail))
        if tail:
            click.echo(f"End of the log of {target.function}:", err=True)
        for line in tail:
            click.echo(f"  {line}", err=True)
        raise UserError(
            f"The first file, {where}, failed: {_message(answer.payload)}",
            f"Nothing else was sent. To see the whole log: scar log -n {target.function}",
            exit_code=1,
        )
    reason = _reason_skipped(answer.payload)
    if reason is not None:
        raise UserError(
            f"The function {target.function} skipped the first file, {where}: {printable(reason)}",
            "Nothing else was sent. Deploy the current FDL file: scar init -f FILE",
            exit_code=1,
        )


def _deployed_for_arrays(plan: Plan) -> DeployedFunction:
    deployed = one_selected(plan.fdl, plan.options.name, stage=plan.options.stage)
    if not deployed.event_bucket:
        raise UserError(
            f"The stack {deployed.stack} was deployed by an earlier version, without array jobs",
            f"Deploy it again: scar init -f {plan.fdl}",
        )
    return deployed


def _submit_all(
    plan: Plan, deployed: DeployedFunction, journal: Journal, events: Iterator[Event], bar: SendingBar
) -> tuple[int, tuple[str, ...]]:
    """Submit events until all are accepted; returns their number, and the ids of the jobs."""
    with explained_end(partial(_how_to_go_on, plan, journal)):
        try:
            budget = _budget(plan, journal)
            launch = ArrayLaunch(deployed, journal, s3=plan.s3, rate=plan.rate, budget=budget)
            launch.run((event.file for event in events), bar.look)
            journal.finish()
        except BaseException:
            if not journal.record.numbered:
                journal.remove()
            raise
    return launch.sent, tuple(launch.jobs)


def _how_to_go_on(plan: Plan, journal: Journal) -> str:
    if not journal.path.exists():
        return ""
    accepted = counted(journal.record.accepted, "event")
    return f"Accepted so far: {accepted}. To resume: {plan.resume_command}"


def _send_all(
    plan: Plan, endpoint: LambdaEndpoint, journal: Journal, events: Iterator[Event], bar: SendingBar
) -> int:
    """Send events until all are accepted; returns their number."""
    target = Target(plan.function.name, plan.region, endpoint, str(journal.record.head["launch"]))
    sent = 0
    with explained_end(partial(_how_to_go_on, plan, journal)):
        budget = _budget(plan, journal)
        if not journal.record.accepted:
            _send_first(target, journal, next(events), is_new=not plan.resumes)
            sent = 1
        fan_out = FanOut(
            target,
            events,
            journal,
            concurrency=plan.options.concurrency,
            rate=plan.rate,
            budget=budget,
        )
        fan_out.run(bar.look)
        journal.finish()
    return sent + fan_out.sent


def _budget(plan: Plan, journal: Journal) -> Budget | None:
    """The limit of the cost of a launch, if it has one.

    Raises:
        UserError: the cost of its runs is unknown. A new journal is removed.
    """
    if plan.options.max_cost is None:
        return None
    try:
        return budget_of(plan, int(journal.record.head["since_ms"]))
    except BaseException:
        if not journal.record.numbered:
            journal.remove()
        raise


def _send_first(target: Target, journal: Journal, event: Event, *, is_new: bool) -> None:
    try:
        if event.number is None:
            (event.number,) = journal.sending(event.file.source, [event.file.key])
        run_first(target, event.file, lost=partial(journal.perhaps_twice, event.number, event.file.key))
        journal.accepted(event.number)
    except BaseException:
        if is_new and not journal.record.accepted:
            journal.remove()
        raise


def _events(plan: Plan, listing: Listing, journal: Journal | None, bar: SendingBar) -> Iterator[Event]:
    """The pending events of an earlier run, then those of all other files, listed ahead of time."""
    # The events of an array job are stored: their files are not listed again.
    pending = [] if journal is None or plan.in_arrays else _pending(listing, journal)
    bar.found = len(pending)
    record = journal.record if journal is not None else Record({})
    new = Ahead(_pages(plan, listing, record, bar))
    return chain(pending, (Event(file) for file in chain.from_iterable(new)))


def _pending(listing: Listing, journal: Journal) -> list[Event]:
    """The events that an earlier run was about to send, if their files still exist."""
    found, gone = {}, []
    for one in journal.record.pending.values():
        file = listing.again(one.source, one.key)
        if file is None:
            gone.append(one.number)
        else:
            found[one.number] = file
    listing.left_out.gone = len(gone)
    return [Event(found[one.number], one.number) for one in journal.go_on(gone)]


def _pages(
    plan: Plan, listing: Listing, record: Record, bar: SendingBar | None = None
) -> Iterator[list[InputFile]]:
    """The files that were not reached before, one page of the listing at a time."""
    left = None
    if plan.options.limit is not None:
        left = plan.options.limit - (record.numbered - record.gone)
    pages = _with_same_names_told(plan, listing.pages(record.position))
    if plan.options.skip_done:
        pages = not_done(pages, listing, plan.outputs)
    for page in _with_suffix_told(plan, pages):
        page = page if left is None else page[:left]  # noqa: PLW2901 (cut at the limit)
        if bar is not None:
            bar.found += len(page)
        yield page
        if left is not None:
            left -= len(page)
            if not left:
                break
    if bar is not None:
        bar.is_all = True


def _with_same_names_told(plan: Plan, pages: Iterator[list[InputFile]]) -> Iterator[list[InputFile]]:
    """The pages. Warns once if two files have the same name, before the second one is sent."""
    if not plan.outputs or _keeps_folders(plan.function):
        yield from pages
        return
    names, pair = SameNames(), None
    for page in pages:
        if pair is None:
            pair = names.first_pair(f"{file.bucket}/{file.key}" for file in page)
            if pair is not None:
                click.echo(f"scar-launch: {same_names_warning(pair, plan.function.name)}", err=True)
        yield page


def _keeps_folders(function: Function) -> bool:
    """Whether the function's script uses the folder of its input."""
    with suppress(OSError):
        return function.init_script is not None and FOLDER_VARIABLE in function.init_script.read_text(
            encoding="utf-8", errors="replace"
        )
    return False


def _with_suffix_told(plan: Plan, pages: Iterator[list[InputFile]]) -> Iterator[list[InputFile]]:
    """The pages; if a bucket is missing because its suffix was not given, the error names the suffix."""
    try:
        yield from pages
    except NoBucketError as error:
        suffix = None if plan.options.bucket_suffix is not None else _deployed_suffix(plan, error.bucket)
        if suffix is None:
            raise
        raise UserError(
            f"{error.cause}: the workflow is deployed with the bucket suffix {suffix}",
            f"Add --bucket-suffix {suffix}",
        ) from error


def _deployed_suffix(plan: Plan, bucket: str) -> str | None:
    """The suffix that the stack added to the name of a bucket; None: unknown."""
    with suppress(UserError, click.exceptions.Exit):
        names = (
            path.partition("/")[0]
            for path in one_selected(plan.fdl, plan.options.name, stage=plan.options.stage).inputs
        )
        return next((one.removeprefix(f"{bucket}-") for one in names if one.startswith(f"{bucket}-")), None)
    return None


def _clock(s3: Any) -> Callable[[], int]:
    """The time of the first listing, in milliseconds since 1970, by the clock of the cloud."""
    moments: list[int] = []

    def note(parsed: dict[str, Any], **_more: Any) -> None:
        with suppress(KeyError, ValueError, TypeError):
            date = parsedate_to_datetime(parsed["ResponseMetadata"]["HTTPHeaders"]["date"])
            moments.append(int(date.timestamp() * 1000))

    s3.meta.events.register("after-call.s3.ListObjectsV2", note)
    return lambda: next(iter(moments), int(time.time() * 1000))


def _answer(target: Target, file: InputFile, patience: Patience, lost: Callable[[], None]) -> LambdaAnswer:
    """The response of the function; calls that did not start a run are repeated."""
    connection = LambdaConnection(target.endpoint, _ANSWER_WITHIN_S)
    since, attempts = time.monotonic(), 0
    try:
        while True:
            try:
                answer = connection.run(target.function, event_bytes(file, target.region, target.launch_id))
            except TimeoutError as error:
                raise UserError(
                    f"{target.function} did not respond within {_ANSWER_WITHIN_S / 60:.0f} minutes",
                    f"Nothing else was sent. To see its log: scar log -n {target.function}",
                    exit_code=1,
                ) from error
            except (OSError, http.client.HTTPException) as error:
                reason = words_of(error)
                give_up_s = min(patience.give_up_s, _CONNECTED_WITHIN_S)
                perhaps_run = connection.may_have_arrived
            else:
                if answer.accepted:
                    return answer
                if answer.status not in _PASSING and answer.status < _SERVER_ERROR:
                    raise refusal(answer, target.function)
                reason, give_up_s = f"{answer.status} {answer.message}", patience.give_up_s
                perhaps_run = answer.status >= _SERVER_ERROR
            if time.monotonic() - since >= give_up_s:
                raise UserError(
                    f"Lambda did not accept the first event: {reason}",
                    "Check the network connection and the concurrency of the function",
                    exit_code=1,
                )
            attempts += 1
            if attempts == _TOLD_AFTER:
                click.echo(f"scar-launch: waiting to send the first event: {reason}", err=True)
            time.sleep(patience.pause(attempts))
            if perhaps_run:
                lost()
    finally:
        connection.close()


def _readable(log_tail: str) -> Iterator[str]:
    """The lines as in `scar log`, without the traceback of Lambda for an error of the runner."""
    in_traceback = False
    for line in log_tail.splitlines():
        if line.startswith("Traceback (most recent call last)"):
            in_traceback = True
        elif not in_traceback or not line.startswith((" ", "\t")):
            if not in_traceback and line.strip():
                own = parsed(line)
                yield printable_line(line if own is None else readable(own))
            in_traceback = False


def _reason_skipped(payload: bytes) -> str | None:
    """Why the runner did not run the file; None if it did."""
    try:
        told = json.loads(payload)
        if told["skipped"] and not told["results"]:
            return str(told["skipped"][0]["reason"])
    except (ValueError, KeyError, TypeError, IndexError, RecursionError):
        pass  # the response of another function
    return None


def _message(payload: bytes) -> str:
    """The error message of a failed function."""
    try:
        told = json.loads(payload)
    except (ValueError, RecursionError):
        return printable(payload.decode(errors="replace")[:500])
    text = str(told.get("errorMessage", told) if isinstance(told, dict) else told).strip().rstrip(".")[:2000]
    return "\n".join(printable_line(line) for line in text.splitlines())
