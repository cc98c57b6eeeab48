"""`scar` and `scar-launch` themselves: the help, and names that are misspelled."""

from __future__ import annotations

import re

import click
import pytest
from click.testing import CliRunner

from scar_cli.commands.launch import command as scar_launch
from scar_cli.main import scar


@pytest.mark.parametrize(
    ("words", "suggestion"),
    [
        ("stauts", "Did you mean 'status'?"),
        ("logs", "'log'"),
        ("get --watsh", "'--watch'"),
        ("local strat", "'start'"),
        ("local start --prot 1", "'--port'"),
    ],
)
def test_a_misspelled_command_or_option_is_corrected(words: str, suggestion: str) -> None:
    result = CliRunner().invoke(scar, words.split())
    assert result.exit_code == 2
    assert suggestion in result.stderr


def test_a_misspelled_option_of_scar_launch_is_corrected() -> None:
    result = CliRunner().invoke(scar_launch, ["--distribute"])
    assert result.exit_code == 2
    assert "Did you mean '--distributed'?" in result.stderr


def test_a_word_that_is_like_no_command_gets_no_suggestion() -> None:
    assert "Did you mean" not in CliRunner().invoke(scar, ["xyzzy"]).stderr


def test_the_help_groups_the_commands() -> None:
    text = CliRunner().invoke(scar, ["-h"]).stdout
    groups = re.findall(r"^(\w+):\n((?:  \S.*\n)+)", text, re.MULTILINE)
    shown = {title: re.findall(r"^  (\S+)", lines, re.MULTILINE) for title, lines in groups}
    shown.pop("Options")
    assert list(shown) == ["Deploy", "Files", "Run", "Inspect", "Local"]
    assert sorted(name for names in shown.values() for name in names) == scar.list_commands(
        click.Context(scar)
    )
    assert all(len(line) <= 80 for line in text.splitlines())
