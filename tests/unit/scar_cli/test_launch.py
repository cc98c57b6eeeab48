"""Which function `scar-launch` runs, on which files, and with what event."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import unquote_plus

import pytest

from fdl_schemas.model import Container, Function, StorageEntry, Workflow
from scar_cli.errors import UserError
from scar_cli.launch import InputFile, choose, event_for, fits, input_files


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
            "Several functions .*split, other.*Say which one by -n",
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


class Pages:
    """Three pages of a listing, of which it is known how many were asked for."""

    def __init__(self) -> None:
        self.asked = 0
        self.prefixes: list[tuple[str, str]] = []

    def get_paginator(self, _operation: str) -> Pages:
        return self

    def paginate(self, *, Bucket: str, Prefix: str) -> Any:  # noqa: N803
        self.prefixes.append((Bucket, Prefix))
        for page in range(3):
            self.asked += 1
            yield {"Contents": [{"Key": f"input/{page}-{n}", "Size": 1, "ETag": '"e"'} for n in range(2)]}
        yield {}


def test_files_are_listed_page_by_page_as_they_are_needed() -> None:
    s3 = Pages()
    files = input_files(s3, SPLIT, bucket_suffix="mine")
    assert next(files) == InputFile("video-mine", "input/0-0", 1, "e")
    assert s3.asked == 1
    assert len(list(files)) == 5
    assert s3.prefixes == [("video-mine", "input/")]
