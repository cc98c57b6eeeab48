"""What is committed together, what a full disk does, and what comes back."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from local_cloud.state.store import Store, not_saved


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state.db"


def on_disk(path: Path, kind: str) -> list[tuple[str, str]]:
    """What another process would find now."""
    program = (
        "import sqlite3, sys, json; "
        "found = 'SELECT key, value FROM item WHERE kind = ? ORDER BY rowid'; "
        "print(json.dumps(sqlite3.connect(sys.argv[1]).execute(found, sys.argv[2:]).fetchall()))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(path), kind], capture_output=True, text=True, check=True
    )
    return [(key, value) for key, value in json.loads(done.stdout)]


def test_a_change_is_on_disk_when_the_call_returns(path: Path) -> None:
    store = Store(path)
    store.put("event", "1", "first")
    store.put("event", "2", "second")
    store.put("event", "1", "changed")
    assert on_disk(path, "event") == [("1", "changed"), ("2", "second")], "a change keeps its place"
    store.remove("event", "1")
    assert on_disk(path, "event") == [("2", "second")]


def test_what_a_transaction_changes_is_committed_together(path: Path) -> None:
    store = Store(path)
    store.put("event", "1", "fails")
    with store.transaction():
        store.put("message", "queue 1", "what failed")
        with store.transaction():
            store.remove("event", "1")
        assert (on_disk(path, "event"), on_disk(path, "message")) == ([("1", "fails")], [])
    assert (on_disk(path, "event"), on_disk(path, "message")) == ([], [("queue 1", "what failed")])


def test_what_was_changed_before_an_error_is_kept_as_it_is_in_memory(path: Path) -> None:
    store = Store(path)
    with pytest.raises(ValueError, match="half way"), store.transaction():
        store.put("job", "1", "RUNNING")
        raise ValueError("half way")
    assert on_disk(path, "job") == [("1", "RUNNING")]


def test_nobody_else_sees_the_middle_of_a_transaction(path: Path) -> None:
    store = Store(path)
    seen: list[bool] = []
    with store.transaction():
        other = threading.Thread(target=lambda: seen.append(store.lock.acquire(timeout=0.05)))
        other.start()
        other.join()
    assert seen == [False]


def test_a_full_disk_is_told_to_the_request_and_the_change_is_written_later(path: Path) -> None:
    store = Store(path)
    store.put("event", "0", "before")
    assert store._database is not None
    (pages,) = store._database.execute("PRAGMA page_count").fetchone()
    store._database.execute(f"PRAGMA max_page_count = {pages + 1}")
    failed: list[str] = []
    token = not_saved.set(failed)
    store.put("event", "1", "x" * 50_000)
    not_saved.reset(token)
    assert "full" in failed[0]
    assert store.owes
    assert on_disk(path, "event") == [("0", "before")]
    store._database.execute("PRAGMA max_page_count = 1000000")
    store.put("event", "2", "there is room")
    assert not store.owes
    assert [key for key, _value in on_disk(path, "event")] == ["0", "1", "2"]


def test_items_below_a_prefix_are_forgotten_and_no_others(path: Path) -> None:
    store = Store(path)
    for key in ("a:b:1", "a:b:2", "a:bc:1", "a:c:1"):
        store.put("log", key, "")
    store.put("job", "a:b:1", "")
    store.remove_below("log", "a:b:")
    assert [key for key, _value in store.items("log")] == ["a:bc:1", "a:c:1"]
    assert store.items("job") == [("a:b:1", "")]
    store.remove_below("log", "")
    assert store.items("log") == []


def test_keys_sort_as_they_were_made_also_after_a_restart(path: Path) -> None:
    keys = [Store(path).new_key() for _ in range(3)]
    assert keys == sorted(set(keys))


def test_nothing_is_written_after_the_end(path: Path) -> None:
    store = Store(path)
    store.put("event", "1", "runs")
    store.close()
    store.remove("event", "1")
    assert Store(path).items("event") == [("1", "runs")]


def test_the_log_is_taken_over_and_does_not_grow_without_end(path: Path) -> None:
    store = Store(path)
    wal = path.with_name(path.name + "-wal")
    sizes = []
    for _ in range(3):
        for number in range(200):
            store.put("event", str(number), "x" * 1000)
        store.checkpoint()
        sizes.append(wal.stat().st_size)
    assert sizes[2] <= sizes[0] * 1.5
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_damaged_database_is_an_error(path: Path) -> None:
    path.write_bytes(b"this is no database" * 1000)
    with pytest.raises(sqlite3.DatabaseError):
        Store(path)
