"""Which function triggers which."""

from __future__ import annotations

import time

import pytest

from fdl_schemas.build import storage_entry
from fdl_schemas.graph import edges, loops, overlapping_inputs
from fdl_schemas.model import Container, Function, QueueSettings, StorageEntry


def entry(path: str, suffix: str = "", prefix: str = "", provider: str = "s3") -> StorageEntry:
    filters = {"suffix": suffix.split(), "prefix": prefix.split()}
    return storage_entry({"path": path, "storage_provider": provider, **filters})


def function(name: str, reads: list[StorageEntry] | str, writes: list[StorageEntry] | str) -> Function:
    return Function(
        name=name,
        container=Container(image="a"),
        inputs=tuple([entry(reads)] if isinstance(reads, str) else reads),
        outputs=tuple([entry(writes)] if isinstance(writes, str) else writes),
    )


@pytest.mark.parametrize(
    ("written", "read", "triggers"),
    [
        ("b/x", "b/x", True),
        ("b/x/y", "b/x", True),  # inside the folder that is read
        ("b/x", "b", True),  # the whole bucket is read
        ("b", "b", True),
        ("b", "b/x", False),  # may, with a sub-folder, but not surely
        ("b/xy", "b/x", False),  # no folder inside another, only the same letters
        ("b/x", "c/x", False),
        ("b/y", "b/x", False),
    ],
)
def test_an_edge_is_an_output_in_a_folder_that_is_read(written: str, read: str, triggers: bool) -> None:
    steps = [function("writer", [], written), function("reader", read, [])]
    assert edges(steps) == ((("writer", "reader"),) if triggers else ())


@pytest.mark.parametrize(
    ("written", "read", "triggers"),
    [
        ({"suffix": ".jpg"}, {"suffix": ".png"}, False),
        ({"suffix": ".jpg"}, {"suffix": "jpg"}, True),
        ({"suffix": "jpg"}, {"suffix": "-small.jpg .png"}, True),
        ({"suffix": ".jpg .png"}, {"suffix": ".png"}, True),
        ({"prefix": "a-"}, {"prefix": "b-"}, False),
        ({"prefix": "a-"}, {"prefix": "a-b"}, True),
        ({"prefix": "a-"}, {"suffix": ".png"}, True),
        ({"suffix": ".jpg"}, {}, True),
        ({}, {"suffix": ".jpg"}, True),
        ({"suffix": ".jpg", "prefix": "a"}, {"suffix": ".jpg", "prefix": "b"}, False),
    ],
)
def test_filters_cut_an_edge_only_where_no_name_passes_both(
    written: dict[str, str], read: dict[str, str], triggers: bool
) -> None:
    steps = [function("w", [], [entry("b/x", **written)]), function("r", [entry("b/x", **read)], [])]
    assert bool(edges(steps)) is triggers


def test_accounts_of_s3_are_one_world_and_other_servers_are_not() -> None:
    steps = [
        function("w", [], [entry("b/x", provider="s3.other"), entry("c/x", provider="minio.lab")]),
        function("r", [entry("b/x"), entry("c/x")], []),
        function("service", [entry("c/x", provider="minio.lab")], []),
    ]
    assert edges(steps) == (("w", "r"), ("w", "service"))


def test_each_pair_once() -> None:
    steps = [
        function("w", [], [entry("b/x"), entry("b/x/y")]),
        function("r", [entry("b/x"), entry("b")], []),
    ]
    assert edges(steps) == (("w", "r"),)


def test_loop_of_one_says_which_output_closes_it() -> None:
    (loop,) = loops([function("f", "b/in", [entry("b/out"), entry("b/in")])])
    assert loop.path == ((0, 1),)
    assert str(loop) == "f -> b/in -> f"
    assert loop.sure


def test_shortest_loop_is_shown() -> None:
    steps = [
        function("a", "b/1", [entry("b/2"), entry("b/4")]),
        function("b", "b/2", "b/3"),
        function("c", "b/3", "b/4"),
        function("d", "b/4", "b/1"),
    ]
    (loop,) = loops(steps)
    assert str(loop) == "a -> b/4 -> d -> b/1 -> a"


def test_two_loops_apart_are_two() -> None:
    steps = [function("a", "b/1", "b/1"), function("c", "b/2", "b/3"), function("d", "b/3", "b/2")]
    assert [str(loop) for loop in loops(steps)] == ["a -> b/1 -> a", "c -> b/3 -> d -> b/2 -> c"]


def test_output_above_the_input_is_a_possible_loop() -> None:
    (loop,) = loops([function("f", "b/in", "b")])
    assert not loop.sure
    assert str(loop) == "f -> b -> f"


def test_sure_loop_is_not_reported_again_as_possible() -> None:
    (loop,) = loops([function("f", "b/in", [entry("b"), entry("b/in")])])
    assert loop.sure


def test_filters_that_cannot_meet_make_no_loop() -> None:
    assert loops([function("f", [entry("b", suffix=".mp4")], [entry("b", suffix=".jpg")])]) == ()


def test_pipeline_over_one_bucket_has_no_loop() -> None:
    assert loops([function("a", "b/1", "b/2"), function("b", "b/2", "b/3")]) == ()


def test_chain_of_five_hundred_closes_into_one_loop() -> None:
    steps = [function(f"f{i}", f"b/{i}", f"b/{(i + 1) % 500}") for i in range(500)]
    (loop,) = loops(steps)
    assert len(loop.path) == 500
    assert loop.path[-1][0] == 499


def test_everybody_reading_and_writing_one_folder_stays_linear() -> None:
    steps = [function(f"f{i}", "b/x", "b/x") for i in range(20_000)]
    start = time.perf_counter()
    (loop,) = loops(steps)
    assert str(loop) == "f0 -> b/x -> f0"
    assert time.perf_counter() - start < 5


def test_long_chain_needs_no_recursion() -> None:
    steps = [function(f"f{i}", f"b/{i}", f"b/{i + 1}") for i in range(3_000)]
    assert loops(steps) == ()


def test_overlapping_inputs() -> None:
    steps = [
        function("a", [entry("b/in"), entry("c/1")], []),
        function("b", [entry("b/inner"), entry("c/2")], []),
        function("c", [entry("b/in/x/y"), entry("c/1")], []),
    ]
    assert overlapping_inputs(steps) == (((0, 0), (2, 0)), ((0, 1), (2, 1)))


def test_whole_bucket_overlaps_all_its_folders() -> None:
    steps = [function("a", "b/1", []), function("b", "b/2", []), function("c", "b", [])]
    assert {frozenset(pair) for pair in overlapping_inputs(steps)} == {
        frozenset({(0, 0), (2, 0)}),
        frozenset({(1, 0), (2, 0)}),
    }


@pytest.mark.parametrize(
    "fed",
    [
        StorageEntry("b", "in", topic_arn="arn:aws:sns:us-east-1:123456789012:t"),
        StorageEntry("b", "in", queue=QueueSettings(2, arn="arn:aws:sqs:us-east-1:123456789012:q")),
    ],
)
def test_input_fed_from_elsewhere_overlaps_nothing_but_can_be_triggered(fed: StorageEntry) -> None:
    steps = [function("a", [fed], []), function("b", "b/in", []), function("c", [], "b/in")]
    assert overlapping_inputs(steps) == ()
    assert edges(steps) == (("c", "a"), ("c", "b"))
