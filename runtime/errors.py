"""The errors of the runner: what went wrong with a run, why, and what to do about it."""

from __future__ import annotations

LONGEST_TEXT = 2000
"""Characters of a cause, an advice, or one line of the container in an error."""
LONGEST_STORY = 16_000
"""Characters of all that a failed invocation says: the failure queue keeps it beside the event."""


def shown(text: str, longest: int = LONGEST_TEXT) -> str:
    """One line for people, of text that a stranger may have written.

    Registries, servers and scripts put into their messages what they like: 800 KB, or escape sequences that
    move a terminal's cursor, break a log's lines, and turn text round. All but tabs is shown as `\\x1b`; of a
    long text beginning and end are kept.
    """
    if len(text) <= longest and text.isprintable():
        return text
    text = _shortened(text, longest)
    return _shortened("".join(map(_visible, text)), longest)


def shown_lines(text: str, longest: int = LONGEST_STORY) -> str:
    """The same for several lines; of many the last ones are kept."""
    lines = "\n".join(shown(line) for line in text[-2 * longest :].split("\n"))
    return lines if len(lines) <= longest else "[…] " + lines[-longest:]


def _shortened(text: str, longest: int) -> str:
    return text if len(text) <= longest else f"{text[: longest - 500]} […] {text[-494:]}"


def _visible(character: str) -> str:
    if character == "\t" or character.isprintable():
        return character
    return character.encode("unicode_escape").decode("ascii")


class RunnerError(Exception):
    """A run failed for a reason that can be explained to a person.

    `cause` is a sentence without its full stop; `advice` says what to do, or is empty; both may quote
    strangers (see `shown`). `kind` is a stable word for machines (`ImageNotFound`, `DiskFull`,
    `ScriptFailed`, `TimedOut`, …) that stands in logs and results.
    """

    def __init__(self, cause: str, *, advice: str = "", kind: str = "RunnerError") -> None:
        self.cause, self.advice = shown(cause), shown(advice)
        super().__init__(f"{self.cause}. {self.advice}".strip() if advice else self.cause)
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
        self.output = shown_lines(output)


class InvocationError(RunnerError):
    """What Lambda's caller gets to see: the reasons of every failed run, their last output, the request id.

    Lambda puts `str(error)` into `errorMessage` of its answer and of what it sends to the failure queue,
    so the whole story stands in the message.
    """

    def __init__(self, failures: list[tuple[str, RunnerError]], *, request_id: str) -> None:
        super().__init__("", kind=failures[0][1].kind if failures else "RunnerError")
        each = LONGEST_STORY // max(1, len(failures))
        parts = [_story(subject, error)[:each] for subject, error in failures]
        self.cause = "\n".join([*parts, f"request id: {shown(request_id)}"])
        self.args = (self.cause,)
        self.failures = failures
        self.request_id = request_id


def _story(subject: str, error: RunnerError) -> str:
    told = f"{shown(subject)}: {error.kind}: {error}"
    if isinstance(error, ContainerError) and error.output:
        told += f"\nlast lines of its output:\n{error.output}"
    return told
