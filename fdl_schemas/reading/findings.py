"""The list that the stations write down what they find in, while a file is being checked.

It knows what keeps diagnostics useful: one mistake is one diagnostic. Nothing is said twice (an anchor with a
mistake may be used ten times, and so may the name of a bucket), and what is *damaged* is known: the places
where something is wrong already, so that a later station does not report the consequence (an `image` of the
wrong type is not a missing image too).
"""

from __future__ import annotations

from functools import partialmethod
from typing import Final

from fdl_schemas.diagnostics.diagnostic import SHOWN_OF_A_VALUE, Diagnostic, Severity
from fdl_schemas.reading.document import Document, PathInFile, is_secret

MOST: Final = 200
"""More problems than this are not looked for: the file is something else than an FDL file."""


class Findings:
    """What was found in one document so far."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self._diagnostics: dict[tuple[object, ...], Diagnostic] = {}
        self._damaged: set[PathInFile] = set()
        self._with_unknown_keys: set[PathInFile] = set()
        self._mentioned: set[tuple[str, str]] = set()

    @property
    def document(self) -> Document:
        """The document that is being checked."""
        return self._document

    @property
    def diagnostics(self) -> tuple[Diagnostic, ...]:
        """In the order in which they were found."""
        return tuple(self._diagnostics.values())

    @property
    def has_errors(self) -> bool:
        """Whether something was found that stops the deployment."""
        return any(found.severity is Severity.ERROR for found in self._diagnostics.values())

    @property
    def full(self) -> bool:
        """Whether so much was found that looking on makes no sense."""
        return len(self._diagnostics) >= MOST

    def error(
        self,
        code: str,
        message: str,
        path: PathInFile,
        *,
        expected: str | None = None,
        help: str | None = None,
        on_key: bool = False,
        severity: Severity = Severity.ERROR,
    ) -> None:
        """Notes an error at the value of `path`, or at the key that leads to it."""
        position = self._document.key_position(path) if on_key else self._document.value_position(path)
        if any(isinstance(step, str) and is_secret(step) for step in path) and (
            value := self._document.node(path).text
        ):
            # Messages show the beginning of a long one.
            shown = value[: SHOWN_OF_A_VALUE - 1] if len(value) >= SHOWN_OF_A_VALUE else value
            message, help = message.replace(shown, "***"), help and help.replace(shown, "***")
        identity = (code, position, message)
        if identity not in self._diagnostics:
            self._diagnostics[identity] = self._document.diagnostic(
                code, message, position, expected=expected, help=help, severity=severity
            )

    warning = partialmethod(error, severity=Severity.WARNING)
    """Notes a warning, as `error` does."""

    def damage(self, path: PathInFile, *, unknown_key: bool = False) -> None:
        """Notes that what stands at `path` cannot be relied on, and so nothing above it is whole."""
        for length in range(len(path) + 1):
            self._damaged.add(path[:length])
        if unknown_key:
            self._with_unknown_keys.add(path[:-1])

    def is_first_mention(self, code: str, subject: str) -> bool:
        """Whether nothing was said under this code about this bucket, this file or the like before."""
        if (code, subject) in self._mentioned:
            return False
        self._mentioned.add((code, subject))
        return True

    def is_whole(self, path: PathInFile) -> bool:
        """Whether nothing was found wrong with the value at `path`, or inside it."""
        return path not in self._damaged

    def has_unknown_keys(self, path: PathInFile) -> bool:
        """Whether the map at `path` has unknown keys: a missing key may be one of them, misspelt."""
        return path in self._with_unknown_keys
