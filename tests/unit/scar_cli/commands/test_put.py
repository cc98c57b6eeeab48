"""What `scar put` would send, and what it refuses before it sends anything."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from scar_cli.commands.put import parse_target, plan, readable_size
from scar_cli.errors import UserError


@pytest.mark.parametrize(
    ("target", "parsed"),
    [
        ("scar-video", ("scar-video", "")),
        ("scar-video/input", ("scar-video", "input")),
        ("s3://scar-video/input/deep/", ("scar-video", "input/deep")),
        ("scar-video//input", ("scar-video", "input")),
    ],
)
def test_a_target_is_a_bucket_and_a_folder(target: str, parsed: tuple[str, str]) -> None:
    assert parse_target(target) == parsed


@pytest.mark.parametrize("target", ["", "/input", "s3://"])
def test_a_target_without_a_bucket_is_refused(target: str) -> None:
    with pytest.raises(UserError, match="has no bucket name"):
        parse_target(target)


def test_a_file_keeps_its_base_name_and_a_folder_the_paths_below_it(tmp_path: Path) -> None:
    (tmp_path / "frames" / "deep").mkdir(parents=True)
    for name in ("a b+c.jpg", "frames/1 ü.jpg", "frames/deep/-rf", "frames/.hidden"):
        (tmp_path / name).write_text("12345")
    uploads = plan((tmp_path / "a b+c.jpg", tmp_path / "frames"), "input")
    assert [upload.key for upload in uploads] == [
        "input/a b+c.jpg",
        "input/.hidden",
        "input/1 ü.jpg",
        "input/deep/-rf",
    ]
    assert {upload.size for upload in uploads} == {5}
    assert [upload.key for upload in plan((tmp_path / "a b+c.jpg",), "")] == ["a b+c.jpg"]


def test_a_file_named_twice_is_sent_once(tmp_path: Path) -> None:
    file = tmp_path / "a"
    file.touch()
    assert len(plan((file, file, tmp_path), "input")) == 1


def test_two_files_for_one_key_are_refused(tmp_path: Path) -> None:
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "same.avi").write_text(folder)
    with pytest.raises(
        UserError, match=r"one/same\.avi and .*two/same\.avi have the same key, input/same\.avi"
    ):
        plan((tmp_path / "one" / "same.avi", tmp_path / "two"), "input")


def test_links_to_files_are_followed_and_links_to_folders_are_not(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "file").write_text("1")
    (tmp_path / "data" / "link").symlink_to("file")
    (tmp_path / "data" / "loop").symlink_to(tmp_path / "data")
    assert [upload.key for upload in plan((tmp_path / "data",), "")] == ["file", "link"]


def test_what_cannot_be_sent_is_named_before_anything_is_sent(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none\.avi does not exist\. Check the spelling"):
        plan((tmp_path / "none.avi",), "")
    (tmp_path / "dangling").symlink_to("nowhere")
    with pytest.raises(UserError, match="broken link"):
        plan((tmp_path,), "")
    (tmp_path / "dangling").unlink()
    with pytest.raises(UserError, match="contains no files"):
        plan((tmp_path,), "")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UserError, match="is not a regular file"):
        plan((tmp_path / "pipe",), "")
    Path(os.fsdecode(bytes(tmp_path) + b"/\xff.txt")).touch()
    (tmp_path / "pipe").unlink()
    with pytest.raises(UserError, match="not UTF-8"):
        plan((tmp_path,), "")


def test_a_key_that_is_too_long_for_s3_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    assert plan((tmp_path / "a",), "ü" * 511)[0].key.endswith("/a")
    with pytest.raises(UserError, match="1025 bytes long; S3 accepts 1024"):
        plan((tmp_path / "a",), "ü" * 511 + "x")


@pytest.mark.usefixtures("modes_count")
def test_an_unreadable_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "secret").touch(mode=0)
    with pytest.raises(UserError, match="permission denied"):
        plan((tmp_path,), "")


@pytest.mark.parametrize(
    ("size", "shown"),
    [(0, "0 bytes"), (999, "999 bytes"), (1000, "1.0 kB"), (3_400_000, "3.4 MB"), (2e9, "2.0 GB")],
)
def test_sizes_are_shown_for_people(size: int, shown: str) -> None:
    assert readable_size(size) == shown
