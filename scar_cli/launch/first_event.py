"""The first event of a launch: the function runs on it while the launch waits for the answer."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Callable, Iterator

import click

from scar_cli.aws.invoking import Answer, LambdaConnection
from scar_cli.aws.logs import parsed, readable
from scar_cli.errors import UserError
from scar_cli.launch.fan_out import Target, refusal
from scar_cli.launch.files import InputFile, event_bytes
from scar_cli.launch.pace import Patience
from scar_cli.table import printable, printable_line

_ANSWER_WITHIN_S = 930.0
"""A function runs for 900 seconds at most."""
_CONNECTED_WITHIN_S = 60.0
"""S3 has just answered: what keeps Lambda from it will hardly pass."""
_TOLD_AFTER = 5
_PASSING = (409, 429)
_SERVER_ERROR = 500


def run_first(
    target: Target,
    file: InputFile,
    patience: Patience | None = None,
    lost: Callable[[], None] = lambda: None,
) -> None:
    """Run the function on the first file. `lost()` is called before it is run again because the answer was
    lost.

    Raises:
        UserError: it failed, or did not take the file.
    """
    answer = _answer(target, file, patience or Patience(), lost)
    where = printable(f"{file.bucket}/{file.key}")
    if answer.function_failed:
        tail = list(_readable(answer.log_tail))
        if tail:
            click.echo(f"The end of the log of {target.function}:", err=True)
        for line in tail:
            click.echo(f"  {line}", err=True)
        raise UserError(
            f"The first file, {where}, failed: {_message(answer.payload)}",
            f"Nothing else was sent. The whole log: scar log -n {target.function}",
            exit_code=1,
        )
    reason = _reason_skipped(answer.payload)
    if reason is not None:
        raise UserError(
            f"The function {target.function} skipped the first file, {where}: {printable(reason)}",
            "Nothing else was sent. Deploy the FDL file as it is now: scar init -f FILE",
            exit_code=1,
        )


def _answer(target: Target, file: InputFile, patience: Patience, lost: Callable[[], None]) -> Answer:
    """The function's answer; what did not get to run is tried again."""
    connection = LambdaConnection(target.endpoint, _ANSWER_WITHIN_S)
    since, attempts = time.monotonic(), 0
    try:
        while True:
            try:
                answer = connection.run(target.function, event_bytes(file, target.region, target.launch_id))
            except TimeoutError as error:
                raise UserError(
                    f"{target.function} has not answered within {_ANSWER_WITHIN_S / 60:.0f} minutes",
                    f"Nothing else was sent. Its log: scar log -n {target.function}",
                    exit_code=1,
                ) from error
            except (OSError, http.client.HTTPException) as error:
                reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
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
                    f"Lambda has not taken the first event: {reason}",
                    "Look at the network connection, and at the function's concurrency",
                    exit_code=1,
                )
            attempts += 1
            if attempts == _TOLD_AFTER:
                click.echo(f"scar-launch: the first event has to wait: {reason}", err=True)
            time.sleep(patience.pause(attempts))
            if perhaps_run:
                lost()
    finally:
        connection.close()


def _readable(log_tail: str) -> Iterator[str]:
    """The lines as `scar log` shows them, without Lambda's own traceback of the runner's error."""
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
        pass  # another function's answer
    return None


def _message(payload: bytes) -> str:
    """What a function says about its failure."""
    try:
        told = json.loads(payload)
    except (ValueError, RecursionError):
        return printable(payload.decode(errors="replace")[:500])
    text = str(told.get("errorMessage", told) if isinstance(told, dict) else told).strip().rstrip(".")[:2000]
    return "\n".join(printable_line(line) for line in text.splitlines())
