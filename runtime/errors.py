"""The one error of the runner: what went wrong with a run, why, and what to do about it."""

from __future__ import annotations


class RunnerError(Exception):
    """A run failed for a reason that can be explained to a person.

    `cause` is a sentence without its full stop; `advice` says what to do, or is empty; `kind` is a stable word
    for machines (`ImageNotFound`, `DiskFull`, `ScriptFailed`, `TimedOut`, …) that stands in logs and results.
    """

    def __init__(self, cause: str, *, advice: str = "", kind: str = "RunnerError") -> None:
        super().__init__(f"{cause}. {advice}".strip() if advice else cause)
        self.cause = cause
        self.advice = advice
        self.kind = kind
