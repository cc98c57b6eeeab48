"""The progress of a launch, read from the journal that it is writing."""

from __future__ import annotations

from pathlib import Path

import pytest

from scar_cli.errors import UserError
from scar_cli.launch.journal import Journal
from scar_cli.launch.progress import LaunchProgress

HEAD = {
    "function": "f",
    "options": {"stage": None},
    "since_ms": 5,
    "sources": [["bucket", "in/"], ["other", ""]],
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.jsonl"


def test_a_launch_is_followed_until_it_is_over(path: Path) -> None:
    journal = Journal.create(path, HEAD)
    progress = LaunchProgress.of(path)
    assert (progress.function, progress.since_ms, progress.files, progress.is_over) == ("f", 5, 0, False)
    journal.sending(0, ["in/a", "in/b"])
    journal.accepted(1)
    journal.perhaps_twice(0, "in/a")
    progress.read_on()
    assert progress.files == 2
    journal.submitted(journal.submitting(1, ["c", "d", "e"], "s3://events", 9), "job")
    journal.finish()
    progress.read_on()
    assert (progress.files, progress.is_over) == (5, True)
    progress.read_on()
    assert progress.files == 5, "each line counts once"


def test_a_resumed_launch_goes_on_without_files_that_were_deleted(path: Path) -> None:
    journal = Journal.create(path, HEAD)
    journal.sending(0, ["in/a", "in/b"])
    journal.stopped("interrupted", [0])
    journal.close()
    progress = LaunchProgress.of(path)
    assert (progress.files, progress.is_over) == (2, True)
    Journal.resume(path).go_on([1])
    progress.read_on()
    assert (progress.files, progress.is_over) == (1, False)


def test_an_incomplete_last_line_is_read_when_it_is_complete(path: Path) -> None:
    Journal.create(path, HEAD).sending(0, ["in/a", "in/b"])
    whole = path.read_bytes()
    path.write_bytes(whole[:-5])
    progress = LaunchProgress.of(path)
    assert progress.files == 0
    path.write_bytes(whole)
    progress.read_on()
    assert progress.files == 2


def test_a_file_belongs_to_a_launch_if_it_is_in_its_folders(path: Path) -> None:
    Journal.create(path, HEAD)
    has = LaunchProgress.of(path).has
    assert has("s3://bucket/in/a.txt")
    assert has("s3://other/a.txt")
    assert not has("s3://bucket/input/a.txt")


@pytest.mark.parametrize("content", [b"not JSON\n", b'{"send": 1}\n', b'{"resumed": ""}\n', b"[]\n"])
def test_a_damaged_journal_is_an_error(path: Path, content: bytes) -> None:
    Journal.create(path, HEAD).close()
    path.write_bytes(path.read_bytes() + content)
    with pytest.raises(UserError, match=f"^The journal {path} cannot be read. scar-launch prints"):
        LaunchProgress.of(path)


def test_another_file_is_not_a_journal(path: Path) -> None:
    path.write_text("functions:\n")
    with pytest.raises(UserError, match="is not a journal of scar-launch"):
        LaunchProgress.of(path)
