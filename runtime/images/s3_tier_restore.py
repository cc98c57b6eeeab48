"""An index and parts become an image's file tree again, although somebody may have tampered with the bucket.

Every step creates, none replaces, and the order leaves no way out of the root:

1. Directories, each in one that was made before. There are no symlinks yet that could lead elsewhere.
2. Files, in those directories, with O_EXCL and O_NOFOLLOW. Still no symlinks.
3. Hard links between two names of the tree, and last of all symlinks.
4. Attributes of directories: real ones all of them, as nothing was replaced.

A name is one component: no `/`, no `..`. A part is not even decompressed before its digest was found right.
As when layers are unpacked, set-uid and set-gid bits are left out, there are no device nodes, and bytes are
counted against the free disk.

Parts are read in a few long ranges: S3 serves 5500 requests a second from one prefix, which a burst of a
thousand cold starts would use up with a request for each part.
"""

# ruff: noqa: PTH101, PTH102, PTH211
# Names are bytes, which pathlib does not know.

from __future__ import annotations

import errno
import hashlib
import io
import os
import stat
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from runtime.errors import RunnerError, shown
from runtime.images.decompress import decompressed
from runtime.images.origin import ByteStream
from runtime.images.s3_tier_bucket import ObjectChanged, TierBucket
from runtime.images.s3_tier_index import RECORD, SEGMENT, WHOLE_FILE, DamagedEntry, ImageIndex
from runtime.images.unpack import process_umask

THREADS = 4
"""Ranges that are on their way at once: four connections to S3 take all the network of a Lambda function."""
RANGES = 8
"""More than threads, so that all of them end at about the same time."""
_SMALLEST_RANGE = 4 << 20

_PERMISSIONS = 0o777
_CHUNK = 1 << 20
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_OPEN_FILE = os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC
_LARGEST_ID = 2**32 - 2


def restore(index: ImageIndex, bucket: TierBucket, root: bytes, charge: Callable[[int], None]) -> None:
    """Make the image's tree in the empty folder `root`. `charge(bytes)` is called before so much is written.

    Raises DamagedEntry, TierUnavailable, OSError (the disk is full), and what `charge` raises.
    """
    try:
        _Tree(index, root).fill(bucket, charge)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise DamagedEntry(f"it contradicts itself ({shown(str(error))})") from error
    except (OverflowError, ValueError) as error:
        raise DamagedEntry(f"it holds an impossible number ({shown(str(error))})") from error


