"""The colours of a diagram."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from fdl_schemas.diagram.diagram import Kind
from fdl_schemas.graph import Danger


@dataclass(frozen=True, slots=True)
class Palette:
    """The colours that differ between light and dark; no two of a palette are equal."""

    page: str
    box: str
    text: str
    faint: str
    line: str
    loop: str
    maybe: str


LIGHT: Final = Palette("#ffffff", "#f8fafc", "#0f172a", "#475569", "#64748b", "#dc2626", "#b45309")
DARK: Final = Palette("#0d1117", "#161d2a", "#e6edf3", "#9fb0c3", "#8b9bb0", "#ff6b6b", "#f5b04d")
DANGER_COLOURS: Final[Mapping[Danger, str]] = {
    Danger.NONE: LIGHT.line,
    Danger.POSSIBLE: LIGHT.maybe,
    Danger.SURE: LIGHT.loop,
}

KIND_COLOURS: Final[Mapping[Kind, str]] = {
    Kind.LAMBDA: "#ea8a0b",
    Kind.BATCH: "#6d5ae6",
    Kind.LAMBDA_BATCH: "#ea8a0b",
    Kind.OSCAR: "#78716c",
    Kind.HTTP: "#0d9488",
}

BUCKET_COLOURS: Final = ("#16a34a", "#0284c7", "#c026d3", "#ca8a04", "#0f766e", "#7c3aed", "#65a30d")
"""No red, which marks loops."""
