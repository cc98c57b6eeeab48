"""Errors that a person reads: what is wrong, and what to do."""

from __future__ import annotations

from scar_cli.table import printable_lines

_LONGEST = 4000
"""Characters; the end of a function's log may be part of an error."""


class UserError(Exception):
    """One sentence that says what is wrong, and one that says what to do about it.

    Ends the command with `exit_code`: 1 for what the cloud tried and could not do, 2 for what was typed or is
    missing, 3 for an embedded cloud that does not run.

    What AWS, a function or somebody's file says may be part of it: it is shown without the characters that a
    terminal obeys, and no longer than a person reads.
    """

    def __init__(self, cause: str, advice: str = "", *, exit_code: int = 2) -> None:
        cause, advice = _shown(cause), _shown(advice)
        super().__init__(f"{cause}. {advice}." if advice else f"{cause}.")
        self.cause = cause
        self.advice = advice
        self.exit_code = exit_code


def _shown(text: str) -> str:
    return printable_lines(text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…")
