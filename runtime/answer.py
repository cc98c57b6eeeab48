"""The answer to a request: the standard output of the container, if the caller waits for it."""

from __future__ import annotations

from containers.errors import ErrorKind, ExplainedError
from runtime.events.http_events import ANSWER_LIMIT


class AwaitedOutput:
    """Collects standard output, up to the maximum size of a Lambda response."""

    def __init__(self) -> None:
        self._content = bytearray()
        self._size = 0

    def feed(self, chunk: bytes) -> None:
        """Add output of the container. Output beyond the limit is counted, but not kept."""
        self._size += len(chunk)
        self._content += chunk[: max(0, ANSWER_LIMIT - len(self._content))]

    @property
    def beginning(self) -> bytes:
        """The collected output, up to the limit."""
        return bytes(self._content)

    def complete(self) -> bytes:
        """All of it. Raises `ExplainedError` (`AnswerTooLarge`)."""
        if self._size > ANSWER_LIMIT:
            raise ExplainedError(
                f"The response is {self._size} bytes long; the maximum for AWS Lambda is {ANSWER_LIMIT}",
                advice="Write large results to TMP_OUTPUT_DIR, and return their location.",
                kind=ErrorKind.ANSWER_TOO_LARGE,
            )
        return bytes(self._content)
