"""The values of scalars without quotes.

Values are read like in SCAR, which used PyYAML, except for what surprises people: dates, `12:30` and `0777`
stay text. The booleans of YAML 1.1 (`on`, `yes`) are booleans; the node keeps their spelling, so that a
message can explain the problem if text was expected.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

_BOOLEANS: Final = {
    spelling: value
    for words, value in ((("yes", "true", "on"), True), (("no", "false", "off"), False))
    for word in words
    for spelling in (word, word.capitalize(), word.upper())
}
_NULLS: Final = frozenset({"", "~", "null", "Null", "NULL"})
_INTEGER = re.compile(r"[-+]?(?:0|[1-9][0-9_]{0,30})")
_HEXADECIMAL = re.compile(r"0x[0-9a-fA-F]{1,16}")
_FLOAT = re.compile(
    r"[-+]?(?:[0-9]{1,30}\.[0-9]{0,30}|\.[0-9]{1,30}|[0-9]{1,30}(?=[eE]))(?:[eE][-+]?[0-9]{1,3})?"
)


def plain_value(text: str) -> str | int | float | bool | None:
    """The value of a scalar without quotes."""
    if text in _NULLS:
        return None
    if text in _BOOLEANS:
        return _BOOLEANS[text]
    if text[0] in "+-.0123456789":
        if _INTEGER.fullmatch(text):
            return int(text.replace("_", ""))
        if _HEXADECIMAL.fullmatch(text):
            return int(text, 16)
        if _FLOAT.fullmatch(text):
            value = float(text)
            return text if value in (float("inf"), float("-inf")) else value
    return text


def kind_of(value: object) -> str:
    """The type of a value in plain words, with its article."""
    kinds: Mapping[type, str] = {
        bool: "a boolean",
        int: "a number",
        float: "a decimal number",
        str: "a string",
        list: "a list",
        dict: "a map",
    }
    return kinds.get(type(value), "null")