class _Tree:
    def __init__(self, index: ImageIndex, root: bytes) -> None:
        self._index = index
        self._folders = [root]
        self._large: list[bytes | None] = []
        self._own_ids = (os.geteuid(), os.getegid())
        self._set_owners = os.geteuid() == 0
        self._umask = process_umask()

    def fill(self, bucket: TierBucket, charge: Callable[[int], None]) -> None:
        index = self._index
        others = (index.directories, index.symlinks, index.hard_links, index.fifos)
        charge(4096 * sum(map(len, others)))
        self._make_directories()
        self._make_large_files()
        self._write_parts(bucket, charge)
        self._finish_large_files()
        self._make_links()
        for path, (_, _, mode, uid, gid, mtime) in zip(
            reversed(self._folders), reversed(index.directories), strict=True
        ):
            self._own(path, uid, gid)
            os.chmod(path, mode & (_PERMISSIONS | stat.S_ISVTX))
            os.utime(path, ns=(mtime, mtime))

    # -- what is not in parts
    # ----------------------------------------------------------------------------------------

    def _make_directories(self) -> None:
        for parent, name, *_ in self._index.directories[1:]:
            path = self._path(parent, name)
            os.mkdir(path, 0o700)
            self._folders.append(path)

    def _make_large_files(self) -> None:
        for entry in self._index.large:
            if entry is None:
                self._large.append(None)
                continue
            path = self._path(entry[0], entry[1])
            descriptor = os.open(path, _NEW_FILE, 0o600)
            try:
                os.ftruncate(descriptor, max(0, entry[-1]))
            finally:
                os.close(descriptor)
            self._large.append(path)

    def _finish_large_files(self) -> None:
        for path, entry in zip(self._large, self._index.large, strict=True):
            if path is not None and entry is not None:
                _, _, mode, uid, gid, mtime, _ = entry
                self._own(path, uid, gid)
                os.chmod(path, mode & _PERMISSIONS)
                os.utime(path, ns=(mtime, mtime))

    def _make_links(self) -> None:
        index = self._index
        for parent, name, mode, uid, gid in index.fifos:
            path = self._path(parent, name)
            os.mkfifo(path, mode & _PERMISSIONS)
            self._own(path, uid, gid)
        links = {(entry[0], entry[1]) for entry in index.symlinks}
        late: list[tuple[bytes, bytes]] = []
        for parent, name, target_parent, target_name in index.hard_links:
            pair = self._path(target_parent, target_name), self._path(parent, name)
            if (target_parent, target_name) in links:
                late.append(pair)
            else:
                os.link(*pair, follow_symlinks=False)
        for parent, name, uid, gid, target in index.symlinks:
            path = self._path(parent, name)
            content = os.fsencode(target)
            if not content or b"\0" in content:
                raise DamagedEntry("it has a symlink to nothing")
            os.symlink(content, path)
            self._own(path, uid, gid)
        for pair in late:  # two names of one symlink
            os.link(*pair, follow_symlinks=False)

    def _path(self, parent: int, name: str) -> bytes:
        return self._below(parent, os.fsencode(name))

    def _below(self, parent: int, name: bytes) -> bytes:
        if (
            not 0 <= parent < len(self._folders)
            or name in (b"", b".", b"..")
            or b"/" in name
            or b"\0" in name
        ):
            raise DamagedEntry("it has a name that leads elsewhere")
        return self._folders[parent] + b"/" + name

    def _own(self, path: bytes | int, uid: int, gid: int) -> None:
        if not self._set_owners or (uid, gid) == self._own_ids:
            return
        if not (0 <= uid <= _LARGEST_ID and 0 <= gid <= _LARGEST_ID):
            return
        try:
            if isinstance(path, int):
                os.fchown(path, uid, gid)
            else:
                os.chown(path, uid, gid, follow_symlinks=False)
        except PermissionError:
            self._set_owners = False

    # -- parts
    # ------------------------------------------------------------------------------------------------------

    def _write_parts(self, bucket: TierBucket, charge: Callable[[int], None]) -> None:
        """All parts, by a few threads; the first error ends all of them."""
        index = self._index
        ranges = iter(_ranges(index.parts))
        lock = threading.Lock()
        failures: list[BaseException] = []

        def work() -> None:
            try:
                while not failures:
                    with lock:
                        parts = next(ranges, None)
                    if parts is None:
                        return
                    places = [(offset, size) for offset, size, _, _ in parts]
                    pieces = bucket.pieces(index.content_key, index.stored_bytes, places)
                    for part, piece in zip(parts, pieces, strict=True):
                        if failures:
                            return
                        with lock:
                            charge(part[-1])
                        self._write_part(part, piece)
            except ObjectChanged as error:
                failures.append(DamagedEntry(str(error)))
            except BaseException as error:
                failures.append(error)

        threads = [threading.Thread(target=work, name="image-part", daemon=True) for _ in range(THREADS)]
        try:
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        except BaseException as error:  # time is up
            failures.append(error)
            for thread in threads:
                thread.join(1.0 / THREADS)
            raise
        if failures:
            raise failures[0]

    def _write_part(self, part: _Place, piece: bytes) -> None:
        _, _, digest, content_size = part
        if hashlib.sha256(piece).hexdigest() != digest:
            raise DamagedEntry("a part is not what was written")
        try:
            reader = _PartReader(decompressed(io.BytesIO(piece), "a part"), content_size)
            for record, name in reader.records():
                if record[0] == WHOLE_FILE:
                    self._whole_file(reader, record, name)
                else:
                    self._segment(reader, record)
        except RunnerError as error:
            raise DamagedEntry(error.cause) from error

    def _whole_file(self, reader: _PartReader, record: tuple[int, ...], name: bytes) -> None:
        _, _, mode, parent, uid, gid, mtime, length = record
        mode &= _PERMISSIONS
        descriptor = os.open(self._below(parent, name), _NEW_FILE, mode)
        try:
            reader.copy(length, descriptor)
            self._own(descriptor, uid, gid)
            if mode & self._umask:
                os.fchmod(descriptor, mode)
            os.utime(descriptor, ns=(mtime, mtime))
        finally:
            os.close(descriptor)

    def _segment(self, reader: _PartReader, record: tuple[int, ...]) -> None:
        _, _, _, number, _, _, offset, length = record
        path = self._large[number] if number < len(self._large) else None
        entry = self._index.large[number] if number < len(self._large) else None
        if path is None or entry is None:  # left out after its first segments were stored
            reader.skip(length)
            return
        if offset < 0 or offset + length > entry[-1]:
            raise DamagedEntry("it has a segment outside of its file")
        descriptor = os.open(path, _OPEN_FILE)
        try:
            os.lseek(descriptor, offset, os.SEEK_SET)
            reader.copy(length, descriptor)
        finally:
            os.close(descriptor)


