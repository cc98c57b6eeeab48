"""What a rule of EventBridge lets through, and how long it may become."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from fdl_schemas.model import Container, Function, StorageEntry
from scar_constructs.storage.event_rules import key_patterns, wildcards_fit

LONG = "x" * 880


def test_suffixes_and_folders_are_patterns() -> None:
    assert key_patterns([StorageEntry("b", "in", suffixes=(".a", ".b")), StorageEntry("b", "other")]) == [
        {"wildcard": "in/*.a"},
        {"wildcard": "in/*.b"},
        {"prefix": "other/"},
    ]


def test_suffixes_are_left_to_the_runner_where_the_folder_is_long() -> None:
    assert key_patterns([StorageEntry("b", LONG, suffixes=(".a", ".b", ".c"))]) == [{"prefix": f"{LONG}/"}]


@pytest.mark.parametrize("count", [3, 40, 400])
def test_ends_of_folders_are_left_to_the_runner_where_there_are_many(count: int) -> None:
    entries = [StorageEntry("b", f"{number:03}{LONG}") for number in range(count)]
    found = key_patterns(entries)
    assert len(json.dumps(found)) <= 1800
    assert all(
        not found or any(entry.key_prefix.startswith(pattern["prefix"]) for pattern in found)
        for entry in entries
    )


def test_whole_bucket_needs_no_pattern() -> None:
    assert key_patterns([StorageEntry("b", LONG), StorageEntry("b")]) == []


def test_without_wildcards_the_runner_checks_suffixes() -> None:
    """AWS allows 30 rules with wildcards in a region."""
    entry = StorageEntry("b", "in", suffixes=(".jpg",))
    assert key_patterns([entry]) == [{"wildcard": "in/*.jpg"}]
    assert key_patterns([entry], wildcards=False) == [{"prefix": "in/"}]
    assert key_patterns([StorageEntry("b", suffixes=(".jpg",))], wildcards=False) == [{"suffix": ".jpg"}]


def test_many_functions_with_suffixes_have_no_wildcards() -> None:
    def overlapping(count: int) -> list[Function]:
        entry = StorageEntry("b", "in", suffixes=(".jpg",))
        image = Container(image="alpine")
        return [Function(name=f"f{number}", container=image, inputs=(entry,)) for number in range(count)]

    assert wildcards_fit(overlapping(15))
    assert not wildcards_fit(overlapping(16))
    assert wildcards_fit([replace(one, inputs=(StorageEntry("b", "in"),)) for one in overlapping(16)])
