"""The errors of the runner: what failed, why, and what to do."""

from __future__ import annotations

from containers.errors import LONGEST_STORY, ErrorKind, ExplainedError, shown, shown_lines


class ContainerError(ExplainedError):
    """The container ran and failed: a non-zero exit code, a signal, or a timeout.

    `output` holds the last lines that it wrote.
    """

    def __init__(
        self,
        cause: str,
        *,
        kind: ErrorKind,
        advice: str = "",
        exit_code: int | None = None,
        signal: int | None = None,
        output: str = "",
    ) -> None:
        super().__init__(cause, advice=advice, kind=kind)
        self.exit_code = exit_code
        self.signal = signal
        self.output = shown_lines(output)


class InvocationError(ExplainedError):
    """What Lambda's caller sees: the reasons of every failed run, their last output, the request id.

    Lambda puts `str(error)` into `errorMessage` of its answer and of what it sends to the failure queue,
    so the message contains everything.
    """

    def __init__(self, failures: list[tuple[str, ExplainedError]], *, request_id: str) -> None:
        super().__init__("", kind=failures[0][1].kind if failures else ErrorKind.EXPLAINED)
        each = LONGEST_STORY // max(1, len(failures))
        parts = [_story(subject, error)[:each] for subject, error in failures]
        self.cause = "\n".join([*parts, f"request id: {shown(request_id)}"])
        self.args = (self.cause,)
        self.failures = failures
        self.request_id = request_id


def _story(subject: str, error: ExplainedError) -> str:
    told = f"{shown(subject)}: {error.kind}: {error}"
    if isinstance(error, ContainerError) and error.output:
        told += f"\nlast lines of its output:\n{error.output}"
    return told
