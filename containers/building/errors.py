"""Why an image cannot be built."""

from __future__ import annotations


class BuildError(Exception):
    """One sentence about the problem with the input, and one about what to do."""

    def __init__(self, cause: str, advice: str) -> None:
        super().__init__(f"{cause}. {advice}.")
        self.cause = cause
        self.advice = advice
