"""Where the numbers are shown: in a real pseudo-terminal."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest

from tests.terminal import LEAVES_THE_SCREEN, in_terminal

REPOSITORY = Path(__file__).resolve().parents[4]
PROGRAM = """
import time
from scar_cli.watch.outputs import output
from scar_cli.watch.state import State
from tests.unit.scar_cli.watch.runs_of_a_workflow import NOW_MS, WORKFLOW

state = State(WORKFLOW, NOW_MS)
state.is_complete = True
try:
    with output("video", None, as_json=False) as shown:
        shown.show(state.snapshot(NOW_MS), is_over=True)
        time.sleep(60)
except KeyboardInterrupt:
    print("the summary")
"""
COMMAND = [sys.executable, "-c", PROGRAM]


def environment(**more: str) -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "PYTHONPATH": str(REPOSITORY), "LANG": "C.UTF-8", **more}


@pytest.mark.parametrize(
    ("number", "code", "printed"), [(signal.SIGINT, 0, "the summary\r\n"), (signal.SIGTERM, 143, "")]
)
def test_the_view_follows_the_size_of_the_terminal_and_leaves_it_as_it_was(
    number: signal.Signals, code: int, printed: str
) -> None:
    with in_terminal(COMMAND, environment(TERM="xterm"), lines=24, columns=80) as terminal:
        terminal.shows("WORKFLOW +QUEUED.*Ctrl-C ends")
        terminal.resize(40, 130)
        terminal.shows("INPUT +BATCH.*WORKFLOW +QUEUE +QUEUE")
        terminal.process.send_signal(number)
        assert terminal.rest() == LEAVES_THE_SCREEN + printed
        assert terminal.process.wait() == code


def test_a_terminal_that_cannot_move_the_cursor_gets_lines() -> None:
    with in_terminal(COMMAND, environment(TERM="dumb"), lines=24, columns=80) as terminal:
        terminal.shows("- queued  0 running  0 done  .*Nothing is waiting or running")
        assert "\x1b" not in terminal.written


def test_colours_can_be_disabled() -> None:
    with in_terminal(COMMAND, environment(TERM="xterm", NO_COLOR="1"), lines=24, columns=80) as terminal:
        terminal.shows("Ctrl-C ends")
        assert "\x1b[36m" not in terminal.written
    with in_terminal(COMMAND, environment(TERM="xterm"), lines=24, columns=80) as terminal:
        terminal.shows("Ctrl-C ends")
        assert "\x1b[36m" in terminal.written
