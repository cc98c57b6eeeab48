"""YAML as this project reads it: values, places, traps, and files that want to do harm."""

from __future__ import annotations

import time

import pytest
import yaml

from fdl_schemas.diagnostics.diagnostic import FdlError, Position
from fdl_schemas.reading import composer
from fdl_schemas.reading.composer import MAX_VALUES, compose
from fdl_schemas.reading.scalars import plain_value


def codes(text: str) -> list[str]:
    with pytest.raises(FdlError) as raised:
        compose(text, "f.yaml")
    return [found.code for found in raised.value.diagnostics]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1024", 1024),
        ("1_024", 1024),
        ("-5", -5),
        ("0x10", 16),
        ("0", 0),
        ("0777", "0777"),  # YAML 1.1 reads 511, YAML 1.2 reads 777
        ("12:30", "12:30"),  # YAML 1.1 reads 750
        ("2026-11-01", "2026-11-01"),
        ("1.5", 1.5),
        ("1e3", 1000.0),
        (".5", 0.5),
        (".inf", ".inf"),
        (".nan", ".nan"),
        ("1e999", "1e999"),
        ("9" * 5000, "9" * 5000),
        ("yes", True),
        ("Off", False),
        ("y", "y"),
        ("~", None),
        ("", None),
        ("-", "-"),
        ("3.13.1", "3.13.1"),
    ],
)
def test_plain_scalars(text: str, value: object) -> None:
    assert plain_value(text) == value
    assert type(plain_value(text)) is type(value)


def test_quotes_make_text() -> None:
    assert compose("a: \"1\"\nb: 'yes'\nc: !!str 5\nd: |\n  5\n", "f").data == {
        "a": "1",
        "b": "yes",
        "c": "5",
        "d": "5\n",
    }


def test_every_value_and_key_knows_its_place() -> None:
    document = compose("a:\n  - b: ü1\n    c: [x, yy]\n", "f")
    assert document.value_position(("a", 0, "b")) == Position(2, 8, 2)
    assert document.value_position(("a", 0, "c", 1)) == Position(3, 12, 2)
    assert document.key_position(("a", 0, "c")) == Position(3, 5, 1)
    assert document.key_position(("a", 0)) == Position(2, 5, 1)
    assert document.value_position(("a", 0, "nothing", 3)) == Position(2, 5, 1)


def test_alias_points_at_what_it_names() -> None:
    document = compose("a: &x {b: 1}\nc: *x\n", "f")
    assert document.value_position(("c", "b")) == Position(1, 11, 1)


def test_own_keys_win_over_merged_ones_and_first_merged_over_later() -> None:
    text = "x: &x {a: 1, b: 1}\ny: &y {b: 2, c: 2}\nz: {<<: [*x, *y], a: 0}\n"
    assert compose(text, "f").data["z"] == {"a": 0, "b": 1, "c": 2}


def test_windows_line_ends() -> None:
    document = compose("a: 1\r\nb: 2\r\n", "f")
    assert document.value_position(("b",)) == Position(2, 4, 1)


def test_several_duplicate_keys_are_all_reported() -> None:
    assert codes("a: 1\na: 2\nb: {c: 1, c: 2}\n") == ["FDL008", "FDL008"]


def test_depth_up_to_the_limit_is_read() -> None:
    assert compose("[" * 50 + "]" * 50, "f").data
    assert codes("[" * 51 + "]" * 51) == ["FDL003"]


def test_depth_counts_through_aliases() -> None:
    text = "a: &a " + "[" * 40 + "]" * 40 + "\nb: " + "[" * 20 + "*a" + "]" * 20 + "\n"
    assert codes(text) == ["FDL003"]


BOMBS = {
    "aliases": "a: &a0 [x, x]\n" + "".join(f"k{i}: &a{i + 1} [*a{i}, *a{i}]\n" for i in range(100)),
    "merges": "x: &x {" + ", ".join(f"k{i}: 1" for i in range(9_000)) + "}\ny:\n" + "- <<: *x\n" * 50_000,
    "merge lists": "x: &x {"
    + ", ".join(f"k{i}: 1" for i in range(5_000))
    + "}\ny: {<<: ["
    + "*x, " * 50_000
    + "]}",
    "many values": "- a\n" * (MAX_VALUES + 1),
    "brackets": "[" * 500_000,
    "braces": "{" * 500_000,
    "dashes": "- " * 500_000,
    "questions": "? " * 500_000,
    "colons": "a: " * 300_000,
    "anchors": "&a " * 300_000,
    "flow keys": "[1," * 300_000,
    "commas": "[" + "," * 900_000 + "]",
}


@pytest.mark.parametrize("bomb", list(BOMBS.values()), ids=list(BOMBS))
def test_bombs_are_refused_quickly(bomb: str) -> None:
    start = time.perf_counter()
    assert codes(bomb)[0] in {"FDL003", "FDL004"}
    assert time.perf_counter() - start < 10


def test_very_many_empty_lines_are_refused_quickly() -> None:
    start = time.perf_counter()
    assert codes("\n" * 900_000) == ["FDL006"]
    assert time.perf_counter() - start < 5


def test_a_million_characters_in_one_value_are_just_long() -> None:
    start = time.perf_counter()
    assert compose("a: '" + "x" * 1_000_000 + "'", "f").data == {"a": "x" * 1_000_000}
    assert time.perf_counter() - start < 5


@pytest.mark.parametrize(
    "text",
    [
        "a: 1\nb: [x, {y: 'z'}]\nc: &q {d: yes}\ne: {<<: *q}\nf: |\n  text\n",
        "a: b: c",
        "a: 'open",
        "a:\n\tb: 1",
        "a: *nothing",
        "a: !!python/object:os.system x",
        "---\na: 1\n---\nb: 2",
        "",
    ],
)
def test_reads_the_same_without_libyaml(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def outcome() -> object:
        try:
            return compose(text, "f").data
        except FdlError as error:
            return [(found.code, found.line) for found in error.diagnostics]

    with_libyaml = outcome()
    monkeypatch.setattr(composer, "_LOADER", yaml.SafeLoader)
    assert outcome() == with_libyaml
