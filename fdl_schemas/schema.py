"""The shape of the data, checked against `fdl.schema.json`.

The JSON Schema is the language: editors read it, the documentation comes from it, and `jsonschema` judges by
it here. What this module adds is words. A validator says "'1024' is not of type 'integer'"; a person wants to
know that the quotes have to go. Each of the validator's errors becomes one diagnostic at the key or value it
is about, and the offending part is cut out of the data, so that the stations after this one see only what has
the right shape and can look for more problems in the same go.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Any, Final

from fdl_schemas.diagnostics import quoted
from fdl_schemas.findings import Findings
from fdl_schemas.source import PathInFile, kind_of

SCHEMA_FILE: Final = Path(__file__).with_name("fdl.schema.json")

_REPORTED_ELSEWHERE = frozenset({"oneOf"})  # image or image_file: `rules` says it better
_KINDS: Final[Mapping[str, str]] = {
    "string": "text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "`true` or `false`",
    "array": "a list",
    "object": "a map",
    "null": "nothing",
}


@cache
def schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of the language."""
    loaded: dict[str, Any] = json.loads(SCHEMA_FILE.read_text(encoding="utf-8"))
    return loaded


def check_shape(findings: Findings) -> Any:
    """Checks the document against the schema; gives its data without the parts that are wrong."""
    data = findings.document.data
    cut: list[PathInFile] = []
    for error in _validator().iter_errors(data):
        if findings.full:
            break
        if error.validator not in _REPORTED_ELSEWHERE:
            cut += _report(error, findings)
    if not cut:
        return data
    return _without(data, cut)


@cache
def _validator() -> Any:
    from jsonschema import Draft202012Validator

    return Draft202012Validator(schema())


def _report(error: Any, findings: Findings) -> Iterable[PathInFile]:
    """Says what one error of the validator means; gives the paths that have to be cut out."""
    path: PathInFile = tuple(error.absolute_path)
    if "propertyNames" in error.absolute_schema_path:
        path = (*path, error.instance)
        message, expected, advice = _wrong_form(error, f"the name {quoted(error.instance)}")
        findings.error("FDL016", message, path, expected=expected, help=advice, on_key=True)
        findings.damage(path)
        return [path]
    if error.validator == "additionalProperties":
        return _report_unknown_keys(error, path, findings)
    if error.validator == "required":
        return _report_missing_keys(error, path, findings)
    explain = _EXPLAIN.get(error.validator, _wrong_form)
    if error.validator == "type":
        explain = _wrong_type
        if path and error.instance is not None:
            spelling = findings.document.node(path).text
            message, expected, advice = _wrong_type(error, _called(path), spelling)
        else:
            message, expected, advice = _wrong_type(error, _called(path))
    else:
        message, expected, advice = explain(error, _called(path))
    on_key = error.instance is None or error.validator in ("minProperties", "minItems")
    code = _CODE_OF.get(error.validator, "FDL016")
    findings.error(code, message, path, expected=expected, help=advice, on_key=on_key and bool(path))
    findings.damage(path)
    return [path]


def _report_unknown_keys(error: Any, path: PathInFile, findings: Findings) -> list[PathInFile]:
    allowed = list(error.schema.get("properties", {}))
    unknown = [key for key in error.instance if key not in error.schema.get("properties", {})]
    paths = []
    for key in unknown:
        paths.append((*path, key))
        findings.damage((*path, key), unknown_key=True)
        if findings.full:
            continue
        nearest = get_close_matches(key.lower()[:64], allowed, n=1, cutoff=0.6)
        if nearest:
            advice = f"did you mean {quoted(nearest[0])}?"
        elif homes := _homes_of(key):
            advice = f"{quoted(key)} belongs into {homes}"
        else:
            advice = "remove the key, or correct its spelling"
        findings.error(
            "FDL011",
            f"unknown key {quoted(key)} in {_called(path)}",
            (*path, key),
            expected=_one_of(allowed),
            help=advice,
            on_key=True,
        )
    return paths


