"""Explains in plain words what does not match the schema.

Each function returns three parts of a diagnostic: the message, what was expected, and what to do.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from typing import Any, Final

from fdl_schemas.diagnostics.diagnostic import SHOWN_OF_A_VALUE, quoted
from fdl_schemas.reading.document import PathInFile
from fdl_schemas.reading.scalars import kind_of, plain_value
from fdl_schemas.reading.validator import Mismatch, types_of

Words = tuple[str, str, str]
"""Message, what was expected, what to do."""

_KINDS: Final[Mapping[str, str]] = {
    "string": "a string",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "`true` or `false`",
    "array": "a list",
    "object": "a map",
    "null": "null",
}


def explain(found: Mismatch, name: str, spelling: str | None) -> tuple[str, Words]:
    """The code and the words of a diagnostic.

    Args:
        found: a value that does not match the schema.
        name: what messages call the value.
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
        return f"{name} has no value", expected, "add a value, or remove the key"
    message = f"{name} is {kind_of(value)}, not {' or '.join(_KINDS[kind] for kind in wanted)}"
    if "enum" in found.schema and spelling not in [str(option) for option in found.schema["enum"]]:
        return message, expected, _CHOOSE
    pair = _PAIR_WITHOUT_SPACE.fullmatch(value) if isinstance(value, str) else None
    if pair and "object" in wanted and pair["key"] in found.schema.get("properties", {}):
        advice = f"write a space after `{pair['key']}:`"
        return f"missing space after `{pair['key']}:`", "`KEY: VALUE`", advice
    return message, expected, _advice_for_type(found, wanted, spelling)


def _advice_for_type(found: Mismatch, wanted: list[str], spelling: str | None) -> str:  # noqa: PLR0911
    value = found.value
    if "string" in wanted and isinstance(value, (bool, int, float)):
        written = spelling if spelling is not None else str(value)
        quote_it = f'quote it: "{written[:SHOWN_OF_A_VALUE]}"'
        if isinstance(value, bool) and written.lower() not in ("true", "false"):
            return f"YAML reads {quoted(written)} as {str(value).lower()}; {quote_it}"
        return quote_it
    if isinstance(value, str) and ("integer" in wanted or "number" in wanted):
        return _advice_for_number(value.strip(), found.schema.get("x-unit", ""))
    if isinstance(value, str) and "boolean" in wanted:
        read = plain_value(value)
        return f"write `{str(read).lower()}`, without quotes" if isinstance(read, bool) else _TRUE_OR_FALSE
    if isinstance(value, float) and "integer" in wanted:
        return "write a number without a fraction"
    if "array" in wanted or "object" in wanted:
        return _advice_for_collection(found, wanted)
    return "correct the value"


def _advice_for_number(text: str, unit: str) -> str:
    if text.isascii() and text.isdecimal() and len(text) < _NUMBER_WIDTH:
        number = str(int(text))
        return f"remove the quotes: {text}" if text == number else f"remove the leading zeros: {number}"
    with_unit = _NUMBER_WITH_UNIT.fullmatch(text.lower())
    factor = _FACTORS.get(unit, {}).get(with_unit["unit"]) if with_unit else None
    if with_unit and factor:
        return f"write `{int(with_unit['number']) * factor}`; the unit is always {unit}"
    return "write a plain number, without a unit"


def _advice_for_collection(found: Mismatch, wanted: list[str]) -> str:  # noqa: PLR0911
    value, path = found.value, found.path
    key = next((step for step in reversed(path) if isinstance(step, str)), "")
    if path == ("functions",) and isinstance(value, list):
        return "write `aws:` above the list, and indent the list below it"
    if key in ADVICE_FOR_MAPS and path[-1] == key:
        return ADVICE_FOR_MAPS[key]
    first = next(iter(value), "") if isinstance(value, dict) else ""
    if isinstance(value, list) and isinstance(next(iter(value), None), dict):
        first = next(iter(value[0]), "")
    if first.startswith("-"):
        return f"write a space after the `-` of {quoted(first)}"
    if "array" in wanted and isinstance(value, dict):
        others = ", and indent its other keys by two more spaces" if len(value) > 1 else ""
        return f"write `- ` before {quoted(first)}{others}" if first else "write a list"
    if key in ("input", "output") and isinstance(value, str):
        return f"write {quoted(f'- path: {value}', 200)}" + (f" below {quoted(key)}" * (path[-1] == key))
    if "array" in wanted:
        return f"write {quoted(f'[{value}]', 200)}"
    if key == "container" and isinstance(value, str):
        return f"write {quoted(f'image: {value}', 200)} below {quoted(key)}"
    if isinstance(value, list):
        return (
            f"remove the `- ` before {quoted(first)}" if first else "write `KEY: VALUE` lines, without `- `"
        )
    return "write its keys on the lines below, indented by two spaces"


