"""Filter patterns of FilterLogEvents."""

from __future__ import annotations

import pytest

from local_cloud.logs.patterns import matcher

START, END = "START RequestId: 1 Version: $LATEST", "END RequestId: 1"
SUMMARY, LATE = '{"message": "summary", "status": "done"}', "2026-01-31 1 Task timed out after 3.00 seconds"
LINES = (START, END, SUMMARY, LATE)


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("", LINES),
        ("RequestId", (START, END)),
        ("requestid", ()),
        ("summary done", (SUMMARY,)),
        ("summary failed", ()),
        ('"Task timed out"', (LATE,)),
        ('"timed Task"', ()),
        ('?"START RequestId" ?summary ?"Task timed out"', (START, SUMMARY, LATE)),
        ("RequestId -START", (END,)),
        ("-RequestId", (SUMMARY, LATE)),
        ("RequestId ?START", (START, END)),
        (r'"\"status\": \"done\""', (SUMMARY,)),
        ("{ $.status = x }", LINES),
    ],
)
def test_patterns_find_lines_as_on_aws(pattern: str, found: tuple[str, ...]) -> None:
    assert tuple(filter(matcher(pattern), LINES)) == found
