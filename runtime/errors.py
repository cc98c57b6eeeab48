"""The errors of the runner: what went wrong with a run, why, and what to do about it."""

from __future__ import annotations


class RunnerError(Exception):
    """A run failed for a reason that can be explained to a person.

    `cause` is a sentence without its full stop; `advice` says what to do, or is empty; `kind` is a stable
    word for machines (`ImageNotFound`, `DiskFull`, `ScriptFailed`, `TimedOut`, …) that stands in logs and
    results.
    """

    def __init__(self, cause: str, *, advice: str = "", kind: str = "RunnerError") -> None:
        super().__init__(f"{cause}. {advice}".strip() if advice else cause)
        self.cause = cause
        self.advice = advice
        self.kind = kind


class ContainerError(RunnerError):
    """The container ran and did not end well: non-zero exit code, a signal, or its time was up.

    `output` holds the last lines that it wrote.
    """

    def __init__(
        self,
        cause: str,
        *,
        kind: str,
        advice: str = "",
        exit_code: int | None = None,
        signal: int | None = None,
        output: str = "",
    ) -> None:
        super().__init__(cause, advice=advice, kind=kind)
        self.exit_code = exit_code
        self.signal = signal
        self.output = output


class InvocationError(RunnerError):
    """What Lambda's caller gets to see: the reasons of every failed run, their last output, the request id.

    Lambda puts `str(error)` into `errorMessage` of its answer and of what it sends to the failure queue,
    so the whole story stands in the message.
    """

    def __init__(self, failures: list[tuple[str, RunnerError]], *, request_id: str) -> None:
        parts = [_story(subject, error) for subject, error in failures]
        super().__init__(
            "\n".join([*parts, f"request id: {request_id}"]),
            kind=failures[0][1].kind if failures else "RunnerError",
        )
        self.failures = failures
        self.request_id = request_id


def _story(subject: str, error: RunnerError) -> str:
    told = f"{subject}: {error.kind}: {error}"
    if isinstance(error, ContainerError) and error.output:
        told += f"\nlast lines of its output:\n{error.output}"
    return told
