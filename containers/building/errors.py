"""Why an image cannot be built."""

from __future__ import annotations


class BuildError(Exception):
    """One sentence that says what is wrong with the input, and one that says what to do."""

    def __init__(self, cause: str, advice: str) -> None:
        super().__init__(f"{cause}. {advice}.")
        self.cause = cause
        self.advice = advice