def _report_missing_keys(error: Any, path: PathInFile, findings: Findings) -> list[PathInFile]:
    for key in error.validator_value:
        if key in error.instance:
            continue
        findings.damage((*path, key))
        if findings.has_unknown_keys(path) and _looks_misspelt(key, error.instance, error.schema):
            continue  # the unknown key is the problem, and was reported
        about = error.schema.get("properties", {}).get(key, {})
        examples = about.get("examples") or _resolve(about).get("examples") or []
        advice = (
            f"add `{key}: {examples[0]}`" if examples and isinstance(examples[0], str) else f"add `{key}:`"
        )
        findings.error(
            "FDL013",
            f"{_called(path)} has no {quoted(key)}",
            path,
            expected=f"the key {quoted(key)}",
            help=advice,
            on_key=True,
        )
    return []


def _looks_misspelt(key: str, instance: Mapping[str, Any], schema_of_map: Mapping[str, Any]) -> bool:
    unknown = [name.lower()[:64] for name in instance if name not in schema_of_map.get("properties", {})]
    return bool(get_close_matches(key, unknown, n=1, cutoff=0.6))


def _wrong_type(error: Any, name: str, spelling: str | None = None) -> tuple[str, str, str]:
    wanted = _types(error.validator_value)
    value = error.instance
    expected = _expectation(error.schema)
    if value is None:
        return f"{name} has no value", expected, "give it a value, or remove the key"
    message = f"{name} is {kind_of(value)}, not {' or '.join(_KINDS[kind] for kind in wanted)}"
    return message, expected, _advice_for_type(value, wanted, spelling)


def _advice_for_type(value: Any, wanted: list[str], spelling: str | None) -> str:  # noqa: PLR0911
    if "string" in wanted and isinstance(value, (bool, int, float)):
        written = spelling if spelling is not None else str(value)
        if isinstance(value, bool) and written.lower() not in ("true", "false"):
            return f'YAML reads {quoted(written)} as {str(value).lower()}; quote it: "{written[:60]}"'
        return f'quote it: "{written[:60]}"'
    if isinstance(value, str) and ("integer" in wanted or "number" in wanted):
        digits = value.strip()
        return (
            f"remove the quotes: {digits}"
            if digits.isdecimal() and len(digits) < _NUMBER_WIDTH
            else _PLAIN_NUMBER
        )
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


def _wrong_value(error: Any, name: str) -> tuple[str, str, str]:
    advice = "choose one of the allowed values"
    if isinstance(error.instance, str):
        options = [option for option in error.validator_value if isinstance(option, str)]
        lowered = {option.lower(): option for option in options}
        nearest = get_close_matches(error.instance.lower()[:64], list(lowered), n=1, cutoff=0.6)
        if nearest:
            advice = f"did you mean {quoted(lowered[nearest[0]])}?"
    elif isinstance(error.instance, (int, float)):
        nearest_number = min(error.validator_value, key=lambda option: abs(option - error.instance))
        advice = f"the nearest is {nearest_number}"
    return f"{name} cannot be {quoted(error.instance)}", _expectation(error.schema), advice


def _out_of_range(error: Any, name: str) -> tuple[str, str, str]:
    kind, limit = ("least", "minimum") if error.validator == "minimum" else ("most", "maximum")
    message = f"{name} is out of range: {quoted(error.instance)}"
    return message, _expectation(error.schema), f"{kind} is {error.schema[limit]}"


def _wrong_form(error: Any, name: str) -> tuple[str, str, str]:
    expected = _expectation(error.schema)
    if error.validator == "minLength":
        return f"{name} is empty", expected, "give it a value, or remove the key"
    if error.validator == "maxLength":
        most = error.validator_value
        return f"{name} has {len(error.instance)} characters", f"at most {most} characters", "shorten it"
    return f"{name} has the wrong form: {quoted(error.instance)}", expected, "correct the value"


def _wrong_count(error: Any, name: str) -> tuple[str, str, str]:
    count, limit = len(error.instance), error.validator_value
    entries = "entry" if limit == 1 else "entries"
    if error.validator.startswith("min"):
        return (
            f"{name} has {count or 'no'} entries",
            f"at least {limit} {entries}",
            "add one, or remove the key",
        )
    return f"{name} has {count} entries", f"at most {limit} {entries}", "remove the others"


