"""An unpacked image becomes an index and parts.

`take_stock` looks at the whole tree before anybody uses it: engines that cannot mount change modes and links
in place, so that what is stored is what was unpacked. `Packer` then reads the files' content while the user's
container runs already. Content is never changed by an engine; files in the image's folders for temporary
files may be gone by then, and are left out.
"""

# ruff: noqa: PTH101, PTH115
# Names are bytes, which pathlib does not know.

from __future__ import annotations

import importlib
import itertools
import os
import stat
import threading
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from runtime.errors import shown
from runtime.images.s3_tier_index import LARGE_BYTES, PART_BYTES, RECORD, SEGMENT, WHOLE_FILE

MAXIMUM_ENTRIES = 400_000
"""Larger images are not stored: the stock of this many takes 30 MB of memory."""

_FAST = 1


class CannotBePacked(Exception):  # noqa: N818 - not an error for the run
    """The image will not be stored; the text says why."""


@dataclass
class Stock:
    """What is in a tree. Lists are as in the index; `files` are records and names of the other files."""

    directories: list[list[Any]] = field(default_factory=list)
    symlinks: list[list[Any]] = field(default_factory=list)
    hard_links: list[list[Any]] = field(default_factory=list)
    fifos: list[list[Any]] = field(default_factory=list)
    large: list[list[Any] | None] = field(default_factory=list)
    holes: set[int] = field(default_factory=set)
    """Numbers of the large files that have some."""
    paths: list[bytes] = field(default_factory=list)
    """Of the directories below the root: empty for the root, else beginning with a slash."""
    files: bytearray = field(default_factory=bytearray)


def take_stock(root: bytes) -> Stock:
    """Look at everything below `root`. Raises CannotBePacked."""
    stock = Stock()
    status = os.lstat(root)
    stock.directories.append([0, "", stat.S_IMODE(status.st_mode), *_owner_and_time(status)])
    stock.paths.append(b"")
    linked: dict[int, tuple[int, str]] = {}
    count = number = 0
    while number < len(stock.paths):
        with os.scandir(root + stock.paths[number]) as entries:
            for entry in entries:
                _note(stock, number, entry, linked)
                count += 1
        if count > MAXIMUM_ENTRIES:
            raise CannotBePacked(f"it holds more than {MAXIMUM_ENTRIES} files")
        number += 1
    return stock


def _note(stock: Stock, parent: int, entry: os.DirEntry[bytes], linked: dict[int, tuple[int, str]]) -> None:
    status = entry.stat(follow_symlinks=False)
    kind, mode = status.st_mode, stat.S_IMODE(status.st_mode)
    if stat.S_ISREG(kind) and status.st_nlink == 1 and not _is_large(status):
        stock.files += RECORD.pack(
            WHOLE_FILE, len(entry.name), mode, parent, *_owner_and_time(status), status.st_size
        )
        stock.files += entry.name
        return
    name = os.fsdecode(entry.name)
    if stat.S_ISDIR(kind):
        stock.directories.append([parent, name, mode, *_owner_and_time(status)])
        stock.paths.append(stock.paths[parent] + b"/" + entry.name)
    elif status.st_nlink > 1 and status.st_ino in linked:
        stock.hard_links.append([parent, name, *linked[status.st_ino]])
    elif stat.S_ISLNK(kind):
        target = os.fsdecode(os.readlink(entry.path))
        stock.symlinks.append([parent, name, status.st_uid, status.st_gid, target])
    elif stat.S_ISFIFO(kind):
        stock.fifos.append([parent, name, mode, status.st_uid, status.st_gid])
    elif stat.S_ISREG(kind):
        if status.st_blocks * 512 < status.st_size:
            stock.holes.add(len(stock.large))
        stock.large.append([parent, name, mode, *_owner_and_time(status), status.st_size])
    else:
        raise CannotBePacked(f"'{shown(name)}' is neither file nor folder nor link")
    if status.st_nlink > 1 and not stat.S_ISDIR(kind):
        linked.setdefault(status.st_ino, (parent, name))


def _is_large(status: os.stat_result) -> bool:
    return status.st_size > LARGE_BYTES or (
        status.st_size > 1 << 16 and status.st_blocks * 512 < status.st_size
    )


def _owner_and_time(status: os.stat_result) -> tuple[int, int, int]:
    return status.st_uid, status.st_gid, status.st_mtime_ns


