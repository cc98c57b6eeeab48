"""Errors that a person reads: what is wrong, and what to do."""

from __future__ import annotations


class UserError(Exception):
    """One sentence that says what is wrong, and one that says what to do about it.

    Ends the command with `exit_code`: 1 for what the cloud tried and could not do, 2 for what was typed or is
    missing, 3 for an embedded cloud that does not run.
    """

    def __init__(self, cause: str, advice: str = "", *, exit_code: int = 2) -> None:
        super().__init__(f"{cause}. {advice}." if advice else f"{cause}.")
        self.cause = cause
        self.advice = advice
        self.exit_code = exit_code
