"""Whose line is it, and when was it: what `scar log` works out by itself."""

from __future__ import annotations

import json
import time

import pytest

from scar_cli.errors import UserError
from scar_cli.log import Line, belongs, moment_ms, parsed


def own(request: str) -> str:
    return json.dumps({"level": "INFO", "message": "stage", "request_id": request})


def test_output_of_the_container_belongs_to_the_request_that_runs_in_its_stream() -> None:
    current: dict[str, str] = {}
    log = [
        ("s1", "START RequestId: one Version: $LATEST", "one"),
        ("s2", "START RequestId: two Version: $LATEST", "two"),
        ("s1", "hello", "one"),
        ("s2", "hello", "two"),
        ("s2", own("two"), "two"),
        ("s1", "END RequestId: one", "one"),
        ("s1", "START RequestId: three Version: $LATEST", "three"),
        ("s1", "REPORT RequestId: one\tDuration: 1 ms", "one"),
        ("s1", '{"json": "of the container"}', "three"),
    ]
    for stream, text, expected in log:
        assert belongs(Line(0, "f", stream, text), current) == expected, text


@pytest.mark.parametrize("text", ["plain", "{", '{"message": "x"}', "[1]", "{" * 9999])
def test_a_line_of_the_container_is_not_taken_for_one_of_the_runner(text: str) -> None:
    assert parsed(text) is None


def test_times_are_read_as_ages_or_as_dates() -> None:
    assert abs(moment_ms("2h") - (time.time() - 7200) * 1000) < 5000
    assert moment_ms("1970-01-02T00:00:00+00:00") == 86_400_000
    for text in ("yesterday", "", "5", "99999999999d", "0001-01-01"):
        with pytest.raises(UserError, match="is no time"):
            moment_ms(text)
