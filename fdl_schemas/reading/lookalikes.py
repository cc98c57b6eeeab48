"""Characters that look like YAML's punctuation but are not: word processors and web pages insert them.

YAML reads a no-break space or a typographic quote as a part of the text. The file looks right, and the parser
reports another place.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from typing import Final

_QUOTES: Final = "\u2018\u2019\u201a\u201c\u201d\u201e\u00ab\u00bb"
_SPACES: Final = "\u00a0\u2002\u2003\u2007\u2009\u200b\u202f\u3000\ufeff"
_PLAIN: Final[Mapping[str, str]] = {
    **dict.fromkeys(_SPACES, "a plain space"),
    **dict.fromkeys(_QUOTES, "a plain quote, `\"` or `'`"),
    **dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2212", "a plain hyphen, `-`"),
    "\uff1a": "a plain colon, `:`",
}
_KEY_OR_ENTRY = re.compile(
    rf"[ \t{_SPACES}]*"
    rf"(?:(?P<dash>[\u2010-\u2014\u2212])[ {_SPACES}]"
    rf"|(?:- )*(?:[\w-]*(?P<key>[{_SPACES}{_QUOTES}\uff1a])|[\w-]+:[ ]*(?P<value>[{_SPACES}{_QUOTES}])))"
)


def in_line(line: str) -> int | None:
    """The index of a lookalike in a rejected line: in its indentation or key, or before its value."""
    indentation = len(line) - len(line.lstrip())
    for index, character in enumerate(line[:indentation]):
        if character in _SPACES:
            return index
    found = _KEY_OR_ENTRY.match(line)
    return None if found is None or found.lastgroup is None else found.start(found.lastgroup)


def in_plain_scalar(text: str, *, is_key: bool) -> int | None:
    """The index of a lookalike in a key or value without quotes, if it is certainly a mistake."""
    if not text or text.isascii():
        return None
    if text[0] in _SPACES or (text[0] in _QUOTES and text[-1] in _QUOTES):
        return 0
    if _PLAIN.get(text[0], "").endswith("`-`") and text[1:2] == " ":
        return 0
    if is_key:
        return next(
            (index for index, letter in enumerate(text) if letter in _SPACES or letter in _QUOTES), None
        )
    return None


def described(character: str) -> tuple[str, str]:
    """The name of a lookalike with its code point, and what to write instead."""
    return f"{unicodedata.name(character).lower()} (U+{ord(character):04X})", _PLAIN[character]
