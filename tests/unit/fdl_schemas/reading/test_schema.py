"""The JSON Schema as editors and documentation use it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import jsonschema
import pytest

from fdl_schemas.reading.schema import SCHEMA_FILE, schema


def properties(about: Any, path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    if not isinstance(about, dict):
        return
    for name, below in about.get("properties", {}).items():
        yield f"{path}.{name}", below
        yield from properties(below, f"{path}.{name}")
    for key in ("items", "additionalProperties"):
        yield from properties(about.get(key), f"{path}.{key}")
    for name, below in about.get("$defs", {}).items():
        yield from properties(below, name)


PROPERTIES = list(properties(schema()))


def resolved(about: dict[str, Any]) -> dict[str, Any]:
    if "$ref" not in about:
        return about
    target: dict[str, Any] = schema()["$defs"][about["$ref"].removeprefix("#/$defs/")]
    return {**target, **about}


def test_is_a_valid_schema_of_its_draft() -> None:
    jsonschema.Draft202012Validator.check_schema(schema())


@pytest.mark.parametrize(("path", "about"), PROPERTIES, ids=[path for path, _ in PROPERTIES])
def test_every_key_explains_itself_to_an_editor(path: str, about: dict[str, Any]) -> None:
    about = resolved(about)
    assert about["title"].strip()
    assert about["description"].strip().endswith((".", "!", '"', ")"))


@pytest.mark.parametrize(("path", "about"), PROPERTIES, ids=[path for path, _ in PROPERTIES])
def test_defaults_and_examples_are_valid_themselves(path: str, about: dict[str, Any]) -> None:
    about = resolved(about)
    validator = jsonschema.Draft202012Validator({**about, "$defs": schema()["$defs"]})
    for example in [*about.get("examples", []), *([about["default"]] if "default" in about else [])]:
        assert list(validator.iter_errors(example)) == []


def test_every_map_of_the_language_is_closed() -> None:
    open_on_purpose = {".s3", ".supervisor", ".rucio"}
    for path, about in ((path, resolved(about)) for path, about in PROPERTIES):
        if about.get("type") == "object" and not any(path.endswith(end) for end in open_on_purpose):
            assert "additionalProperties" in about, path


def test_schema_lies_beside_the_code() -> None:
    assert SCHEMA_FILE.is_file()
    assert SCHEMA_FILE.name == "fdl.schema.json"


def test_editors_find_the_description_beside_each_key() -> None:
    # yaml-language-server does not follow `$ref` for what it shows while a key is being typed.
    for path, about in PROPERTIES:
        assert {"title", "description"} <= about.keys(), path


def test_schema_has_a_name_of_its_own() -> None:
    assert schema()["$id"] == "urn:scar-cdk:fdl"
    assert schema()["$schema"] == "https://json-schema.org/draft/2020-12/schema"
