"""Collects the diagnostics of a file while it is checked.

One mistake is one diagnostic. Nothing is reported twice (an anchor with a mistake may be used ten times, and
so may the name of a bucket). *Damaged* places already have a problem, so that later checks do not report its
consequences (an `image` of the wrong type is not also a missing image).
"""

from __future__ import annotations

from functools import partialmethod
from typing import Final, Unpack

from fdl_schemas.diagnostics.diagnostic import SHOWN_OF_A_VALUE, Details, Diagnostic, Severity
from fdl_schemas.reading.document import Document, PathInFile, is_secret

MOST: Final = 200
"""The checks stop after this number of problems: the file is probably not an FDL file."""


class Findings:
    """The problems found in one document so far."""

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
        """Whether a problem was found that stops the deployment."""
        return any(found.severity is Severity.ERROR for found in self._diagnostics.values())

    @property
    def full(self) -> bool:
        """Whether so many problems were found that the checks stop."""
        return len(self._diagnostics) >= MOST

    def error(
        self, code: str, message: str, path: PathInFile, *, on_key: bool = False, **details: Unpack[Details]
    ) -> None:
        """Records an error at the value of `path`, or at its key."""
        position = self._document.key_position(path) if on_key else self._document.value_position(path)
        if any(isinstance(step, str) and is_secret(step) for step in path) and (
            value := self._document.node(path).text
        ):
            # Messages show the start of a long value.
            shown = value[: SHOWN_OF_A_VALUE - 1] if len(value) >= SHOWN_OF_A_VALUE else value
            message = message.replace(shown, "***")
            if advice := details.get("help"):
                details["help"] = advice.replace(shown, "***")
        identity = (code, position, message)
        if identity not in self._diagnostics:
            self._diagnostics[identity] = self._document.diagnostic(code, message, position, **details)

    warning = partialmethod(error, severity=Severity.WARNING)
    """Records a warning, like `error`."""

    def damage(self, path: PathInFile, *, unknown_key: bool = False) -> None:
        """Marks the value at `path`, and all maps and lists around it, as not reliable."""
        for length in range(len(path) + 1):
            self._damaged.add(path[:length])
        if unknown_key:
            self._with_unknown_keys.add(path[:-1])

    def is_first_mention(self, code: str, subject: str) -> bool:
        """Whether this code has not been reported yet for this bucket, file or other subject."""
        if (code, subject) in self._mentioned:
            return False
        self._mentioned.add((code, subject))
        return True

    def is_whole(self, path: PathInFile) -> bool:
        """Whether no problem was found with the value at `path`, or inside it."""
        return path not in self._damaged

    def has_unknown_keys(self, path: PathInFile) -> bool:
        """Whether the map at `path` has unknown keys, one of which may be a misspelt missing key."""
        return path in self._with_unknown_keys