_Place = tuple[int, int, str, int]
"""Of a part: offset, size, digest, size when decompressed."""


def _ranges(parts: Iterable[list[Any]]) -> list[list[_Place]]:
    """The parts in runs of about the same size."""
    offset = 0
    placed: list[_Place] = []
    for size, digest, content in parts:
        placed.append((offset, size, digest, content))
        offset += size
    length = max(_SMALLEST_RANGE, -(-offset // RANGES))
    ranges: dict[int, list[_Place]] = {}
    for place in placed:
        ranges.setdefault(place[0] // length, []).append(place)
    return list(ranges.values())


class _PartReader:
    """The records of one part, whose content has `size` bytes."""

    def __init__(self, source: ByteStream, size: int) -> None:
        self._source = source
        self._left = size  # more would be a decompression bomb
        self._buffer = memoryview(b"")

    def records(self) -> Iterator[tuple[tuple[int, ...], bytes]]:
        """Each record and its name; the data must be taken before the next is asked for."""
        head, unpack = RECORD.size, RECORD.unpack_from
        while self._buffer or self._fill():
            self._require(head)
            record = unpack(self._buffer)
            if record[0] not in (WHOLE_FILE, SEGMENT):
                raise DamagedEntry("it has a record of an unknown kind")
            end = head + record[1]
            self._require(end)
            name = bytes(self._buffer[head:end])
            self._buffer = self._buffer[end:]
            yield record, name

    def copy(self, count: int, descriptor: int) -> None:
        """Write the next bytes to a file."""
        while count:
            if not self._buffer and not self._fill():
                raise DamagedEntry("a part ends in the middle of a file")
            written = os.write(descriptor, self._buffer[:count])
            self._buffer = self._buffer[written:]
            count -= written

    def skip(self, count: int) -> None:
        """Pass over the next bytes."""
        while count:
            if not self._buffer and not self._fill():
                raise DamagedEntry("a part ends in the middle of a file")
            step = min(count, len(self._buffer))
            self._buffer = self._buffer[step:]
            count -= step

    def _require(self, count: int) -> None:
        while len(self._buffer) < count:
            before = bytes(self._buffer)
            self._buffer = memoryview(b"")
            if not self._fill():
                raise DamagedEntry("a part ends in the middle of a record")
            self._buffer = memoryview(before + bytes(self._buffer))

    def _fill(self) -> bool:
        chunk = self._source.read(_CHUNK)
        self._left -= len(chunk)
        if self._left < 0:
            raise DamagedEntry("a part is larger than its index says")
        self._buffer = memoryview(chunk)
        return bool(chunk)
