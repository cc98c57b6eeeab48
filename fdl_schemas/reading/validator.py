"""Validates data against the JSON Schema with the package `jsonschema`, and removes redundant errors.

One mistake is one mismatch: a value of the wrong type is not also too short, and a map with three unknown
keys is reported once, with all three.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import jsonschema
from jsonschema.validators import extend

from fdl_schemas.reading.document import PathInFile

LEFT_TO_RULES: Final = frozenset({"oneOf"})
"""Keywords that only editors need; `rules` reports the same with better messages."""


@dataclass(frozen=True, slots=True)
class Mismatch:
    """One value that does not match the schema."""

    keyword: str
    """The violated keyword of the schema, such as `maximum`."""
    wanted: Any
    """The keyword's value."""
    value: Any
    """The value in the file, or the key if its form is wrong."""
    schema: Mapping[str, Any]
    """The part of the schema that contains the keyword."""
    path: PathInFile
    """The path of the value, or of the map if the form of a key is wrong."""
    about_key: bool = False
    """Whether the mismatch is about a key, not a value."""


def mismatches(value: Any, schema: Mapping[str, Any]) -> Iterator[Mismatch]:
    """All mismatches between a value and the schema, in the order of the file."""
    validator = _Validator(schema)
    seen: set[tuple[object, ...]] = set()
    for error in validator.iter_errors(value):
        about, keyword, path = error.schema, str(error.validator), tuple(error.absolute_path)
        if keyword in LEFT_TO_RULES:
            continue
        kinds = types_of(about.get("type", []))
        if keyword != "type" and kinds and not any(validator.is_type(error.instance, kind) for kind in kinds):
            continue  # only a consequence of the wrong type
        about_key = "propertyNames" in error.absolute_schema_path
        once = (path, keyword, error.instance if about_key else None)
        if once not in seen:
            seen.add(once)
            yield Mismatch(keyword, error.validator_value, error.instance, about, path, about_key)


def part(reference: str, root: Mapping[str, Any]) -> Mapping[str, Any]:
    """The part of a schema that `#/$defs/NAME` names."""
    found: Mapping[str, Any] = root
    for step in reference.removeprefix("#/").split("/"):
        found = found[step]
    return found


def types_of(value: str | list[str]) -> list[str]:
    """The keyword `type` as a list."""
    return [value] if isinstance(value, str) else list(value)


def _whole_text(
    validator: Any, pattern: str, instance: Any, _about: Any
) -> Iterator[jsonschema.ValidationError]:
    # Python's `$` also matches before a final line break, and would accept a name of two lines.
    if validator.is_type(instance, "string") and not re.search(re.sub(r"\$$", r"\\Z", pattern), instance):
        yield jsonschema.ValidationError(f"{instance!r} does not match {pattern!r}")


def _additional(
    validator: Any, wanted: Any, instance: Any, about: Any
) -> Iterator[jsonschema.ValidationError]:
    # jsonschema iterates over a set, so a different part of very many mistakes would be shown each time.
    if not validator.is_type(instance, "object"):
        return
    unknown = [key for key in instance if key not in about.get("properties", {})]
    if isinstance(wanted, dict):
        for key in unknown:
            yield from validator.descend(instance[key], wanted, path=key)
    elif wanted is False and unknown:
        yield jsonschema.ValidationError(f"{unknown!r} are unknown")


_Validator: Any = extend(  # type: ignore[no-untyped-call]
    jsonschema.Draft202012Validator, {"pattern": _whole_text, "additionalProperties": _additional}
)
