"""Which function `scar-launch` runs, on which files, and with what event."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote_plus

import pytest

from fdl_schemas.model import Container, Function, StorageEntry, Workflow
from scar_cli.errors import UserError
from scar_cli.launch.files import (
    InputFile,
    Listing,
    Selection,
    Source,
    entries_of,
    event_for,
    fits,
    sources_of,
)
from scar_cli.launch.plan import choose


def function(name: str, source: str | None, target: str | None = None) -> Function:
    def entries(path: str | None) -> tuple[StorageEntry, ...]:
        if path is None:
            return ()
        bucket, _slash, folder = path.partition("/")
        return (StorageEntry(bucket, folder),)

    return Function(name, Container(image="any"), inputs=entries(source), outputs=entries(target))


def workflow(*functions: Function) -> Workflow:
    return Workflow(Path("/w.yaml"), functions)


SPLIT, DETECT = (
    function("split", "video/input", "video/images"),
    function("detect", "video/images", "video/output"),
)


def test_the_function_that_no_other_one_feeds_is_run() -> None:
    assert choose(workflow(DETECT, SPLIT), None) is SPLIT
    assert choose(workflow(DETECT, SPLIT), "detect") is DETECT


@pytest.mark.parametrize(
    ("functions", "name", "said"),
    [
        (
            (SPLIT, function("other", "elsewhere/in")),
            None,
            "Several functions .*split, other.*Choose one with -n",
        ),
        ((SPLIT,), "none", "There is no function none.*: split"),
        ((SPLIT, function("api", None)), "api", "has no input on S3.*: split"),
        ((function("api", None),), None, "No function in the file has an input on S3"),
    ],
)
def test_a_choice_that_is_not_clear_is_refused(functions: Any, name: str | None, said: str) -> None:
    with pytest.raises(UserError, match=said):
        choose(workflow(*functions), name)


@pytest.mark.parametrize(
    ("key", "taken"),
    [
        ("input/a.jpg", True),
        ("input/deep/a.png", True),
        ("input/", False),
        ("input/deep/", False),
        ("input/a.txt", False),
        ("input/b.jpg", False),
    ],
)
def test_folder_markers_and_what_the_filters_stop_are_left_out(key: str, taken: bool) -> None:
    assert fits(StorageEntry("b", "input", prefixes=("a",), suffixes=(".jpg", ".png")), key) is taken


@pytest.mark.parametrize(
    "key", ["in/a b+c.jpg", "in/ü/ñ.png", "in/100%.txt", "in/x'\"$(id).txt", "in/-rf", "in/~*"]
)
def test_the_key_in_the_event_is_encoded_as_s3_does(key: str) -> None:
    (record,) = event_for(InputFile("b", key, 7, "etag"), "eu-west-1")["Records"]
    encoded = record["s3"]["object"]["key"]
    assert unquote_plus(encoded) == key
    assert encoded.startswith("in/")
    assert " " not in encoded
    assert encoded.isascii()
    assert (record["awsRegion"], record["s3"]["bucket"]["name"], record["s3"]["object"]["size"]) == (
        "eu-west-1",
        "b",
        7,
    )


def test_functions_with_once_distinguish_launches() -> None:
    events = [event_for(InputFile("b", "in/a", 7, "etag"), "eu-west-1", launch) for launch in ("x", "y")]
    assert [event["Records"][0]["s3"]["object"]["sequencer"] for event in events] == ["x", "y"]


class Bucket:
    """Three pages of a listing, of which it is known how many were asked for."""

    def __init__(self) -> None:
        self.asked: list[dict[str, str]] = []

    def list_objects_v2(self, **request: str) -> dict[str, Any]:
        self.asked.append(request)
        page = len(self.asked)
        found = [
            {
                "Key": f"input/{page}-{n}",
                "Size": n,
                "ETag": '"e"',
                "LastModified": datetime(2026, 1, page, tzinfo=UTC),
            }
            for n in range(3)
        ]
        return {"Contents": found, "IsTruncated": page < 3}


def test_files_are_listed_page_by_page_as_they_are_needed() -> None:
    s3 = Bucket()
    entries = entries_of(SPLIT.inputs, "mine")
    listing = Listing(s3, Selection(sources_of(entries), entries))
    pages = listing.pages()
    first = next(pages)
    assert [(file.bucket, file.key, file.size) for file in first] == [
        ("video-mine", "input/1-1", 1),
        ("video-mine", "input/1-2", 2),
    ]
    assert s3.asked == [{"Bucket": "video-mine", "Prefix": "input/"}]
    assert len([file for page in pages for file in page]) == 4
    assert [request.get("StartAfter") for request in s3.asked] == [None, "input/1-2", "input/2-2"]
    assert listing.left_out.empty == 3


def test_pattern_and_age_choose_among_the_files() -> None:
    entries = entries_of(SPLIT.inputs)
    since = datetime(2026, 1, 2, tzinfo=UTC)
    selection = Selection(
        sources_of(entries), entries, match="[12]-*", newer_than_ms=int(since.timestamp() * 1000)
    )
    files = [file.key for page in Listing(Bucket(), selection).pages() for file in page]
    assert files == ["input/2-1", "input/2-2"]


def test_a_file_in_two_overlapping_inputs_is_listed_once() -> None:
    s3 = Bucket()
    twice = Function(
        "twice", Container(image="any"), inputs=(StorageEntry("v", "input"), StorageEntry("v", ""))
    )
    entries = entries_of(twice.inputs)
    files = [
        file.key for page in Listing(s3, Selection(sources_of(entries), entries)).pages() for file in page
    ]
    assert len(files) == len(set(files))


@pytest.mark.parametrize("path", ["video/inputs", "video", "other/input"])
def test_a_folder_outside_of_the_inputs_is_refused(path: str) -> None:
    with pytest.raises(UserError, match=r"not in an input of the function \(video/input\)"):
        sources_of(entries_of(SPLIT.inputs), path)


def test_a_folder_inside_of_an_input_may_be_chosen() -> None:
    assert sources_of(entries_of(SPLIT.inputs), "s3://video/input/holiday") == (
        Source("video", "input/holiday/"),
    )
