"""One thing to run: a part of an event, as `job` runs it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from containers.errors import ErrorKind, ExplainedError
from runtime.storage.contract import StoredObject

VARIABLE_LIMIT = 128 * 1024 - 1
"""Bytes of one `NAME=value` that Linux lets a program start with (MAX_ARG_STRLEN, less the NUL)."""


@dataclass(frozen=True, slots=True)
class Invocation:
    """One run of the container, before it has a request id or a folder."""

    event: object
    """The event of this run only, as JSON: with one record if the original had several."""
    time: str
    """When it happened, ISO 8601."""
    source: StoredObject | None = None
    """The input object, decoded; None: there is none."""
    body: bytes | None = field(default=None, repr=False)
    """The body of an HTTP request: the input file."""
    script: bytes | None = field(default=None, repr=False)
    arguments: tuple[str, ...] | None = None
    variables: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Query parameters of an HTTP request."""
    http: bool = False
    """It is an HTTP request."""
    awaited: bool = False
    """The caller waits for the standard output as an HTTP answer."""
    item: str | None = None
    """Id of the SQS message that carried it."""
    attempt: int | None = None
    """How often that message was received, with this time."""

    @property
    def subject(self) -> str:
        """The name of the invocation for people: its object, or the kind of call."""
        if self.source is not None:
            return str(self.source)
        return "HTTP request" if self.http else "direct invocation"

    def event_variable(self) -> str:
        """The value of `EVENT`.

        The kernel limits a variable to 128 KiB. Content that the run also has as a file (a body, a script) is
        left out of a longer event. If it is still too long, it is an error of kind `EventTooLarge`.
        """
        text = event_json(self.event)
        if not _fits(text) and isinstance(self.event, dict):
            text = event_json({key: self.event[key] for key in self.event if key not in ("body", "script")})
        if not _fits(text):
            raise ExplainedError(
                f"The event is {len(text)} characters long; the maximum for an environment variable is "
                f"{VARIABLE_LIMIT} bytes",
                advice="Upload large data to an input folder, and send only its name.",
                kind=ErrorKind.EVENT_TOO_LARGE,
            )
        return text


def iso_time(moment_s: float | None = None) -> str:
    """A moment in seconds since 1970, or the present one, in ISO 8601."""
    moment = datetime.now(UTC) if moment_s is None else datetime.fromtimestamp(moment_s, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def event_json(event: object) -> str:
    """Compact JSON, ASCII only.

    Raises `ExplainedError` of kind `BadEvent` for values that JSON cannot represent: Lambda's own parser
    accepts `1e999` and any nesting."""
    try:
        return json.dumps(event, separators=(",", ":"), allow_nan=False)
    except (ValueError, RecursionError):
        raise ExplainedError(
            "The event contains a number that JSON cannot represent, or is nested too deeply",
            advice="Use numbers in the range of a double, and fewer levels of lists and objects.",
            kind=ErrorKind.BAD_EVENT,
        ) from None


def _fits(text: str) -> bool:
    return len("EVENT=") + len(text) <= VARIABLE_LIMIT