ADVICE_FOR_MAPS: Final[Mapping[str, str]] = {
    "environment": "write `Variables:` below `environment:`, and the variables below that as `NAME: value`",
    "functions": "write `aws:` below `functions:`, and each function below that as `- lambda:` with a `name`",
}
"""What to do about maps with a required level between their key and what people write below it."""
_CHOOSE: Final = "choose one of these values"
_TRUE_OR_FALSE: Final = "write `true` or `false`, without quotes"
_NUMBER_WIDTH: Final = 20
_PAIR_WITHOUT_SPACE: Final = re.compile(r"(?P<key>\w+):\S.*")
_NUMBER_WITH_UNIT: Final = re.compile(r"(?P<number>[0-9]{1,9}) ?(?P<unit>[a-z]{1,8})")
_FACTORS: Final[Mapping[str, Mapping[str, int]]] = {
    "MiB": dict.fromkeys(("m", "mb", "mi", "mib"), 1) | dict.fromkeys(("g", "gb", "gi", "gib"), 1024),
    "seconds": dict.fromkeys(("s", "sec", "second", "seconds"), 1)
    | dict.fromkeys(("m", "min", "minute", "minutes"), 60)
    | dict.fromkeys(("h", "hour", "hours"), 3600),
}
"""What people write after a number, by the unit that the number has in FDL."""


_SYNONYMS: Final[Mapping[str, str]] = {
    "amd64": "x86_64",
    "x64": "x86_64",
    "aarch64": "arm64",
    "fargate": "batch",
}
"""What other programs call a value of the language."""


def _wrong_value(found: Mismatch, name: str) -> Words:
    advice = _CHOOSE
    if isinstance(found.value, str):
        options = [option for option in found.wanted if isinstance(option, str)]
        lowered = {option.lower(): option for option in options}
        written = _SYNONYMS.get(found.value.lower(), found.value.lower()[:64])
        nearest = get_close_matches(written, list(lowered), n=1, cutoff=0.6)
        if nearest:
            advice = f"did you mean {quoted(lowered[nearest[0]])}?"
    elif isinstance(found.value, (int, float)):
        nearest_number = min(found.wanted, key=lambda option: abs(option - found.value))
        advice = f"the nearest is {nearest_number}"
    return f"{name} cannot be {quoted(found.value)}", _expectation(found.schema), advice


def _out_of_range(found: Mismatch, name: str) -> Words:
    side = "least" if found.keyword == "minimum" else "most"
    advice = f"use at {side} {found.wanted}"
    if found.path[-2:] == ("lambda", "timeout") and side == "most":
        advice += ", or `execution_mode: batch` for longer runs"
    return f"{name} is out of range: {quoted(found.value)}", _expectation(found.schema), advice


def wrong_form(found: Mismatch, name: str) -> Words:
    """Text of the wrong form or length."""
    expected = _expectation(found.schema)
    if found.keyword == "minLength":
        return f"{name} is empty", expected, "add a value, or remove the key"
    if found.keyword == "maxLength":
        most = found.wanted
        return f"{name} is {len(found.value)} characters long", f"at most {most} characters", "shorten it"
    valid = re.sub(r"[^A-Za-z0-9_-]+", "-", found.value[:_LONGEST_NAME]).strip("-")
    advice = "correct the value"
    for suggestion in (valid, valid.lower(), found.value[:_LONGEST_NAME].lower()):
        if found.keyword == "pattern" and suggestion and re.search(found.wanted, suggestion):
            advice = f"write {quoted(suggestion)}"
            break
    return f"{name} has an invalid format: {quoted(found.value)}", expected, advice


_LONGEST_NAME: Final = 64


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
    return f"{name} has a duplicate entry", "each entry once", "remove one of the two"


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
    """What a schema allows, in plain words."""
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
        return _map_with(list(about["properties"]), about.get("required", ()))
    return words + unit


def _map_with(keys: list[str], required: Iterable[str]) -> str:
    if len(keys) > _KEYS_SHOWN:
        return f"a map with keys such as {', '.join(map(quoted, list(required) or keys[:_KEYS_SHOWN]))}"
    shown = [quoted(key) for key in keys]
    words = " or ".join(filter(None, [", ".join(shown[:-1]), shown[-1]]))
    return f"a map with the key {words}"


_KEYS_SHOWN: Final = 3


def one_of(options: Iterable[object]) -> str:
    """A list of what is allowed."""
    shown = [quoted(option) for option in options]
    return shown[0] if len(shown) == 1 else "one of " + ", ".join(shown)


def called(path: PathInFile) -> str:
    """What messages call the value at a path: its key, or the number of the entry in its list."""
    if not path:
        return "the file"
    last = path[-1]
    if isinstance(last, str):
        return quoted(last)
    list_name = next((step for step in reversed(path) if isinstance(step, str)), "the list")
    return f"entry {last + 1} of {quoted(list_name)}"
