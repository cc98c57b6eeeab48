"""Filter patterns of FilterLogEvents, which ministack splits at each blank and cannot combine with OR.

    summary failed       lines with both terms, in the same case
    "Task timed out"     lines with this phrase
    ?summary ?"START R"  lines with any of these
    summary -failed      lines with the first term and without the second

Terms with `?` are ignored beside other terms, as on AWS. Patterns for JSON fields (`{ $.level = … }`) match
every line, as in ministack.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from ministack.services import cloudwatch_logs

_TERM = re.compile(r'([?-]?)(?:"((?:[^"\\]|\\.)*)"|([^\s"]+))')
_ESCAPED = re.compile(r"\\(.)")


def install() -> None:
    """Replace ministack's reading of patterns."""
    cloudwatch_logs._compile_filter_pattern = matcher


def matcher(pattern: str) -> Callable[[str], bool]:
    """The function that tells whether a line matches the pattern."""
    if pattern.strip().startswith("{"):
        return lambda _line: True
    terms: dict[str, list[str]] = {"": [], "?": [], "-": []}
    for sign, phrase, word in _TERM.findall(pattern):
        terms[sign].append(word or _ESCAPED.sub(r"\1", phrase))
    wanted, any_of, unwanted = terms.values()

    def matches(line: str) -> bool:
        if any(one in line for one in unwanted) or not all(one in line for one in wanted):
            return False
        return bool(wanted or unwanted) or not any_of or any(one in line for one in any_of)

    return matches
