"""`scar explain`: every code, in the order of the question; the list of codes."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from fdl_schemas.diagnostics.codes import explanations
from scar_cli.commands.explain import command
from scar_cli.errors import UserError


def explained(*codes: str) -> str:
    return CliRunner().invoke(command, codes, catch_exceptions=False, env={"COLUMNS": "80"}).output


def test_a_code_is_explained_with_a_wrong_and_a_right_example() -> None:
    about = explanations()["FDL012"]
    head, *_, wrong, bad, right, good = explained("fdl012").rstrip("\n").split("\n\n")
    assert head == f"FDL012: {about.title}"
    assert (wrong, right) == ("Wrong:", "Right:")
    assert [line.removeprefix("    ") for line in bad.split("\n")] == about.bad.splitlines()
    assert [line.removeprefix("    ") for line in good.split("\n")] == about.good.splitlines()


def test_text_fits_the_terminal() -> None:
    text = explained(*explanations())
    assert max(len(line) for line in text.splitlines() if not line.startswith("    ")) <= 80


def test_codes_are_explained_once_each_in_the_order_given() -> None:
    text = explained("FDL050", "FDL001", "fdl050")
    assert text.index("FDL050: ") < text.index("FDL001: ")
    assert text.count("FDL050: ") == 1


def test_without_a_code_all_are_listed() -> None:
    lines = explained().splitlines()
    assert [line.split()[0] for line in lines] == ["CODE", *explanations()]


def test_an_unknown_code_is_an_error() -> None:
    with pytest.raises(UserError) as raised:
        explained("FDL999")
    assert str(raised.value) == "'FDL999' is not a diagnostic code. Run `scar explain` to list the codes."
