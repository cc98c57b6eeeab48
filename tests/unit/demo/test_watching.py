from __future__ import annotations

import io

import pytest
from rich.console import Console
from watching.live_view import LiveView
from watching.workflow import Progress, complete_results, json_line


def test_result_is_complete_with_text_and_picture() -> None:
    keys = ["o/out001.out", "o/out001.png", "o/out002.png", "o/out003.out", "o/out004.out", "o/out004.jpg"]
    assert complete_results(keys) == ["o/out001.out", "o/out004.out"]


@pytest.mark.parametrize("line", ["", "text", "{", "{}", "[1]", "null", '{"a": '])
def test_lines_that_are_not_structured_are_empty(line: str) -> None:
    assert json_line(line) == {}


def test_at_rest_only_after_the_split_has_ended() -> None:
    assert not Progress("RUNNING", images=3, results=3, failures=0).at_rest
    assert not Progress("SUCCEEDED", images=68, results=67, failures=0).at_rest
    assert Progress("SUCCEEDED", images=68, results=68, failures=0).at_rest
    assert Progress("FAILED", images=0, results=0, failures=1).job_failed


def test_plain_output_says_changes_once() -> None:
    console = Console(file=io.StringIO(), width=120)
    with LiveView(console, expected=68, parallel=2).shown() as view:
        view.update(Progress("RUNNING", 0, 0, 0))
        view.update(Progress("RUNNING", 0, 0, 0))
        view.update(Progress("SUCCEEDED", 68, 10, 0))
    text = console.file.getvalue() if isinstance(console.file, io.StringIO) else ""
    assert text.count("\n") == 2
    assert "split succeeded, 68 images, 56 waiting, 2 running, 10 results, 0 failures" in text
