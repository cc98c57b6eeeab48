"""Colours, measures, and the widths of texts.

Nobody knows which font a picture will be looked at with. The widths here are rounded up, so that the texts
fit in Helvetica and Arial with room to spare, and in wider ones such as DejaVu Sans.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from fdl_schemas.diagram.diagram import Kind

TITLE_SIZE: Final = 13.0
TEXT_SIZE: Final = 11.0
LABEL_SIZE: Final = 10.5
HEADING_SIZE: Final = 16.0
LINE_HEIGHT: Final = 16.0
LONGEST_TEXT: Final = 230.0
FONTS: Final = "system-ui, -apple-system, 'Segoe UI', Helvetica, Arial, sans-serif"

_NARROW: Final = frozenset("iljtfrI.,:;'|!()[]{} -/\\`\"*")
_WIDE: Final = frozenset("mwMW@%…—")
_EM: Final = {"narrow": 0.38, "wide": 0.98, "upper": 0.74, "digit": 0.6, "other": 0.6, "double": 1.05}


@dataclass(frozen=True, slots=True)
class Palette:
    """The colours of a picture."""

    page: str
    box: str
    text: str
    faint: str
    line: str
    loop: str
    maybe: str


LIGHT: Final = Palette("#ffffff", "#f8fafc", "#0f172a", "#475569", "#64748b", "#dc2626", "#b45309")
DARK: Final = Palette("#0d1117", "#161d2a", "#e6edf3", "#9fb0c3", "#8b9bb0", "#ff6b6b", "#f5b04d")

KIND_COLOURS: Final[Mapping[Kind, str]] = {
    Kind.LAMBDA: "#ea8a0b",
    Kind.BATCH: "#6d5ae6",
    Kind.LAMBDA_BATCH: "#ea8a0b",
    Kind.OSCAR: "#64748b",
    Kind.HTTP: "#0d9488",
}
SECOND_COLOUR: Final = KIND_COLOURS[Kind.BATCH]
"""The lower half of the band of a function in mode `lambda-batch`."""

BUCKET_COLOURS: Final = (
    "#16a34a",
    "#0284c7",
    "#c026d3",
    "#ca8a04",
    "#0d9488",
    "#e11d48",
    "#7c3aed",
    "#65a30d",
)


def width(text: str, size: float, *, bold: bool = False) -> float:
    """About how wide a text is, in pixels."""
    ems = sum(_EM[_class(character)] for character in text)
    return ems * size * (1.12 if bold else 1.0)


def shortened(text: str, size: float, *, bold: bool = False, most: float = LONGEST_TEXT) -> str:
    """The text, cut in the middle where it is too wide: names often differ at both ends."""
    if width(text, size, bold=bold) <= most:
        return text
    keep = len(text) - 1
    while keep > 2 and width(_cut(text, keep), size, bold=bold) > most:  # noqa: PLR2004
        keep -= 1
    return _cut(text, keep)


def _cut(text: str, keep: int) -> str:
    return f"{text[: (keep + 1) // 2]}…{text[len(text) - keep // 2 :]}"


def _class(character: str) -> str:
    if character in _NARROW:
        return "narrow"
    if character in _WIDE:
        return "wide"
    if unicodedata.east_asian_width(character) in "WF":
        return "double"
    if character.isdigit():
        return "digit"
    return "upper" if character.isupper() else "other"
