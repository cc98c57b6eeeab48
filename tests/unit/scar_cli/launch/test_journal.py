"""A journal tells exactly what was accepted, whatever moment it ends at."""

from __future__ import annotations

import json
import os
import resource
from pathlib import Path

import pytest

from scar_cli.errors import UserError
from scar_cli.launch.journal import Journal, read


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "journal.jsonl"


def test_what_was_about_to_be_sent_and_not_accepted_is_pending(path: Path) -> None:
    journal = Journal.create(path, {"function": "f"})
    assert list(journal.sending(0, ["a", "b ü\n"])) == [0, 1]
    assert list(journal.sending(1, ["c"])) == [2]
    journal.accepted(2)
    journal.accepted(0)
    journal.close()
    record = read(path)
    assert record.head["function"] == "f"
    assert [(one.number, one.source, one.key, one.perhaps_sent) for one in record.pending.values()] == [
        (1, 0, "b ü\n", True)
    ]
    assert (record.position, record.numbered, record.accepted) == ((1, "c"), 3, 2)
    assert not record.finished


def test_a_journal_cut_off_at_any_byte_loses_no_more_than_its_last_line(path: Path) -> None:
    journal = Journal.create(path, {"function": "f"})
    journal.sending(0, ["a", "b", "c"])
    for number in (2, 0):
        journal.accepted(number)
    journal.sending(0, [f"d{number}" for number in range(3)])
    journal.accepted(5)
    journal.close()
    whole = path.read_bytes()
    lines = whole.splitlines(keepends=True)
    for end in range(len(lines[0]), len(whole) + 1):
        path.write_bytes(whole[:end])
        complete = whole[:end].count(b"\n")
        assert read(path).accepted == sum(line[:1] != b"{" for line in lines[:complete])
        assert read(path).length == sum(map(len, lines[:complete]))


@pytest.mark.parametrize("missing", [1, 5, 30])
def test_a_torn_last_line_is_taken_away_before_the_journal_goes_on(path: Path, missing: int) -> None:
    journal = Journal.create(path, {})
    journal.sending(0, ["a", "b", "c"])
    journal.accepted(1)
    journal.sending(0, ["d", "e"])
    journal.close()
    path.write_bytes(path.read_bytes()[:-missing])
    journal = Journal.resume(path)
    journal.go_on([])
    journal.accepted(2)
    journal.sending(0, ["d"])
    journal.close()
    record = read(path)
    assert (record.position, record.accepted, sorted(record.pending)) == ((0, "d"), 2, [0, 3])


def test_of_a_long_torn_line_nothing_is_left(path: Path) -> None:
    journal = Journal.create(path, {})
    journal.sending(0, ["a"])
    journal.sending(0, [f"key-{number}" for number in range(1000)])
    journal.close()
    path.write_bytes(path.read_bytes()[:-5])
    journal = Journal.resume(path)
    journal.go_on([])
    journal.accepted(0)
    journal.close()
    assert path.read_bytes().endswith(b"\n0\n")
    assert (read(path).accepted, read(path).pending) == (1, {})


def test_what_was_certainly_not_sent_is_told_apart(path: Path) -> None:
    journal = Journal.create(path, {})
    journal.sending(0, ["a", "b", "c"])
    journal.accepted(1)
    journal.stopped("interrupted", [2])
    journal.close()
    journal = Journal.resume(path)
    assert [one.key for one in journal.go_on([]) if one.perhaps_sent] == ["a"]
    journal.close()
    told = [json.loads(line) for line in path.read_text().splitlines() if "resumed" in line]
    assert told[0]["perhaps_twice"] == [[0, "a"]]


def test_files_that_are_gone_are_no_longer_pending(path: Path) -> None:
    journal = Journal.create(path, {})
    journal.sending(0, ["a", "b"])
    journal.close()
    journal = Journal.resume(path)
    assert [one.key for one in journal.go_on([0])] == ["b"]
    journal.close()
    record = read(path)
    assert (list(record.pending), record.gone, record.numbered) == ([1], 1, 2)


