"""The only parser for untrusted JSON: messages, registries, archives, file servers.

Python's own parser accepts values that are not JSON (`NaN`, `Infinity`), reads `1e999` as infinity, and
raises `RecursionError` on deep nesting. Here, every problem is a `JsonError`, which is a `ValueError`, with a
short reason that does not quote the text.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any, NoReturn

LONGEST_BYTES = 8 * 1024 * 1024
"""More than any event of Lambda (6 MB) or manifest of an image (4 MiB) has."""
DEEPEST = 100
"""Levels of lists and objects in each other."""
_DIGITS = 308
"""A double has no larger numbers, and RFC 8259 (section 6) guarantees no more."""

_BRACKETS = b'"[]{}'
_OTHERS = bytes(set(range(256)) - set(_BRACKETS))
_STRING = re.compile(rb'"[^"]*"?')


class JsonError(ValueError):
    """The text is not JSON, or not within the bounds; `str()` is the reason, without a full stop."""


def read_json(text: str | bytes, *, longest_bytes: int = LONGEST_BYTES) -> Any:
    """The value of the JSON `text` (UTF-8). Raises `JsonError`."""
    content = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    if len(content) > longest_bytes:
        raise JsonError(f"it has more than {longest_bytes} bytes")
    if _is_too_deep(content):
        raise JsonError(f"it is nested more than {DEEPEST} levels deep, or its brackets do not match")
    try:
        plain = text if isinstance(text, str) else content.decode("utf-8-sig")
        return json.loads(plain, parse_int=_integer, parse_float=_double, parse_constant=_no_constant)
    except json.JSONDecodeError as error:
        raise JsonError(f"it is not JSON ({error.msg}, at character {error.pos})") from None
    except UnicodeDecodeError:
        raise JsonError("it is not UTF-8") from None


def _is_too_deep(content: bytes) -> bool:
    """Avoids a loop over the characters: strings are removed, then the innermost pairs of brackets,
    repeatedly."""
    if content.count(b"[") + content.count(b"{") <= DEEPEST:
        return False
    brackets = content.replace(b"\\\\", b"").replace(b'\\"', b"").translate(None, _OTHERS)
    brackets = _STRING.sub(b"", brackets)
    for _ in range(DEEPEST):
        if not brackets:
            return False
        brackets = brackets.replace(b"[]", b"").replace(b"{}", b"")
    return bool(brackets)


def _integer(digits: str) -> int:
    if len(digits) > _DIGITS:
        raise JsonError(f"a number in it has more than {_DIGITS} digits")
    return int(digits)


def _double(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise JsonError("a number in it is too large")
    return number


def _no_constant(name: str) -> NoReturn:
    raise JsonError(f"it contains {name}, which is not JSON")
