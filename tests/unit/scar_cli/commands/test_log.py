"""Whose line is it, and when was it: what `scar log` works out by itself."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from scar_cli.aws.logs import Line, _events, belongs, moment_ms, parsed
from scar_cli.commands import status
from scar_cli.errors import UserError


def own(request: str) -> str:
    return json.dumps({"scar": 1, "level": "INFO", "message": "stage", "request_id": request})


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


@pytest.mark.parametrize(
    "text",
    [
        "plain",
        "{",
        '{"message": "x"}',
        "[1]",
        "{" * 9999,
        '{"scar": 1, ' * 9999,
        '{"level": "INFO", "message": "summary", "status": "done", "subject": "s3://b/k"}',
        '{ "scar": 1, "level": "INFO", "message": "summary"}',
        ' {"scar": 1, "level": "INFO", "message": "summary"}',
    ],
)
def test_a_line_of_the_container_is_not_taken_for_one_of_the_runner(text: str) -> None:
    assert parsed(text) is None


class Logs:
    """`filter_log_events` as CloudWatch has it (`names_pages`), or as the embedded cloud."""

    def __init__(self, events: list[dict[str, Any]], *, names_pages: bool) -> None:
        self.events = events
        self.names_pages = names_pages

    def filter_log_events(self, **request: Any) -> dict[str, Any]:
        found = [event for event in self.events if event["timestamp"] >= request.get("startTime", 0)]
        first = int(request.get("nextToken", 0))
        page: dict[str, Any] = {"events": found[first : first + 10_000]}
        if self.names_pages and first + 10_000 < len(found):
            page["nextToken"] = str(first + 10_000)
        return page


@pytest.mark.parametrize("names_pages", [True, False])
@pytest.mark.parametrize("count", [0, 9_999, 10_000, 10_001, 25_000])
def test_every_line_of_a_long_log_comes_once(count: int, names_pages: bool) -> None:
    events = [
        {"timestamp": number // 7, "logStreamName": "s", "message": f"line {number // 2}"}
        for number in range(count)
    ]
    found = list(_events(Logs(events, names_pages=names_pages), {"logGroupName": "g"}))
    assert found == events


def test_times_are_read_as_ages_or_as_dates() -> None:
    assert abs(moment_ms("2h") - (time.time() - 7200) * 1000) < 5000
    assert moment_ms("1970-01-02T00:00:00+00:00") == 86_400_000
    for text in ("yesterday", "", "5", "99999999999d", "999999w", "0001-01-01"):
        with pytest.raises(UserError, match="is no time"):
            moment_ms(text)


def test_a_container_that_writes_like_lambda_does_not_confuse_the_status(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    texts = ("START RequestId: 1-2 Version: $LATEST", "START RequestId:   ", "START RequestId: ", "x START")
    found = [Line(1, "f", "s", text) for text in texts]
    monkeypatch.setattr(status, "lines", lambda *_words, **_more: found)
    assert status._requests({}, [], 0, "START") == {"1-2"}
