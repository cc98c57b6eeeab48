"""The rules about tags: those of AWS IAM, the strictest of the services that a function uses.

Source: AWS IAM API reference, `Tag`, and IAM user guide, "Tags for IAM resources": keys are unique regardless
of case.
"""

from __future__ import annotations

import unicodedata
from typing import Final

from fdl_schemas.build import FunctionEntry
from fdl_schemas.diagnostics.diagnostic import quoted
from fdl_schemas.reading.findings import Findings

OURS: Final = "createdby"
"""The tag that every resource has."""

_ALLOWED: Final = frozenset("_.:/=+-@")
_ALLOWED_CATEGORIES: Final = "LZN"  # letters, separators, numbers


def check_tags(entry: FunctionEntry, findings: Findings) -> None:
    """Checks the `tags` of one entry of `functions.aws`."""
    first = {OURS: OURS}
    for key, value in entry.function.tags.items():
        path = entry.at("lambda", "tags", key)
        if wrong := _wrong_characters(key):
            _refuse(
                f"the name of the tag {quoted(key)} contains {quoted(wrong)}", path, findings, on_key=True
            )
        if wrong := _wrong_characters(value):
            _refuse(
                f"the value of the tag {quoted(key)} contains {quoted(wrong)}", path, findings, on_key=False
            )
        other = first.setdefault(key.lower(), key)
        if other != key:
            findings.error(
                "FDL035",
                f"the tags {quoted(other)} and {quoted(key)} differ only in case",
                path,
                expected="names that differ in more than case, as AWS IAM requires",
                help="every resource already has this tag; rename yours"
                if other == OURS
                else "remove one of them",
                on_key=True,
            )


def _wrong_characters(text: str) -> str:
    return "".join(
        dict.fromkeys(
            letter
            for letter in text
            if letter not in _ALLOWED and unicodedata.category(letter)[0] not in _ALLOWED_CATEGORIES
        )
    )


def _refuse(message: str, path: tuple[str | int, ...], findings: Findings, *, on_key: bool) -> None:
    findings.error(
        "FDL016",
        message,
        path,
        expected="letters, digits, spaces and `_ . : / = + - @`",
        help="remove the other characters",
        on_key=on_key,
    )