def test_two_processes_cannot_write_to_one_journal(path: Path) -> None:
    journal = Journal.create(path, {})
    with pytest.raises(UserError, match="in use by another scar-launch"):
        Journal.resume(path)
    journal.close()
    journal = Journal.resume(path)
    with pytest.raises(UserError, match="in use by another scar-launch"):
        Journal.resume(path)
    journal.close()
    Journal.resume(path).close()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"),
        (b"hello\n", "not a journal of scar-launch"),
        (b"\xff\xfe\n", "not a journal of scar-launch"),
        (b'{"scar_launch": 99}\n', "not a journal of scar-launch"),
        (b"[]\n", "not a journal of scar-launch"),
        (b'{"scar_launch": 1}\nnonsense\n{"finished": ""}\n', "Line 2 of the journal .* cannot be read"),
        (b'{"scar_launch": 1}\n7\n{"finished": ""}\n', "Line 2 of the journal .* cannot be read"),
        (b'{"scar_launch": 1}\n{"send": ["a"], "from": 5, "source": 0}\n0\n', "Line 2 of the journal"),
    ],
)
def test_what_is_no_journal_or_damaged_is_said(path: Path, content: bytes, said: str) -> None:
    path.parent.mkdir()
    path.write_bytes(content)
    with pytest.raises(UserError, match=said):
        Journal.resume(path)


def test_a_tail_of_zeros_as_a_power_cut_leaves_it_is_ignored(path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b'{"scar_launch": 1}\n{"send": ["a"], "from": 0, "source": 0}\n' + b"\0" * 5000)
    journal = Journal.resume(path)
    assert list(journal.record.pending) == [0]
    journal.close()


def test_a_journal_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"cannot be read: no such file"):
        Journal.resume(tmp_path / "none")
    with pytest.raises(UserError, match=r"cannot be read: is a directory"):
        Journal.resume(tmp_path)


def test_a_full_disk_leaves_whole_lines(path: Path) -> None:
    journal = Journal.create(path, {})
    journal.sending(0, [f"key-{number}" for number in range(100)])
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    size = path.stat().st_size
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 5, hard))  # Python ignores SIGXFSZ
    try:
        journal.accepted(7)
        journal.accepted(8)
        with pytest.raises(UserError, match=r"cannot be written: file too large.*Free some space"):
            journal.accepted(99)
        assert path.stat().st_size == size + len("7\n8\n")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    journal.accepted(42)
    journal.close()
    record = read(path)
    assert record.accepted == 3
    assert {7, 8, 42}.isdisjoint(record.pending)
    assert 99 in record.pending


def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot be written: "):
        Journal.create(tmp_path / "file" / "journal", {})


def test_a_journal_that_cannot_be_begun_leaves_no_file(path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5, hard))
    try:
        with pytest.raises(UserError, match="cannot be written: file too large"):
            Journal.create(path, {})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(path.parent.iterdir()) == []


def test_reading_keeps_only_what_is_pending(path: Path) -> None:
    journal = Journal.create(path, {})
    for first in range(0, 3000, 30):
        for number in journal.sending(0, [f"{first + n:08}" for n in range(30)]):
            journal.accepted(number)
    journal.sending(0, ["last"])
    journal.finish()
    journal.close()
    record = read(path)
    assert (record.accepted, list(record.pending), record.finished) == (3000, [3000], True)
    assert path.stat().st_size < 3000 * 20


def test_events_that_are_perhaps_sent_twice_are_remembered_across_interruptions(path: Path) -> None:
    journal = Journal.create(path, {})
    journal.sending(0, ["a", "b", "c"])
    journal.perhaps_twice(1, "b")
    journal.accepted(1)
    journal.close()
    assert read(path).perhaps_twice == {1: "b"}
    journal = Journal.resume(path)
    journal.go_on([2])
    assert journal.record.perhaps_twice == {0: "a", 1: "b"}
    journal.perhaps_twice(0, "a")
    journal.accepted(0)
    journal.finish()
    journal.close()
    record = read(path)
    assert (record.perhaps_twice, record.pending, record.finished) == ({0: "a", 1: "b"}, {}, True)


def test_a_journal_is_nobody_elses_business(path: Path) -> None:
    old = os.umask(0o022)
    try:
        Journal.create(path, {}).close()
    finally:
        os.umask(old)
    assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    path.chmod(0o644)  # as an earlier version has left it
    Journal.resume(path).close()
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_journal_of_the_same_name_is_not_overwritten(path: Path) -> None:
    Journal.create(path, {"function": "first"}).close()
    with pytest.raises(UserError, match="cannot be written: file exists"):
        Journal.create(path, {"function": "second"})
    assert read(path).head["function"] == "first"


def test_what_comes_after_the_end_is_not_noted(path: Path) -> None:
    """A sender may still get an answer when the launch is being interrupted."""
    journal = Journal.create(path, {})
    journal.sending(0, ["a", "b"])
    journal.close()
    journal.accepted(0)
    journal.perhaps_twice(1, "b")
    record = read(path)
    assert (record.accepted, list(record.pending), record.perhaps_twice) == (0, [0, 1], {})
