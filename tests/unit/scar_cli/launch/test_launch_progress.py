"""What a launch shows while it goes on: a bar on a terminal, next to nothing elsewhere."""

from __future__ import annotations

import io
import re
from contextlib import redirect_stderr, redirect_stdout
from types import SimpleNamespace
from typing import Any

import click
import pytest

from scar_cli.launch import report
from scar_cli.launch.done import Count
from scar_cli.launch.report import sending_bar
from scar_cli.launch.wait import waiting_bar
from scar_cli.progress import activity


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


def test_other_output_appears_on_lines_of_its_own_above_the_bar(terminal: Terminal) -> None:
    with redirect_stdout(terminal), redirect_stderr(terminal), sending_bar(shown=True) as progress:
        progress.look(fan_out(1500))
        click.echo("a warning", err=True)
        progress.look(fan_out(1600))
        click.echo("an answer")
    lines = [line.rpartition("\x1b[2K")[2] for line in terminal.getvalue().splitlines()]
    assert {"a warning", "an answer"} <= set(lines)


def test_standard_output_that_is_no_terminal_gets_what_is_written_to_it(terminal: Terminal) -> None:
    with redirect_stdout(io.StringIO()) as output, redirect_stderr(terminal), sending_bar(shown=True):
        click.echo("an answer")
    assert output.getvalue() == "an answer\n"
    assert "an answer" not in terminal.shown


def test_a_spinner_shows_what_is_going_on_and_leaves_nothing_behind(terminal: Terminal) -> None:
    with redirect_stderr(terminal), activity("Synthesizing"):
        click.echo("a warning", err=True)
    assert "Synthesizing" in terminal.shown
    assert "a warning" in [line.rpartition("\x1b[2K")[2] for line in terminal.getvalue().splitlines()]
    assert terminal.getvalue().endswith("\x1b[2K")


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
