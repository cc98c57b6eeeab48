"""What the codes of diagnostics mean: `codes.md`, read into a table.

The file is for people too, and part of docs/fdl.md: for each code an explanation, a file that leads to it,
and the same file put right. The tests check that both are what they claim to be.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

CODES_FILE: Final = Path(__file__).with_name("codes.md")

_ENTRY = re.compile(
    r"^### (?P<code>FDL\d{3})\n\n\*\*(?P<title>[^*]+)\.\*\* (?P<text>.+?)\n\n"
    r"Bad:\n\n```(?P<language>\w+)\n(?P<bad>.*?)```\n\nGood:\n\n```\w+\n(?P<good>.*?)```\n",
    re.MULTILINE | re.DOTALL,
)
_LINK = re.compile(r"\[([^]]+)\]\([^)]+\)")


@dataclass(frozen=True, slots=True)
class Explanation:
    """What one code means."""

    title: str
    text: str
    """Markdown; paragraphs apart by an empty line."""
    language: str
    """Of the examples: `yaml`, or `sh` where the file as such is the problem."""
    bad: str
    good: str

    @property
    def plain(self) -> str:
        """The text on one line for each paragraph, without links."""
        text = _LINK.sub(r"\1", self.text)
        return "\n\n".join(" ".join(paragraph.split()) for paragraph in text.split("\n\n"))


@cache
def explanations() -> Mapping[str, Explanation]:
    """Every code with what it means."""
    return {
        found["code"]: Explanation(
            found["title"], found["text"], found["language"], found["bad"], found["good"]
        )
        for found in _ENTRY.finditer(CODES_FILE.read_text(encoding="utf-8"))
    }
