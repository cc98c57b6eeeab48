"""A container cannot write what is taken for a line of the runner, whatever happens to it on its way."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from containers.errors import LONGEST_STORY, ErrorKind, ExplainedError
from runtime.errors import ContainerError, InvocationError
from runtime.logs import LONGEST_OWN_LINE, ContainerOutput, Log
from scar_cli.aws.logs import Line as LogLine
from scar_cli.aws.logs import belongs, parsed
from tests.unit.runtime.conftest import Function

FORGED = (
    '{"scar": 1, "time": "2026-11-22T08:00:00.000Z", "level": "INFO", "message": "summary", "status": "done"}'
)
PIECES = {
    "alone": FORGED,
    "in the middle": "x" + FORGED,
    "twice": FORGED + FORGED,
    "in itself": '{"scar": 1, {"scar": 1, ' + FORGED,
    "after a carriage return": "\r" + FORGED + "\r",
    "after other ends of lines": "\x85"
    + FORGED
    + "\u2028"
    + FORGED
    + "\x0b"
    + FORGED
    + "\x0c"
    + FORGED
    + "\x1e"
    + FORGED,
    "where Batch cuts": "x" * 16 * 1024 + FORGED,
    "where the runner cuts": "x" * 64 * 1024 + FORGED,
    "around where the runner cuts": "x" * (64 * 1024 - 5) + FORGED,
    "where CloudWatch cuts": "x" * 256 * 1024 + FORGED,
    "with NUL": "\0".join(FORGED),
    "with NUL after the brace": "{\0" + FORGED[1:],
    "with a mark of the order of bytes": "\ufeff" + "{\ufeff" + FORGED[1:],
    "as Lambda": "START RequestId: other Version: $LATEST\rEND RequestId: other\rREPORT RequestId: other\t",
}


def travels(written: str) -> Iterator[str]:
    """Every event that something on the way to the log could make of what the runner wrote."""
    for text in (written, re.sub("[^ -~\n]", "", written)):
        for line in text.split("\n"):
            for size in (16 * 1024, 64 * 1024, 256 * 1024 - 26):
                yield from (line[start : start + size] for start in range(0, len(line), size))
        yield from text.splitlines()
        yield from (line.strip() for line in text.splitlines())
        yield from (text[found.start() :] for found in re.finditer(r"[\[{SER]", text))


def assert_nothing_is_believed(written: str) -> None:
    for event in travels(written):
        assert parsed(event) is None, event[:200]
        assert not event.startswith('{"scar"'), event[:200]
        assert belongs(LogLine(0, "f", "s", event), {"s": "own"}) == "own", event[:200]


@pytest.mark.parametrize("ending", ["\n", ""])
@pytest.mark.parametrize("text", PIECES.values(), ids=PIECES)
def test_no_part_of_a_containers_output_is_a_line_of_the_runner(
    text: str, ending: str, capsys: pytest.CaptureFixture[str]
) -> None:
    output = ContainerOutput()
    content = (text + ending).encode()
    for start in range(0, len(content), 7000):
        output.feed(content[start : start + 7000])
    output.close()
    written = capsys.readouterr().out
    assert_nothing_is_believed(written)
    assert_nothing_is_believed(output.last_lines)
    Log().info("stage")
    assert parsed(capsys.readouterr().out.rstrip("\n")) is not None, (
        "a line of the runner's own follows on its own"
    )
    assert written.endswith("\n")


PARTS = [b"{", b'"', b"scar", b'"scar"', b": 1, ", b"\0", b"\r", b"\n", b"\xff", b"\xc2", b"\x85", b" "]
PARTS += [b"x" * 65530, b"START", b"RequestId: a", FORGED.encode(), b"\xe2\x80", b"\xa8"]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.sampled_from(PARTS), max_size=12))
def test_no_output_in_whatever_pieces_is_a_line_of_the_runner(
    capsys: pytest.CaptureFixture[str], pieces: list[bytes]
) -> None:
    output = ContainerOutput()
    for piece in pieces:
        output.feed(piece)
    output.close()
    assert_nothing_is_believed(capsys.readouterr().out)


@pytest.mark.parametrize(
    "text",
    [
        "plain text, ü, 100 %",
        '{"level": "info", "message": "of the script", "scar": 1}',
        '\x1b[32mgreen\x1b[0m\t{"a": {"b": 1}}',
        "RequestId: START",
        "50%\r100%",
    ],
)
def test_other_output_stays_as_it_is(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    output = ContainerOutput()
    output.feed(text.encode() + b"\n")
    assert capsys.readouterr().out == text + "\n"


def test_forged_json_is_still_the_same_json(capsys: pytest.CaptureFixture[str]) -> None:
    output = ContainerOutput()
    output.feed(FORGED.encode() + b"\n")
    assert json.loads(capsys.readouterr().out) == json.loads(FORGED)


@pytest.mark.parametrize("status", [0, 3])
def test_summaries_of_a_forger_are_the_runners_own(
    status: int, function: Function, capsys: pytest.CaptureFixture[str]
) -> None:
    script = f"echo '{FORGED}'\necho '{FORGED}' >&2\nprintf '%s' '{FORGED}'\nexit {status}"
    function.deploy("#!/bin/sh\n" + script)
    try:
        function.invoke({})
    except ExplainedError as error:
        assert_nothing_is_believed(str(error))
    own = [line for text in capsys.readouterr().out.splitlines() if (line := parsed(text)) is not None]
    assert [line["status"] for line in own if line["message"] == "summary"] == [
        "failed" if status else "done"
    ]
    assert all(line["request_id"] == "request-1" for line in own)


LONG = "\x1b[31m\u202e\x85" + "ü" * 800_000


def test_errors_are_bounded_and_without_control_characters(
    log_lines: Callable[[], list[dict[str, Any]]],
) -> None:
    inner = ExplainedError(LONG, advice=LONG, kind=ErrorKind.SCRIPT_FAILED)
    container = ContainerError(LONG, kind=ErrorKind.SCRIPT_FAILED, output=f"first\n{LONG}\n\tlast\x1b[2J")
    whole = InvocationError([("s3://b/" + LONG, inner), ("b", container)] * 20, request_id="r")
    for error in (inner, container, whole):
        assert len(str(error)) <= LONGEST_STORY + 500
        assert all(line.replace("\t", " ").isprintable() for line in str(error).split("\n"))
        Log().failure(error)
        (line,) = log_lines()
        assert len(json.dumps(line, ensure_ascii=False).encode()) <= LONGEST_OWN_LINE
        assert line["kind"] == "ScriptFailed"
    assert str(whole).endswith("request id: r")
    assert container.output.endswith("\tlast\\x1b[2J")
    assert str(inner).startswith("\\x1b[31m\\u202e\\x85üü")


def test_line_of_the_runner_is_one_line_that_fits_whatever_is_in_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    subject = "s3://bucket/" + "\u2028" * 1000
    Log("INFO", {"subject": subject}).write(
        "ERROR",
        "summary",
        {"last_lines": "\x85\u2028\x1b" * 9000, "files": ["x" * 900] * 100, "error": "e" * 9000},
    )
    (text,) = capsys.readouterr().out.splitlines()
    assert len(text.encode()) <= LONGEST_OWN_LINE
    line = parsed(text)
    assert line is not None
    assert line["subject"] == subject
    assert line["error"].startswith("eee")
