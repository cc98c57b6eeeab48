"""The validator, held against the package `jsonschema`, and the schema against what the validator knows."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import jsonschema
import pytest
import yaml

from fdl_schemas.schema import schema
from fdl_schemas.validator import KEYWORDS, LEFT_TO_RULES, mismatches, types_of

from .test_load import EVERY_KEY, VIDEO_PROCESS

Found = set[tuple[tuple[Any, ...], str]]


def whole_text(
    validator: Any, pattern: str, instance: Any, _about: Any
) -> Iterator[jsonschema.ValidationError]:
    """`pattern` with `$` as JSON Schema means it: Python's also matches before a last line end."""
    if validator.is_type(instance, "string") and not re.search(re.sub(r"\$$", r"\\Z", pattern), instance):
        yield jsonschema.ValidationError("does not match")


JUDGE: Any = jsonschema.validators.extend(jsonschema.Draft202012Validator, {"pattern": whole_text})(schema())  # type: ignore[no-untyped-call]


def found_by_jsonschema(data: Any) -> Found:
    found = set()
    for error in JUDGE.iter_errors(data):
        about, kind = error.schema, error.validator
        wrong_type = "type" in about and not any(
            JUDGE.is_type(error.instance, one) for one in types_of(about["type"])
        )
        if kind not in LEFT_TO_RULES and (kind == "type" or not wrong_type):
            found.add((tuple(error.absolute_path), kind))
    return found


def found_by_us(data: Any) -> Found:
    return {(found.path, found.keyword) for found in mismatches(data, schema(), schema())}


@pytest.mark.parametrize("text", [EVERY_KEY, VIDEO_PROCESS])
def test_good_documents_have_no_mismatch(text: str) -> None:
    assert found_by_us(yaml.safe_load(text)) == set()


LAMBDA: dict[str, Any] = {"name": "f"}


@pytest.mark.parametrize(
    "settings",
    [
        {"memory": 127},
        {"memory": 10241},
        {"memory": 1024.0},
        {"memory": 1024.5},
        {"memory": True},
        {"memory": None},
        {"name": "a b"},
        {"name": "ab\n"},
        {"description": "x" * 257},
        {"execution_mode": "fast"},
        {"architectures": []},
        {"architectures": ["arm64", "x86_64"]},
        {"architectures": ["arm"]},
        {"tags": {"aws:x": "a", "b": 1}},
        {"input": [{"path": "a", "suffix": 5}, {"path": ""}, {}]},
        {"output": [{"path": "a", "suffix": "jpg", "prefix": ["a", ""]}]},
        {"vpc": {"SubnetIds": ["subnet-1"]}},
        {"colour": 1, "Name": "x"},
        {"payload": {"anything": [1, None]}},
    ],
)
def test_both_find_the_same(settings: dict[str, Any]) -> None:
    data = {"functions": {"aws": [{"lambda": {**LAMBDA, **settings}}]}}
    assert found_by_us(data) == found_by_jsonschema(data)


@pytest.mark.parametrize("data", [None, 1, "x", [], {}, {"functions": {}}, {"functions": {"aws": {}}}])
def test_both_find_the_same_at_the_top(data: Any) -> None:
    assert found_by_us(data) == found_by_jsonschema(data) != set()


def keywords(about: Any) -> Iterator[str]:
    yield from about
    for key in ("properties", "$defs"):
        for below in about.get(key, {}).values():
            yield from keywords(below)
    for key in ("items", "additionalProperties", "propertyNames"):
        if isinstance(about.get(key), dict):
            yield from keywords(about[key])


def test_schema_uses_no_keyword_that_the_validator_does_not_know() -> None:
    assert {word for word in keywords(schema()) if not word.startswith("x-")} <= KEYWORDS


def test_what_stands_beside_a_reference_only_explains() -> None:
    # The validator follows a `$ref` and reads nothing else beside it.
    def references(about: Any) -> Iterator[dict[str, Any]]:
        if isinstance(about, dict):
            if "$ref" in about:
                yield about
            for below in about.values():
                yield from references(below)
        elif isinstance(about, list):
            for below in about:
                yield from references(below)

    for about in references(schema()):
        words = {word for word in about if not word.startswith("x-")}
        assert words <= {"$ref", "title", "description", "examples", "default"}
