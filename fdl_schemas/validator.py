"""Compares data with a JSON Schema: the part of draft 2020-12 that `fdl.schema.json` uses, and no more.

Why not the package `jsonschema`? Because `scar validate` runs on every save and before every commit, and to
import that package alone takes longer than all of this. The tests hold the two against each other, on every
generated document, and refuse a schema with a keyword that is not in the table below.

The values are those of the composer, plain and finite, so there is no recursion to be afraid of: the schema
has no loops, and says how deep it goes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from fdl_schemas.document import PathInFile

LEFT_TO_RULES: Final = frozenset({"oneOf"})
"""Keywords that are there for editors; `rules` says the same in better words."""


@dataclass(frozen=True, slots=True)
class Mismatch:
    """One value that is not as the schema wants it."""

    keyword: str
    """The keyword of the schema that is not fulfilled, such as `maximum`."""
    wanted: Any
    """The keyword's value."""
    value: Any
    """The value of the file; of a key of the wrong form, the key."""
    schema: Mapping[str, Any]
    """The part of the schema that the keyword stands in."""
    path: PathInFile
    """Where the value stands; of a key of the wrong form, where its map stands."""
    about_key: bool = False
    """Whether it is about a key, and not about a value."""


def mismatches(
    value: Any, schema: Mapping[str, Any], root: Mapping[str, Any], path: PathInFile = ()
) -> Iterator[Mismatch]:
    """Everything in a value that is not as a part of the schema `root` wants it.

    A value of the wrong type gives one mismatch and nothing else: the rest would only be the consequence.
    """
    if "$ref" in schema:
        yield from mismatches(value, part(schema["$ref"], root), root, path)
        return
    if "type" in schema and not _is_one_of(value, types_of(schema["type"])):
        yield Mismatch("type", schema["type"], value, schema, path)
        return
    for keyword, wanted in schema.items():
        test = _TESTS.get(keyword)
        if test is not None and not test(value, wanted):
            yield Mismatch(keyword, wanted, value, schema, path)
    if isinstance(value, dict):
        yield from _in_map(value, schema, root, path)
    elif isinstance(value, list) and "items" in schema:
        for index, item in enumerate(value):
            yield from mismatches(item, schema["items"], root, (*path, index))


def part(reference: str, root: Mapping[str, Any]) -> Mapping[str, Any]:
    """The part of a schema that `#/$defs/NAME` names."""
    found: Mapping[str, Any] = root
    for step in reference.removeprefix("#/").split("/"):
        found = found[step]
    return found


def types_of(value: str | list[str]) -> list[str]:
    """The keyword `type` as a list."""
    return [value] if isinstance(value, str) else list(value)


def _in_map(
    value: Mapping[str, Any], schema: Mapping[str, Any], root: Mapping[str, Any], path: PathInFile
) -> Iterator[Mismatch]:
    known: Mapping[str, Any] = schema.get("properties", {})
    others = schema.get("additionalProperties", True)
    if others is False and not value.keys() <= known.keys():
        yield Mismatch("additionalProperties", False, value, schema, path)
    if not all(key in value for key in schema.get("required", ())):
        yield Mismatch("required", schema["required"], value, schema, path)
    if "propertyNames" in schema:
        for key in value:
            for found in mismatches(key, schema["propertyNames"], root, path):
                yield Mismatch(found.keyword, found.wanted, key, found.schema, path, about_key=True)
    for key, item in value.items():
        about = known.get(key, others)
        if isinstance(about, dict):
            yield from mismatches(item, about, root, (*path, key))


def _is_one_of(value: Any, kinds: list[str]) -> bool:
    return any(_KINDS[kind](value) for kind in kinds)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


_KINDS: Final[Mapping[str, Callable[[Any], bool]]] = {
    "string": lambda value: isinstance(value, str),
    "integer": lambda value: _is_number(value) and (isinstance(value, int) or value.is_integer()),
    "number": _is_number,
    "boolean": lambda value: isinstance(value, bool),
    "array": lambda value: isinstance(value, list),
    "object": lambda value: isinstance(value, dict),
    "null": lambda value: value is None,
}


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    # Python's `$` also matches before a line end that comes last, and would let a name of two lines through.
    return re.compile(re.sub(r"\$$", r"\\Z", pattern))


def _equal(one: Any, other: Any) -> bool:
    return bool(one == other and isinstance(one, bool) == isinstance(other, bool))


# Each keyword says nothing about values of types that it is not for.
_TESTS: Final[Mapping[str, Callable[[Any, Any], bool]]] = {
    "enum": lambda value, options: any(_equal(value, option) for option in options),
    "minimum": lambda value, least: not _is_number(value) or value >= least,
    "maximum": lambda value, most: not _is_number(value) or value <= most,
    "pattern": lambda value, pattern: not isinstance(value, str) or bool(_compiled(pattern).search(value)),
    "minLength": lambda value, least: not isinstance(value, str) or len(value) >= least,
    "maxLength": lambda value, most: not isinstance(value, str) or len(value) <= most,
    "minItems": lambda value, least: not isinstance(value, list) or len(value) >= least,
    "maxItems": lambda value, most: not isinstance(value, list) or len(value) <= most,
    "minProperties": lambda value, least: not isinstance(value, dict) or len(value) >= least,
    "maxProperties": lambda value, most: not isinstance(value, dict) or len(value) <= most,
}

STRUCTURE: Final = frozenset(
    {"$ref", "type", "properties", "additionalProperties", "required", "propertyNames", "items"}
)
ANNOTATIONS: Final = frozenset({"$schema", "$id", "$defs", "title", "description", "default", "examples"})
KEYWORDS: Final = STRUCTURE | LEFT_TO_RULES | ANNOTATIONS | _TESTS.keys()
"""All keywords that a schema may have; others have to start with `x-`."""
