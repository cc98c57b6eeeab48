from __future__ import annotations

import io
import json
import sys

import pytest

from runtime.logs import LINE_LIMIT, ContainerOutput, Log


def test_line_is_json_with_the_bound_fields(capsys: pytest.CaptureFixture[str]) -> None:
    Log("INFO", {"request_id": "r"}).bind(subject="s3://b/ü\n").info("skipped", reason="x")
    (line,) = capsys.readouterr().out.splitlines()
    told = json.loads(line)
    assert told["subject"] == "s3://b/ü\n"
    assert (told["level"], told["message"], told["request_id"], told["reason"]) == (
        "INFO",
        "skipped",
        "r",
        "x",
    )
    assert "ü" in line


def test_lines_below_the_level_are_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    log = Log("WARNING")
    log.debug("no")
    log.info("no")
    log.warning("yes")
    log.failure(ValueError("yes"))
    assert len(capsys.readouterr().out.splitlines()) == 2


def test_stage_tells_its_duration_and_bytes(capsys: pytest.CaptureFixture[str]) -> None:
    with Log().stage("stage-in") as stage:
        stage.bytes = 12
    told = json.loads(capsys.readouterr().out)
    assert (told["message"], told["stage"], told["bytes"]) == ("stage", "stage-in", 12)
    assert told["duration_ms"] >= 0


def test_failed_stage_tells_the_reason(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError, match="broken"), Log().stage("image"):
        raise ValueError("broken")
    told = json.loads(capsys.readouterr().out)
    assert (told["level"], told["kind"], told["error"]) == ("ERROR", "ValueError", "broken")


def test_name_that_is_not_unicode_does_not_break_the_log(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="ascii"))
    Log().info("output", file="\udcff", key="ü")
    assert json.loads(raw.getvalue())["message"] == "output"


def test_container_output_is_passed_on_line_by_line(capsys: pytest.CaptureFixture[str]) -> None:
    output = ContainerOutput()
    for piece in (b"one\ntw", b"o\n", "ü".encode()[:1], "ü".encode()[1:], b"\xff"):
        output.feed(piece)
    assert capsys.readouterr().out == "one\ntwo\n"
    output.close()
    assert capsys.readouterr().out == "ü\ufffd\n"
    assert output.last_lines == "one\ntwo\nü\ufffd"
    assert output.bytes == 11


def test_endless_line_is_split_between_characters(capsys: pytest.CaptureFixture[str]) -> None:
    output = ContainerOutput()
    output.feed(b"x" + "ü".encode() * LINE_LIMIT)
    output.close()
    lines = capsys.readouterr().out.splitlines()
    assert "".join(lines) == "x" + "ü" * LINE_LIMIT
    assert all(len(line.encode()) <= LINE_LIMIT for line in lines)
