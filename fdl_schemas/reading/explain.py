"""What does not match the schema, in a person's words.

Each function gives three parts of a diagnostic: the message, what was expected, and what to do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from typing import Any, Final

from fdl_schemas.diagnostics.diagnostic import SHOWN_OF_A_VALUE, quoted
from fdl_schemas.reading.document import PathInFile
from fdl_schemas.reading.scalars import kind_of
from fdl_schemas.reading.validator import Mismatch, types_of

Words = tuple[str, str, str]
"""Message, what was expected, what to do."""

_KINDS: Final[Mapping[str, str]] = {
    "string": "text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "`true` or `false`",
    "array": "a list",
    "object": "a map",
    "null": "nothing",
}


def explain(found: Mismatch, name: str, spelling: str | None) -> tuple[str, Words]:
    """The code of a diagnostic, and its words.

    Args:
        found: a value that is not as the schema wants it.
        name: what a person calls the value.
        spelling: how the value is written in the file, if it is a scalar.
    """
    if found.keyword == "type":
        return "FDL012", _wrong_type(found, name, spelling)
    code, words = _EXPLAIN.get(found.keyword, ("FDL016", wrong_form))
    return code, words(found, name)


def _wrong_type(found: Mismatch, name: str, spelling: str | None = None) -> Words:
    wanted = types_of(found.wanted)
    value = found.value
    expected = _expectation(found.schema)
    if value is None:
        return f"{name} has no value", expected, "give it a value, or remove the key"
    message = f"{name} is {kind_of(value)}, not {' or '.join(_KINDS[kind] for kind in wanted)}"
    if "enum" in found.schema and spelling not in [str(option) for option in found.schema["enum"]]:
        return message, expected, "choose one of the allowed values"
    return message, expected, _advice_for_type(value, wanted, spelling)


def _advice_for_type(value: Any, wanted: list[str], spelling: str | None) -> str:  # noqa: PLR0911
    if "string" in wanted and isinstance(value, (bool, int, float)):
        written = spelling if spelling is not None else str(value)
        quote_it = f'quote it: "{written[:SHOWN_OF_A_VALUE]}"'
        if isinstance(value, bool) and written.lower() not in ("true", "false"):
            return f"YAML reads {quoted(written)} as {str(value).lower()}; {quote_it}"
        return quote_it
    if isinstance(value, str) and ("integer" in wanted or "number" in wanted):
        digits = value.strip()
        if not (digits.isascii() and digits.isdecimal() and len(digits) < _NUMBER_WIDTH):
            return _PLAIN_NUMBER
        if digits != (number := str(int(digits))):
            return f"write it without the zeros before it: {number}"
        return f"remove the quotes: {digits}"
    if isinstance(value, str) and "boolean" in wanted:
        return "write true or false, without quotes"
    if isinstance(value, float) and "integer" in wanted:
        return "leave the fraction out"
    if "array" in wanted:
        return "start each entry with `- `" if isinstance(value, dict) else "write it as a list: [a, b]"
    if "object" in wanted:
        return "remove the `- `" if isinstance(value, list) else "write its keys below it, indented"
    return "check the value"


_NUMBER_WIDTH = 20
_PLAIN_NUMBER = "write a plain number, without a unit"


def _wrong_value(found: Mismatch, name: str) -> Words:
    advice = "choose one of the allowed values"
    if isinstance(found.value, str):
        options = [option for option in found.wanted if isinstance(option, str)]
        lowered = {option.lower(): option for option in options}
        nearest = get_close_matches(found.value.lower()[:64], list(lowered), n=1, cutoff=0.6)
        if nearest:
            advice = f"did you mean {quoted(lowered[nearest[0]])}?"
    elif isinstance(found.value, (int, float)):
        nearest_number = min(found.wanted, key=lambda option: abs(option - found.value))
        advice = f"the nearest is {nearest_number}"
    return f"{name} cannot be {quoted(found.value)}", _expectation(found.schema), advice


def _out_of_range(found: Mismatch, name: str) -> Words:
    side = "least" if found.keyword == "minimum" else "most"
    message = f"{name} is out of range: {quoted(found.value)}"
    return message, _expectation(found.schema), f"use at {side} {found.wanted}"


def wrong_form(found: Mismatch, name: str) -> Words:
    """A text of the wrong form or length."""
    expected = _expectation(found.schema)
    if found.keyword == "minLength":
        return f"{name} is empty", expected, "give it a value, or remove the key"
    if found.keyword == "maxLength":
        most = found.wanted
        return f"{name} has {len(found.value)} characters", f"at most {most} characters", "shorten it"
    return f"{name} has the wrong form: {quoted(found.value)}", expected, "correct the value"


def _wrong_count(found: Mismatch, name: str) -> Words:
    count, limit = len(found.value), found.wanted
    entries = "entry" if limit == 1 else "entries"
    if found.keyword.startswith("min"):
        return (
            f"{name} has {count or 'no'} entries",
            f"at least {limit} {entries}",
            "add one, or remove the key",
        )
    return f"{name} has {count} entries", f"at most {limit} {entries}", "remove the others"


def _given_twice(_found: Mismatch, name: str) -> Words:
    return f"{name} has an entry twice", "each entry once", "remove one of the two"


_EXPLAIN: Final[Mapping[str, tuple[str, Callable[[Mismatch, str], Words]]]] = {
    "enum": ("FDL014", _wrong_value),
    "minimum": ("FDL015", _out_of_range),
    "maximum": ("FDL015", _out_of_range),
    "minItems": ("FDL017", _wrong_count),
    "maxItems": ("FDL017", _wrong_count),
    "uniqueItems": ("FDL017", _given_twice),
    "minProperties": ("FDL017", _wrong_count),
    "maxProperties": ("FDL017", _wrong_count),
}


def _expectation(about: Mapping[str, Any]) -> str:
    """What a schema allows, in a person's words."""
    if "enum" in about:
        return one_of(about["enum"])
    if "x-expected" in about:
        return str(about["x-expected"])
    kinds = types_of(about.get("type", "string"))
    words = " or ".join(_KINDS[kind] for kind in kinds)
    unit = f" ({about['x-unit']})" if "x-unit" in about else ""
    if "minimum" in about and "maximum" in about:
        return f"{words} from {about['minimum']} to {about['maximum']}{unit}"
    if "minimum" in about:
        return f"{words} of at least {about['minimum']}{unit}"
    if kinds == ["object"] and "properties" in about:
        return f"a map with the keys {one_of(about['properties']).removeprefix('one of ')}"
    return words + unit


def one_of(options: Iterable[object]) -> str:
    """A list of what is allowed."""
    return "one of " + ", ".join(quoted(option) for option in options)


def called(path: PathInFile) -> str:
    """What a person calls the value at a path: its key, or the number of the entry in its list."""
    if not path:
        return "the file"
    last = path[-1]
    if isinstance(last, str):
        return quoted(last)
    list_name = next((step for step in reversed(path) if isinstance(step, str)), "the list")
    return f"entry {last + 1} of {quoted(list_name)}"
