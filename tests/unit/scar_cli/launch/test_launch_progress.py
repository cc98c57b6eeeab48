"""What a launch shows while it goes on: a bar on a terminal, next to nothing elsewhere."""

from __future__ import annotations

import io
import re
from contextlib import redirect_stderr
from types import SimpleNamespace
from typing import Any

import pytest

from scar_cli.launch import report
from scar_cli.launch.done import Count
from scar_cli.launch.report import sending_bar
from scar_cli.launch.wait import waiting_bar


class Terminal(io.StringIO):
    """Keeps what is shown."""

    def isatty(self) -> bool:
        return True

    @property
    def shown(self) -> str:
        return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", self.getvalue())


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    return Terminal()


def fan_out(sent: int, trouble: str = "") -> Any:
    return SimpleNamespace(sent=sent, trouble=trouble)


def test_a_terminal_shows_how_many_are_sent_how_fast_and_what_is_in_the_way(terminal: Terminal) -> None:
    with redirect_stderr(terminal), sending_bar(shown=True) as progress:
        progress.found, progress.is_all = 2000, True
        progress.look(fan_out(1500, "429 TooManyRequestsException"))
    assert "1,500 sent" in terminal.shown
    assert re.search(r"[\d,]+/s", terminal.shown)
    assert "waiting: 429 TooManyRequestsException" in terminal.shown


def test_a_terminal_shows_how_many_of_those_that_are_waited_for_are_over(terminal: Terminal) -> None:
    with redirect_stderr(terminal), waiting_bar(shown=True) as look:
        look(Count(all=10, done=6, failed=2))
    assert "8/10" in terminal.shown
    assert "2 failed" in terminal.shown


def test_answers_for_programs_come_without_a_bar(terminal: Terminal) -> None:
    with redirect_stderr(terminal), sending_bar(shown=False) as progress, waiting_bar(shown=False) as look:
        progress.look(fan_out(1))
        look(Count(all=1, done=1, failed=0))
    assert terminal.getvalue() == ""


def test_without_a_terminal_one_line_tells_that_nothing_moves(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(report, "_STUCK_AFTER_S", 0.0)
    with sending_bar(shown=True) as progress:
        progress.look(fan_out(7))
        for _ in range(3):
            progress.look(fan_out(7, "no answer in time"))
    assert capsys.readouterr().err == "scar-launch: 7 sent; waiting: no answer in time\n"