_CODE_OF: Final[Mapping[str, str]] = {
    "type": "FDL012",
    "enum": "FDL014",
    "minimum": "FDL015",
    "maximum": "FDL015",
    "minItems": "FDL017",
    "maxItems": "FDL017",
    "minProperties": "FDL017",
    "maxProperties": "FDL017",
}
_EXPLAIN: Final[Mapping[str, Callable[[Any, str], tuple[str, str, str]]]] = {
    "enum": _wrong_value,
    "minimum": _out_of_range,
    "maximum": _out_of_range,
    "minItems": _wrong_count,
    "maxItems": _wrong_count,
    "minProperties": _wrong_count,
    "maxProperties": _wrong_count,
}


def _expectation(about: Mapping[str, Any]) -> str:
    """What a schema allows, in a person's words."""
    if "enum" in about:
        return _one_of(about["enum"])
    if "x-expected" in about:
        return str(about["x-expected"])
    kinds = _types(about.get("type", "string"))
    words = " or ".join(_KINDS[kind] for kind in kinds)
    unit = f" ({about['x-unit']})" if "x-unit" in about else ""
    if "minimum" in about and "maximum" in about:
        return f"{words} from {about['minimum']} to {about['maximum']}{unit}"
    if "minimum" in about:
        return f"{words} of at least {about['minimum']}{unit}"
    if kinds == ["object"] and "properties" in about:
        return f"a map with the keys {_one_of(about['properties']).removeprefix('one of ')}"
    return words + unit


def _one_of(options: Iterable[object]) -> str:
    return "one of " + ", ".join(quoted(option) for option in options)


def _types(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else list(value)


def _called(path: PathInFile) -> str:
    """What a person calls the value at a path: its key, or the number of the entry in its list."""
    if not path:
        return "the file"
    last = path[-1]
    if isinstance(last, str):
        return quoted(last)
    list_name = next((step for step in reversed(path) if isinstance(step, str)), "the list")
    return f"entry {last + 1} of {quoted(list_name)}"


@cache
def _keys_and_homes() -> Mapping[str, tuple[str, ...]]:
    """For each key of the language the names of the maps that may hold it."""
    homes: dict[str, list[str]] = {}
    waiting: list[tuple[str, Any]] = [("the top level", schema())]
    while waiting:
        name, about = waiting.pop()
        about = _resolve(about)
        for key, below in about.get("properties", {}).items():
            homes.setdefault(key, []).append(name)
            waiting.append((f"`{key}`", below))
        if "items" in about:
            waiting.append((f"an entry of {name}", about["items"]))
    return {key: tuple(dict.fromkeys(names)) for key, names in homes.items()}


def _homes_of(key: str) -> str:
    return " or ".join(_keys_and_homes().get(key, ()))


def _resolve(about: Mapping[str, Any]) -> Mapping[str, Any]:
    if "$ref" not in about:
        return about
    target: Any = schema()
    for step in about["$ref"].removeprefix("#/").split("/"):
        target = target[step]
    return {**target, **{key: value for key, value in about.items() if key != "$ref"}}


def _without(data: Any, paths: Iterable[PathInFile]) -> Any:
    """A copy of the data without the values at `paths`; in lists None takes their place, so that indexes
    stay.
    """
    copied = _copy(data)
    for path in paths:
        if not path:
            return {}
        parent = copied
        for step in path[:-1]:
            try:
                parent = parent[step]
            except (KeyError, IndexError, TypeError):
                parent = None  # a part of it was cut out before
                break
        if isinstance(parent, dict):
            parent.pop(path[-1], None)
        elif isinstance(parent, list) and isinstance(path[-1], int):
            parent[path[-1]] = None
    return copied


def _copy(data: Any) -> Any:
    # Not deepcopy: that keeps shared values shared, and cutting something out for one function would cut it
    # for all.
    if isinstance(data, dict):
        return {key: _copy(value) for key, value in data.items()}
    if isinstance(data, list):
        return [_copy(value) for value in data]
    return data
