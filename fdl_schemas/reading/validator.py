"""Compares data with the JSON Schema, by the package `jsonschema`, and tidies up what that finds.

One mistake gives one mismatch: a value of the wrong type is not also too short, and a map with three unknown
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


def mismatches(value: Any, schema: Mapping[str, Any]) -> Iterator[Mismatch]:
    """Everything in a value that is not as the schema wants it, in the order of the file."""
    validator = _Validator(schema)
    seen: set[tuple[object, ...]] = set()
    for error in validator.iter_errors(value):
        about, keyword, path = error.schema, str(error.validator), tuple(error.absolute_path)
        if keyword in LEFT_TO_RULES:
            continue
        kinds = types_of(about.get("type", []))
        if keyword != "type" and kinds and not any(validator.is_type(error.instance, kind) for kind in kinds):
            continue  # only the consequence of its wrong type
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
    # Python's `$` also matches before a line end that comes last, and would let a name of two lines through.
    if validator.is_type(instance, "string") and not re.search(re.sub(r"\$$", r"\\Z", pattern), instance):
        yield jsonschema.ValidationError(f"{instance!r} does not match {pattern!r}")


def _additional(
    validator: Any, wanted: Any, instance: Any, about: Any
) -> Iterator[jsonschema.ValidationError]:
    # jsonschema goes through a set: of very many mistakes other ones would be shown each time.
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
