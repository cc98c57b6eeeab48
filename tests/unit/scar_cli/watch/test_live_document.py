"""When the document of the live page is written."""

from __future__ import annotations

from typing import Any

import pytest

from scar_cli.report.document import Asked, document
from scar_cli.watch import document as module
from scar_cli.watch.document import LiveDocument
from scar_cli.watch.state import Queues, State
from tests.unit.scar_cli.watch.runs_of_a_workflow import NOW_MS, WORKFLOW, failed, run


class Clock:
    seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


def test_the_document_is_written_when_there_is_something_new() -> None:
    state, clock = State(WORKFLOW, 0), Clock()
    live = LiveDocument(WORKFLOW, Asked("video", "scar report"), now=clock)
    first = live.written(state.snapshot(NOW_MS))
    assert first is not None
    assert first["totals"]["runs"] == 0
    clock.seconds += 10
    assert live.written(state.snapshot(NOW_MS)) is None, "nothing is new"
    live.add(run("detect", subject="s3://video/frames/1"))
    live.add(failed("detect", "s3://video/frames/2", "Exit code 3"))
    second = live.written(state.snapshot(NOW_MS))
    assert second is not None
    assert second["totals"]["by_status"] == {"done": 1, "failed": 1}
    state.set_queues("detect", Queues(failure_queue=1))
    assert live.written(state.snapshot(NOW_MS)) is None, "it is too early"
    clock.seconds += 3
    third = live.written(state.snapshot(NOW_MS))
    assert third is not None
    assert [one["failure_queue"] for one in third["functions"]] == [0, 1, 0, 0]


def test_a_document_that_takes_long_is_written_less_often(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    write = document

    def slow(*given: Any, **more: Any) -> Any:
        clock.seconds += 10
        return write(*given, **more)

    monkeypatch.setattr(module, "document", slow)
    live = LiveDocument(WORKFLOW, Asked("video", "scar report"), now=clock)
    found = State(WORKFLOW, 0).snapshot(NOW_MS)
    assert live.written(found) is not None
    live.add(run("detect"))
    clock.seconds += 199
    assert live.written(found) is None
    clock.seconds += 2
    assert live.written(found) is not None
