"""The journal of a launch: which events were accepted, so that an interrupted launch can be resumed.

A text file of JSON lines, to which lines are only appended:

    {"scar_launch": 1, "function": "thumbnails", …}      the head: what is launched
    {"send": ["in/a.jpg", "in/b.jpg"], "from": 0, …}     events 0 and 1 are about to be sent
    1                                                    event 1 was accepted
    {"perhaps_twice": [[1, "in/b.jpg"]]}                 event 1 is sent again: its response was lost
    {"stopped": "…", "not_sent": [0]}                    the launch ended early, event 0 was not sent
    {"resumed": "…", "perhaps_twice": [[0, "in/a.jpg"]]} resumed; event 0 may have been accepted before
    {"finished": "…", "accepted": 2}

A function in `batch` mode gets its events in array jobs (`arrays.py`). Then the lines are:

    {"send": […], "from": 0, "array": {"uri": "s3://…", "width": 512}, …}    the events are stored
    {"job": "…", "first": 0, "last": 9999}                                   Batch accepted them as this job

Files are sent in the order of the listing: all files up to the last key that was about to be sent are done,
except for the few events without an acceptance. Each line is in the page cache of the system before the
launch continues: only a power failure can lose the last seconds, whose files are sent again.
"""

from __future__ import annotations

import fcntl
import json
import os
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

from scar_cli.errors import UserError

VERSION = 1
_LONGEST_LINE = 64 * 1024**2


@dataclass(frozen=True)
class Pending:
    """An event that was about to be sent, without a recorded acceptance."""

    number: int
    source: int
    """Index of the listed folder of its file."""
    key: str
    perhaps_sent: bool = True
    """It may have been accepted without a record."""


@dataclass(frozen=True)
class Array:
    """Events that are stored in one object, for one job of Batch."""

    first: int
    """Number of its first event."""
    count: int
    uri: str
    width: int
    """Bytes of each event, including a line feed."""


@dataclass
class Record:
    """The content of a journal."""

    head: dict[str, Any]
    pending: dict[int, Pending] = field(default_factory=dict)
    position: tuple[int, str] | None = None
    """Folder and key up to which files are done; None: nothing was sent yet."""
    array: Array | None = None
    """The array job whose events are pending."""
    numbered: int = 0
    """Events so far: the number of the next one."""
    accepted: int = 0
    gone: int = 0
    """Pending files that were deleted before the launch was resumed."""
    perhaps_twice: dict[int, str] = field(default_factory=dict)
    """Keys of the events that were sent again although they may have been accepted."""
    finished: bool = False
    length: int = 0
    """Bytes up to the end of the last complete line."""


