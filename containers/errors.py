"""The errors that a person is meant to read, and how text of strangers is shown in them."""

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


class ExplainedError(Exception):
    """A run failed for a reason that can be explained to a person.

    `cause` is a sentence without its full stop; `advice` says what to do, or is empty; both may quote
    strangers (see `shown`). `kind` is a stable word for machines (`ImageNotFound`, `DiskFull`,
    `ScriptFailed`, `TimedOut`, …) that stands in logs and results.
    """

    def __init__(self, cause: str, *, advice: str = "", kind: str = "ExplainedError") -> None:
        self.cause, self.advice = shown(cause), shown(advice)
        super().__init__(f"{self.cause}. {self.advice}".strip() if advice else self.cause)
        self.kind = kind
