"""The explanations of diagnostic codes, read from `codes.md`.

The file is also documentation. It has an explanation of each code, a file that causes it, and the same file
corrected. Tests check the examples. `scar explain` and the documentation site show them.
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
    """The explanation of one code."""

    title: str
    text: str
    """Markdown, with empty lines between paragraphs."""
    language: str
    """Of the examples: `yaml`, or `sh` if the problem is not in the content of the file."""
    bad: str
    good: str

    @property
    def plain(self) -> str:
        """The text with one line per paragraph, without links."""
        text = _LINK.sub(r"\1", self.text)
        return "\n\n".join(" ".join(paragraph.split()) for paragraph in text.split("\n\n"))


@cache
def explanations() -> Mapping[str, Explanation]:
    """All codes with their explanations."""
    return {
        found["code"]: Explanation(
            found["title"], found["text"], found["language"], found["bad"], found["good"]
        )
        for found in _ENTRY.finditer(CODES_FILE.read_text(encoding="utf-8"))
    }