class Journal:
    """An open journal, locked against other processes. Thread-safe."""

    def __init__(self, path: Path, file: BinaryIO, record: Record) -> None:
        self.path = path
        self.record = record
        self._file = file
        self._length = record.length
        self._lock = threading.Lock()
        self._closed = False

    @classmethod
    def create(cls, path: Path, head: dict[str, Any]) -> Journal:
        """Create a new journal, and its folder.

        Raises:
            UserError: it cannot be written.
        """
        head = {"scar_launch": VERSION, "started": _now(), **head}
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            # Names of files and folders are private.
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            file = os.fdopen(descriptor, "wb", buffering=0)
        except OSError as error:
            raise _unwritable(path, error) from error
        fcntl.flock(file, fcntl.LOCK_EX)
        journal = cls(path, file, Record(head))
        try:
            journal._write(_line(head))
        except UserError:
            journal.remove()
            raise
        os.fsync(file.fileno())
        return journal

    @classmethod
    def resume(cls, path: Path) -> Journal:
        """Open the journal of an earlier launch to resume it.

        An incomplete last line, as a killed process may leave it, is removed.

        Raises:
            UserError: it does not exist, is in use, or is not a journal.
        """
        try:
            file = path.open("r+b", buffering=0)
        except OSError as error:
            raise _unreadable(path, error) from error
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            file.close()
            raise UserError(
                f"The journal {path} is in use by another scar-launch", "Wait until it ends, or interrupt it"
            ) from error
        with suppress(OSError):  # of an earlier version; not possible on some file systems
            os.fchmod(file.fileno(), 0o600)
        record = read(path)
        os.ftruncate(file.fileno(), record.length)
        file.seek(record.length)
        return cls(path, file, record)

    def go_on(self, gone: Sequence[int]) -> list[Pending]:
        """Record that the launch is resumed; `gone` are pending events whose files were deleted.

        Returns the events to send again.
        """
        for number in gone:
            del self.record.pending[number]
        self.record.gone += len(gone)
        left = list(self.record.pending.values())
        twice = {one.number: one.key for one in left if one.perhaps_sent}
        self._write(_line({"resumed": _now(), "perhaps_twice": list(twice.items()), "gone": list(gone)}))
        self.record.perhaps_twice |= twice
        return left

    def sending(self, source: int, keys: Sequence[str]) -> range:
        """Record that events for the next files are about to be sent; returns their numbers."""
        with self._lock:
            first = self.record.numbered
            self.record.numbered += len(keys)
            self._append(_line({"send": list(keys), "from": first, "source": source}))
        return range(first, first + len(keys))

    def submitting(self, source: int, keys: Sequence[str], uri: str, width: int) -> Array:
        """Record that an array job for the next files is about to be submitted; its events are stored."""
        array = Array(self.record.numbered, len(keys), uri, width)
        content = {"send": list(keys), "from": array.first, "array": {"uri": uri, "width": width}}
        self._write(_line({**content, "source": source}))
        self.record.numbered += array.count
        self.record.array = array
        return array

    def submitted(self, array: Array, job_id: str) -> None:
        """Record that Batch accepted an array job."""
        self._write(_line({"job": job_id, "first": array.first, "last": array.first + array.count - 1}))
        self.record.array = None
        self.record.accepted += array.count

    def accepted(self, number: int) -> None:
        """Record that an event was accepted."""
        with self._lock:
            if not self._closed:
                self._append(b"%d\n" % number)
                self.record.accepted += 1

    def perhaps_twice(self, number: int, key: str) -> None:
        """Record that an event is about to be sent again although it may have been accepted."""
        with self._lock:
            if not self._closed:
                self._append(_line({"perhaps_twice": [[number, key]]}))
                self.record.perhaps_twice[number] = key

    def stopped(self, reason: str, not_sent: Iterable[int]) -> None:
        """Record why the launch ends early, and which events were not being sent at the time."""
        self._write(_line({"stopped": _now(), "reason": reason, "not_sent": sorted(not_sent)}))

    def finish(self) -> None:
        """Record that all events were accepted."""
        self._write(_line({"finished": _now(), "accepted": self.record.accepted}))
        self.record.finished = True

    def close(self) -> None:
        """Write everything to disk and close the file; later acceptances are not recorded."""
        with self._lock:
            if not self._closed:
                self._closed = True
                with suppress(OSError):  # only a power failure would lose data
                    os.fsync(self._file.fileno())
                self._file.close()

    def remove(self) -> None:
        """Delete the journal: nothing was accepted."""
        self.close()
        self.path.unlink(missing_ok=True)

    def _write(self, line: bytes) -> None:
        with self._lock:
            self._append(line)

    def _append(self, line: bytes) -> None:
        """Append one line, completely or not at all: half a number would be that of another event."""
        try:
            written = self._file.write(line)
            if written != len(line):
                written += self._file.write(line[written:])  # raises the reason, such as a full disk
            if written != len(line):
                raise OSError(None, "only a part of a line could be written")  # noqa: TRY301 (the same end)
        except OSError as error:
            os.ftruncate(self._file.fileno(), self._length)
            self._file.seek(self._length)
            raise _unwritable(self.path, error) from error
        self._length += len(line)


