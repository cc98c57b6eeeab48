from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from containers.bounded_json import DEEPEST, JsonError, read_json


def nested(depth: int, pair: str = "[]") -> str:
    return pair[0] * depth + pair[1] * depth


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[" * 2048, "nested more than"),
        ("[" * 2_000_000, "nested more than"),
        (nested(DEEPEST + 1), "nested more than"),
        ('{"a":' * 500 + "1" + "}" * 500, "nested more than"),
        ('["\\\\",' * 200 + "1" + "]" * 200, "nested more than"),
        ("[1e999]", "too large"),
        ("[-1e999]", "too large"),
        ("[NaN]", "contains NaN"),
        ("-Infinity", "contains -Infinity"),
        ("9" * 5000, "more than 308 digits"),
        ("-" + "9" * 308, "more than 308 digits"),
        ("", "not JSON"),
        ("\ufeff{}", "not JSON"),
        ("{" * 90, "not JSON"),
        (b"\xff", "not UTF-8"),
        (b'"' + b"x" * 9_000_000 + b'"', "more than 8388608 bytes"),
    ],
    ids=range(16),
)
def test_what_is_no_json_or_out_of_bounds_has_a_short_reason(text: str | bytes, reason: str) -> None:
    with pytest.raises(JsonError, match=reason) as caught:
        read_json(text)
    assert len(str(caught.value)) < 120


@pytest.mark.parametrize(
    "text",
    [
        nested(DEEPEST),
        "[" + ",".join([nested(DEEPEST - 1)] * 50) + "]",
        json.dumps(["[" * 5000, '\\"[[' * 500, "\\" * 301]),
        json.dumps([{"a": [1, -2.5e300, None, True, "ü\ud800"]}] * 1000),
        "9" * 308,
    ],
    ids=range(5),
)
def test_json_within_the_bounds_is_read(text: str) -> None:
    assert read_json(text) == json.loads(text)


def test_bytes_may_begin_with_a_mark_of_their_order() -> None:
    assert read_json(b"\xef\xbb\xbf[1]") == [1]


@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.floats(allow_nan=False, allow_infinity=False)
        | st.integers()
        | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_every_value_comes_back(value: Any) -> None:
    text = json.dumps(value)
    assert read_json(text) == read_json(text.encode()) == value


@given(st.text(alphabet='[]{}",:\\1eE-+.NaInfity u') | st.binary(max_size=60))
def test_it_answers_like_python_or_with_its_own_error(text: str | bytes) -> None:
    try:
        value = read_json(text)
    except JsonError:
        return
    assert value == json.loads(text if isinstance(text, str) else text.decode("utf-8-sig"))
