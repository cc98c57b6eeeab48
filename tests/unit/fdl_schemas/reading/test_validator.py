"""What the schema finds in a document, one finding for each mistake."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from fdl_schemas.reading.schema import schema
from fdl_schemas.reading.validator import mismatches
from tests.unit.fdl_schemas.test_load import EVERY_KEY, VIDEO_PROCESS

HERE = ("functions", "aws", 0, "lambda")


def found(data: Any) -> list[tuple[tuple[Any, ...], str]]:
    return [(mismatch.path, mismatch.keyword) for mismatch in mismatches(data, schema())]


@pytest.mark.parametrize("text", [EVERY_KEY, VIDEO_PROCESS])
def test_good_documents_have_no_mismatch(text: str) -> None:
    assert found(yaml.safe_load(text)) == []


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"memory": 127}, [("memory", "minimum")]),
        ({"memory": 10241}, [("memory", "maximum")]),
        ({"memory": 1024.0}, []),
        ({"memory": 1024.5}, [("memory", "type")]),
        ({"memory": True}, [("memory", "type")]),
        ({"memory": None}, [("memory", "type")]),
        ({"name": "a b"}, [("name", "pattern")]),
        ({"name": "ab\n"}, [("name", "pattern")]),
        ({"name": 5}, [("name", "type")]),
        ({"description": "x" * 257}, [("description", "maxLength")]),
        ({"execution_mode": "fast"}, [("execution_mode", "enum")]),
        ({"architectures": []}, [("architectures", "minItems")]),
        ({"payload": {"anything": [1, None]}}, []),
    ],
)
def test_a_value_gives_at_most_one_mismatch(
    settings: dict[str, Any], expected: list[tuple[str, str]]
) -> None:
    data = {"functions": {"aws": [{"lambda": {"name": "f", **settings}}]}}
    assert found(data) == [((*HERE, key), keyword) for key, keyword in expected]


def test_unknown_keys_of_a_map_are_one_mismatch() -> None:
    data = {"functions": {"aws": [{"lambda": {"name": "f", "colour": 1, "Name": "x"}}]}}
    assert found(data) == [(HERE, "additionalProperties")]


def test_a_key_of_the_wrong_form_is_told_from_its_value() -> None:
    data = {"functions": {"aws": [{"lambda": {"name": "f", "tags": {"aws:x": "a", "b": "1"}}}]}}
    (mismatch,) = mismatches(data, schema())
    assert (mismatch.about_key, mismatch.value, mismatch.path) == (True, "aws:x", (*HERE, "tags"))


@pytest.mark.parametrize("data", [None, 1, "x", [], {}, {"functions": {}}, {"functions": {"aws": {}}}])
def test_something_is_found_at_the_top(data: Any) -> None:
    assert len(found(data)) == 1
