"""Errors for people: what is wrong, and what to do."""

from __future__ import annotations

from functools import partial
from typing import Any

from scar_cli.table import printable_lines

_LONGEST = 4000
"""Characters. An error may include the end of a function's log."""


class UserError(Exception):
    """An error message of two sentences: the cause, and advice.

    Ends the command with `exit_code`: 1 if an operation failed in the cloud, 2 for invalid input or a missing
    precondition, 3 if the embedded cloud is not running.

    The message may include untrusted text of AWS, a function or a file: control characters are escaped, and
    long text is cut.
    """

    def __init__(self, cause: str, advice: str = "", *, exit_code: int = 2) -> None:
        cause, advice = _shown(cause), _shown(advice)
        super().__init__(f"{cause}. {advice}." if advice else f"{cause}.")
        self.cause = cause
        self.advice = advice
        self.exit_code = exit_code

    def __reduce__(self) -> tuple[Any, ...]:
        return partial(UserError, exit_code=self.exit_code), (self.cause, self.advice)


def _shown(text: str) -> str:
    return printable_lines(text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…")