class Packer:
    """Gives the parts of a stock whose tree is at `root`, uncompressed; several threads may ask for the next
    one."""

    def __init__(self, stock: Stock, root: bytes) -> None:
        self._stock = stock
        self._root = root
        self._lock = threading.Lock()
        self._pieces = itertools.chain(self._whole_files(), self._segments())

    def next_part(self) -> bytearray | None:
        """The content of the next part. Raises CannotBePacked if the tree is no longer what it was."""
        pieces: list[tuple[bytes, bytes, int, int]] = []
        size = 0
        with self._lock:  # only the list is made here; files are read by all threads at once
            for piece in self._pieces:
                pieces.append(piece)
                size += len(piece[0]) + piece[3]
                if size >= PART_BYTES:
                    break
        if not pieces:
            return None
        content = bytearray()
        for record, path, offset, length in pieces:
            try:
                data = _read(path, offset, length)
            except FileNotFoundError:
                if record[0] == SEGMENT:  # the index tells of a large file, and must be right
                    raise CannotBePacked(f"{shown(repr(path))} has gone") from None
                continue
            content += record
            content += data
        return content or self.next_part()

    def _whole_files(self) -> Iterator[tuple[bytes, bytes, int, int]]:
        """Record with name, path, offset, length."""
        files, position = bytes(self._stock.files), 0
        while position < len(files):
            _, name_length, _, parent, _, _, _, size = RECORD.unpack_from(files, position)
            end = position + RECORD.size + name_length
            path = self._root + self._stock.paths[parent] + b"/" + files[position + RECORD.size : end]
            yield files[position:end], path, 0, size
            position = end

    def _segments(self) -> Iterator[tuple[bytes, bytes, int, int]]:
        for number, entry in enumerate(self._stock.large):
            assert entry is not None  # noqa: S101 - only this generator leaves some out
            parent, name, size = entry[0], entry[1], entry[-1]
            path = self._root + self._stock.paths[parent] + b"/" + os.fsencode(name)
            if not os.path.lexists(path):
                self._stock.large[number] = None
                continue
            extents = _extents(path, size) if number in self._stock.holes else [(0, size)]
            for start, end in extents:
                for offset in range(start, end, LARGE_BYTES):
                    length = min(LARGE_BYTES, end - offset)
                    yield (
                        RECORD.pack(SEGMENT, 0, 0, number, 0, 0, offset, length),
                        path,
                        offset,
                        length,
                    )


def _read(path: bytes, offset: int, length: int) -> bytes:
    descriptor = _open(path)
    try:
        data = os.pread(descriptor, length, offset)
    finally:
        os.close(descriptor)
    if len(data) != length:
        raise CannotBePacked(f"{shown(repr(path))} has changed")
    return data


def _open(path: bytes) -> int:
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        return os.open(path, flags)
    except PermissionError:  # some images have files that not even their owner may read; only root then can
        mode = stat.S_IMODE(os.lstat(path).st_mode)
        os.chmod(path, mode | 0o400)
        try:
            return os.open(path, flags)
        finally:
            os.chmod(path, mode)


def _extents(path: bytes, size: int) -> list[tuple[int, int]]:
    """Where a file has data, holes left out."""
    descriptor = _open(path)
    found: list[tuple[int, int]] = []
    try:
        position = 0
        while position < size:
            try:
                start = os.lseek(descriptor, position, os.SEEK_DATA)
            except OSError:  # ENXIO: only a hole is left
                break
            position = min(size, os.lseek(descriptor, start, os.SEEK_HOLE))
            found.append((start, position))
    finally:
        os.close(descriptor)
    return found


def compressor() -> Callable[[bytes | bytearray], bytes]:
    """The best compression at hand: zstd is read twice as fast as gzip."""
    for name in ("compression.zstd", "backports.zstd"):
        try:
            zstd: Any = importlib.import_module(name)
        except ImportError:
            continue
        return lambda content: zstd.compress(content, _FAST)
    try:
        gzip: Any = importlib.import_module("isal.isal_zlib")
    except ImportError:
        gzip = zlib
    return lambda content: _gzip(gzip, content)


def _gzip(module: Any, content: bytes | bytearray) -> bytes:
    packer = module.compressobj(_FAST, module.DEFLATED, 16 + zlib.MAX_WBITS)
    packed: bytes = packer.compress(content) + packer.flush()
    return packed
