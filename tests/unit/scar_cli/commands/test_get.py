"""Where downloaded files may land, whatever their keys say, and what is left of those that fail."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from scar_cli.aws.transfers import Download, UnsafeKeyError, receive, safe_path


@pytest.mark.parametrize(
    "below", ["../x", "a/../../x", "/etc/passwd", "a//b", "", ".", "..", "a/.", "a\0b", "a/"]
)
def test_a_key_that_names_no_file_below_the_target_is_refused(tmp_path: Path, below: str) -> None:
    with pytest.raises(UnsafeKeyError):
        safe_path(tmp_path / "target", below)


@pytest.mark.parametrize("below", ["a b+c.jpg", "ü/ñ.png", "-rf", "..x/y..", "new\nline", "~root", "C:\\x"])
def test_odd_names_that_stay_inside_are_kept_as_they_are(tmp_path: Path, below: str) -> None:
    assert safe_path(tmp_path, below) == tmp_path / below


def test_a_link_that_leads_out_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "target").mkdir()
    (tmp_path / "outside").mkdir()
    (tmp_path / "target" / "link").symlink_to(tmp_path / "outside")
    with pytest.raises(UnsafeKeyError, match="link"):
        safe_path(tmp_path / "target", "link/x")


def test_a_folder_is_not_replaced_by_a_file(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    with pytest.raises(UnsafeKeyError, match="folder"):
        safe_path(tmp_path, "x")


class Bucket:
    """S3's transfer of a file, which looks at the target in the middle of it."""

    def __init__(self, target: Path, error: OSError | None = None) -> None:
        self.target = target
        self.error = error
        self.meanwhile: list[str] = []

    def download_file(self, _bucket: str, key: str, name: str, **_more: Any) -> None:
        Path(name).write_text(f"half of {key}")
        self.meanwhile = [path.name for path in self.target.iterdir() if not path.name.startswith(".")]
        if self.error is not None:
            raise self.error
        Path(name).write_text(key)


def fetched(bucket: Bucket, *keys: str) -> tuple[list[Download], dict[Download, str]]:
    downloads = [Download(key, key, 1) for key in keys]
    return receive(
        bucket, "b", downloads, place=lambda one: safe_path(bucket.target, one.below), concurrency=1
    )


def test_a_file_appears_when_all_of_it_is_there(tmp_path: Path) -> None:
    bucket = Bucket(tmp_path)
    done, failed = fetched(bucket, "a")
    assert (len(done), failed, bucket.meanwhile) == (1, {}, [])
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"a": "a"}


def test_a_file_that_fails_leaves_nothing_and_stops_no_other(tmp_path: Path) -> None:
    bucket = Bucket(tmp_path, OSError(28, "No space left on device"))
    done, failed = fetched(bucket, "a", "../b")
    assert done == []
    assert {one.key: reason for one, reason in failed.items()} == {
        "a": "no space left on device",
        "../b": "its key is not a path of a file below a folder",
    }
    assert list(tmp_path.iterdir()) == []


def test_files_have_the_mode_that_the_umask_leaves(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        fetched(Bucket(tmp_path), "a")
    finally:
        os.umask(before)
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o640