def accepted_files(path: Path) -> Iterator[tuple[int, str]]:
    """Folder and key of each accepted event, in the order of acceptance. Keeps only a few in memory."""
    pending: dict[int, tuple[int, str]] = {}
    with path.open("rb") as file:
        for line in file:
            if line.startswith(b'{"send"'):
                content = json.loads(line)
                for number, key in enumerate(content["send"], start=content["from"]):
                    pending[number] = (content["source"], key)
            elif line.startswith(b'{"job"') and line.endswith(b"\n"):
                content = json.loads(line)
                for number in range(content["first"], content["last"] + 1):
                    yield pending.pop(number)
            elif line[:1] != b"{" and line.endswith(b"\n"):
                yield pending.pop(int(line))


def head_of(path: Path) -> dict[str, Any]:
    """The head of a journal, which another process may be writing to.

    Raises:
        UserError: it does not exist, or is not a journal.
    """
    try:
        with path.open("rb") as file:
            return _head(path, file.readline(_LONGEST_LINE))
    except OSError as error:
        raise _unreadable(path, error) from error


def read(path: Path) -> Record:
    """The content of a journal, read line by line.

    Raises:
        UserError: it is not a journal, or is damaged.
    """
    with path.open("rb") as file:
        first = file.readline(_LONGEST_LINE)
        record = Record(_head(path, first), length=len(first))
        for count, line in enumerate(iter(lambda: file.readline(_LONGEST_LINE), b""), start=2):
            try:
                _take(record, line)
            except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
                if file.read(1) == b"" or not line.strip(b"\0\n"):
                    break  # incomplete
                raise UserError(
                    f"Line {count} of the journal {path} cannot be read",
                    "Start a new launch; --skip-done leaves out the files that are done",
                ) from None
            record.length += len(line)
    return record


def _head(path: Path, line: bytes) -> dict[str, Any]:
    if not line:
        raise UserError(f"The journal {path} is empty", "Start a new launch")
    try:
        head = json.loads(line)
        if line.endswith(b"\n") and head["scar_launch"] == VERSION:
            return dict(head)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        pass
    raise UserError(f"{path} is not a journal of scar-launch", "scar-launch prints the path of its journal")


def _take(record: Record, line: bytes) -> None:
    """Apply one line to the record; raises if it is not a line of a journal."""
    if not line.endswith(b"\n"):
        raise ValueError
    if line[:1] != b"{":
        del record.pending[int(line)]
        record.accepted += 1
        return
    content = json.loads(line)
    record.perhaps_twice |= {int(number): str(key) for number, key in content.get("perhaps_twice", ())}
    if "send" in content:
        _take_sent(record, content)
    elif "job" in content:
        for number in range(content["first"], content["last"] + 1):
            del record.pending[number]
            record.accepted += 1
        record.array = None
    elif "stopped" in content:
        for number in content["not_sent"]:
            one = record.pending[number]
            record.pending[number] = Pending(number, one.source, one.key, perhaps_sent=False)
    elif "resumed" in content:
        for number in content["gone"]:
            del record.pending[number]
        record.gone += len(content["gone"])
        record.pending = {
            number: Pending(number, one.source, one.key) for number, one in record.pending.items()
        }
    elif "finished" in content:
        record.finished = True
    elif "perhaps_twice" not in content:
        raise ValueError


def _take_sent(record: Record, content: dict[str, Any]) -> None:
    source, first, keys = int(content["source"]), int(content["from"]), content["send"]
    if first != record.numbered:
        raise ValueError
    for number, key in enumerate(keys, start=first):
        record.pending[number] = Pending(number, source, str(key))
    record.numbered += len(keys)
    record.position = (source, str(keys[-1]))
    if (array := content.get("array")) is not None:
        record.array = Array(first, len(keys), str(array["uri"]), int(array["width"]))


def _line(content: dict[str, Any]) -> bytes:
    return json.dumps(content, ensure_ascii=False).encode() + b"\n"


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _unreadable(path: Path, error: OSError) -> UserError:
    reason = (error.strerror or str(error)).lower()
    return UserError(
        f"The journal {path} cannot be read: {reason}", "scar-launch prints the path of its journal"
    )


def _unwritable(path: Path, error: OSError) -> UserError:
    reason = (error.strerror or str(error)).lower()
    return UserError(
        f"The journal {path} cannot be written: {reason}",
        "Free some space, or set XDG_STATE_HOME to a writable folder",
    )
