"""Which inputs count as done, by the names and times of what is in the output folder."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from fdl_schemas.model import StorageEntry
from scar_cli.launch.done import Done, stem_of
from scar_cli.launch.files import InputFile, Source

INPUTS = ["photo.jpg", "photo-small.jpg", "deep/a.b.txt", "plain", ".hidden", "report.1.pdf", "report.2.pdf"]


def done(*outputs: str, inputs: list[str] = INPUTS) -> list[str]:
    files = [InputFile("b", f"in/{name}", 1, "e", modified_ms=1000) for name in inputs]
    found = Done.of(files)
    for output in outputs:
        found.add_output(output, 1000)
    return [file.key.removeprefix("in/") for file in files if found.has(file)]


@pytest.mark.parametrize(
    "output", ["photo.jpg", "photo.png", "photo", "photo.jpg.json", "photo_001.png", "photo-thumb.jpg",
               "photo (1).jpg", "photo/frame.png", "2026/photo.png", "photo.tar.gz"]
)  # fmt: skip
def test_an_output_of_the_same_stem_makes_its_input_done(output: str) -> None:
    assert done(output) == ["photo.jpg"]


@pytest.mark.parametrize(
    "output", ["photo2.png", "my-photo.jpg", "Photo.jpg", "phot", "other/thing.txt", ".photo"]
)
def test_another_name_makes_nothing_done(output: str) -> None:
    assert done(output) == []


def test_the_input_with_the_longest_stem_has_the_output() -> None:
    assert done("photo-small.png") == ["photo-small.jpg"]
    assert done("photo-small.png", inputs=["photo.jpg"]) == ["photo.jpg"]
    assert done("report.2.json") == ["report.2.pdf"]


def test_inputs_in_folders_with_several_dots_without_or_with_a_leading_one() -> None:
    assert done("a.b.json", "plain.txt", ".hidden.txt") == ["deep/a.b.txt", "plain", ".hidden"]
    assert [stem_of(key) for key in ("in/a.b.txt", "in/plain", "in/.hidden")] == ["a.b", "plain", ".hidden"]


def test_an_output_that_is_older_than_its_input_does_not_count() -> None:
    file = InputFile("b", "in/photo.jpg", 1, "e", modified_ms=2000)
    found = Done.of([file])
    found.add_output("photo.png", 1999)
    assert not found.has(file)
    found.add_output("photo.txt", 2000)
    found.add_output("photo.png", 1)
    assert found.has(file)


def test_what_is_an_input_itself_or_a_marker_is_no_output() -> None:
    file = InputFile("b", "both/photo.jpg", 1, "e", modified_ms=1000)
    inputs = (StorageEntry("b", "both", suffixes=(".jpg",)),)

    def page(*keys: str) -> list[list[dict[str, Any]]]:
        return [[{"Key": key, "LastModified": datetime(2026, 1, 1, tzinfo=UTC)} for key in keys]]

    found = Done.of([file])
    found.add_outputs(page("both/photo.jpg", "both/photo/"), Source("b", "both/"), inputs)
    assert not found.has(file)
    found.add_outputs(page("both/photo.png"), Source("b", "both/"), inputs)
    assert found.has(file)
