"""`scar retry`: send the events in failure queues again.

Events of files of a function with an input queue are sent to that queue, which Lambda reads at the pace that
the FDL file allows. All others are sent to Lambda.

A message is deleted only after Lambda or the queue has accepted its event. An interruption may therefore send
an event twice, as Lambda itself may, but never loses one. Invalid messages stay in the queue.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Unpack

import click

from scar_cli.aws.deployed import DeployedFunction, one_selected, selected, stacks
from scar_cli.aws.failure_queues import (
    AT_ONCE,
    UnreadableMessageError,
    event_of,
    give_back,
    stored_event,
    subject_of,
)
from scar_cli.aws.kept_queues import kept_queues
from scar_cli.aws.session import client, error_code, explain, explained
from scar_cli.errors import UserError
from scar_cli.examples import with_examples
from scar_cli.options import Choice, prints_json, selects_functions
from scar_cli.table import counted, printable

_HELD_S = 120


@with_examples("retry", "scar retry --dry-run", "scar retry -n my-function --from my-former-function")
@selects_functions
@click.option(
    "--from",
    "other",
    metavar="OTHER",
    help="Send the events of this function, which is not deployed any longer, to the selected one.",
)
@click.option("--limit", type=click.IntRange(1), metavar="N", help="Send at most N events.")
@click.option("--dry-run", is_flag=True, help="Show what would be sent, without sending it.")
@prints_json
def command(
    *, other: str | None, limit: int | None, dry_run: bool, as_json: bool, **choice: Unpack[Choice]
) -> int:
    """Send the events in failure queues to their functions again.

    Events that an earlier deployment of a function has left in its failure queue are sent, too.

    The exit code is 1 if an event could not be sent. The event stays in its queue.
    """
    functions = selected(**choice) if other is None else [one_selected(**choice)]
    answers: list[dict[str, Any]] = []
    left = limit
    for function in functions:
        if left == 0:
            break
        answer: dict[str, Any] = {"function": function.name, "events": [], "kept": []}
        for url in _queues(function, other):
            if left == 0:
                break
            events, kept = _retry(function, url, left, dry_run=dry_run, shown=not as_json)
            answer["events"] += events
            answer["kept"] += kept
            left = None if left is None else left - len(events)
        answers.append(answer)
    if as_json:
        click.echo(json.dumps({"dry_run": dry_run, "functions": answers}))
    else:
        sent = sum(len(answer["events"]) for answer in answers)
        done = "would be sent" if dry_run else "was sent" if sent == 1 else "were sent"
        click.echo(f"{counted(sent, 'failed event')} {done} again.")
    return 1 if any(answer["kept"] for answer in answers) else 0


def _queues(function: DeployedFunction, other: str | None) -> list[str]:
    """The function's queue, and those of its earlier deployments; or those of another function.

    Raises:
        UserError: the other function has none with events.
    """
    if other is None:
        kept = kept_queues(function.region, [function], [function.name])
        return [function.failure_queue_url, *(one.failure_queue_url for one in kept)]
    deployed = [one for stack in stacks([function.region]) for one in stack.functions]
    kept = kept_queues(function.region, deployed, [other])
    if not kept:
        raise UserError(
            f"No events of a former function {other} were found",
            "To list the failure queues of functions that are not deployed any longer: scar status",
        )
    return [one.failure_queue_url for one in kept]


def _retry(
    function: DeployedFunction, url: str, limit: int | None, *, dry_run: bool, shown: bool
) -> tuple[list[str], list[dict[str, str]]]:
    """Send all events that are in a queue now.

    Returns descriptions of the events that were sent, and the messages that stay.
    """
    sqs = client("sqs", region=function.region)
    lambda_ = client("lambda", region=function.region)
    fetch = partial(stored_event, client("s3", region=function.region))
    events: list[str] = []
    kept: list[dict[str, str]] = []
    held: list[str] = []

    def handle(message: dict[str, Any]) -> tuple[dict[str, Any], str, str | None]:
        """The message, a description of its event, and why it stays in the queue, if it does."""
        try:
            event = event_of(message["Body"], fetch)
        except UnreadableMessageError as reason:
            return message, "", str(reason)
        if not dry_run:
            reason_not = _send(lambda_, sqs, function, event)
            if reason_not is not None:
                return message, "", reason_not
            with explained():
                sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        return message, subject_of(event), None

    try:
        with ThreadPoolExecutor(AT_ONCE) as pool:
            for messages in _messages(sqs, url, limit):
                held += [message["ReceiptHandle"] for message in messages]
                for message, subject, reason_kept in pool.map(handle, messages):
                    if reason_kept is not None:
                        kept.append({"message_id": message["MessageId"], "reason": reason_kept})
                        continue
                    if not dry_run:
                        held.remove(message["ReceiptHandle"])
                    events.append(subject)
                    if shown:
                        click.echo(f"{function.name}  {printable(subject)}")
    finally:
        give_back(sqs, url, held)
    for one in kept:
        click.echo(
            f"scar: {function.name}: message {one['message_id']} is kept: {printable(one['reason'])}",
            err=True,
        )
    return events, kept


def _send(lambda_: Any, sqs: Any, function: DeployedFunction, event: object) -> str | None:
    """Send an event. Returns why it was not accepted, or None."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        if function.input_queue_url is not None and _is_of_a_file(event):
            sqs.send_message(QueueUrl=function.input_queue_url, MessageBody=json.dumps(event))
            return None
        lambda_.invoke(FunctionName=function.name, InvocationType="Event", Payload=json.dumps(event))
    except (ClientError, BotoCoreError) as error:
        told = explain(error)
        return told.cause if told is not None else str(error)
    return None


def _is_of_a_file(event: object) -> bool:
    """Whether a message with this event does the same as an invocation. The function ignores scripts in
    messages."""
    return (
        isinstance(event, dict)
        and not {"script", "cmd_args"} & event.keys()
        and ("Records" in event or event.get("source") == "aws.s3")
    )


def _messages(sqs: Any, url: str, limit: int | None) -> Iterator[list[dict[str, Any]]]:
    """The messages in the queue, in batches. They are invisible to others for `_HELD_S` seconds."""
    seen: set[str] = set()
    with explained():
        left = _count(sqs, url)
    left = left if limit is None else min(left, limit)
    empty = 0
    while left > len(seen) and empty < 3:  # noqa: PLR2004 (SQS asks some of its hosts, so an empty response is no proof)
        with explained():
            answer = sqs.receive_message(
                QueueUrl=url,
                MaxNumberOfMessages=min(AT_ONCE, left - len(seen)),
                VisibilityTimeout=_HELD_S,
                WaitTimeSeconds=1,
            )
        fresh = [one for one in answer.get("Messages", []) if one["MessageId"] not in seen]
        empty = 0 if fresh else empty + 1
        seen.update(message["MessageId"] for message in fresh)
        if fresh:
            yield fresh


def _count(sqs: Any, url: str) -> int:
    from botocore.exceptions import ClientError

    try:
        answer = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["ApproximateNumberOfMessages"])
    except ClientError as error:
        if "NonExistentQueue" in error_code(error):
            raise UserError("The failure queue does not exist", "Deploy the workflow again") from error
        raise
    return int(answer["Attributes"]["ApproximateNumberOfMessages"])
