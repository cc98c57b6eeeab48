"""A tar file read once from front to back: ustar, pax and GNU headers, sparse files.

Why not `tarfile`: it reads a pax or long-name header of any announced size into memory (a gigabyte of zeros
packs into a megabyte), keeps every member in a list, and copies file data through several layers. Here the
memory is bounded, data goes from the decompressor's buffer straight to a file descriptor, and everything
unsupported is a clear error.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from itertools import islice

from containers.image.manifests import broken
from containers.image.origin import ByteStream
from containers.layers.tar_header import (
    DIRECTORY,
    GNU_LONG_LINK,
    GNU_LONG_NAME,
    GNU_SPARSE,
    PAX,
    PAX_GLOBAL,
    REGULAR,
    WITHOUT_DATA,
    HeaderReader,
    TarEntry,
)

_BLOCK = 512
_CHUNK = 1 << 20
# Linux's own limit for a path is 4096 bytes; a pax header holds two of them and extended attributes (64 KiB
# each).
_MAXIMUM_EXTENSION = 1 << 20
_MAXIMUM_SPARSE_SEGMENTS = 100_000
# The maximum of a file's size and offsets in Linux (`off_t`); no other number has more digits.
_LARGEST_FILE = 2**63 - 1
_LONGEST_NUMBER = 40
_ZERO_BLOCK = bytes(_BLOCK)
# Other keys are not kept: the number of headers, each with new names, is unlimited.
_PAX_KEYS = frozenset(
    {
        b"path",
        b"linkpath",
        b"uid",
        b"gid",
        b"mtime",
        b"size",
        b"GNU.sparse.major",
        b"GNU.sparse.map",
        b"GNU.sparse.name",
        b"GNU.sparse.realsize",
        b"GNU.sparse.size",
    }
)


class TarStream:
    """Iterates over the members of the tar in `source`; `copy_data` must be called before the next is
    requested, or the data is skipped."""

    def __init__(self, source: ByteStream, what: str) -> None:
        self._source = source
        self._what = what
        self._headers = HeaderReader(what)
        self._chunk = memoryview(b"")
        self._at = self._end = 0  # in the chunk
        self._left = 0  # of the current member's data
        self._padding = 0

    def __iter__(self) -> Iterator[TarEntry]:
        shared: dict[str, bytes] = {}
        extension: dict[str, bytes] = {}
        while True:
            self._skip(self._left + self._padding)
            self._left = self._padding = 0
            block = self._header_block()
            if block is None:
                return
            entry = self._headers.read(block)
            if entry.kind in (PAX, PAX_GLOBAL):
                records = self._pax_records(self._extension(entry.size))
                if entry.kind == PAX:
                    extension.update(records)
                else:
                    # A map of a megabyte here would be parsed again for each of a million files.
                    shared.update((k, v) for k, v in records.items() if not k.startswith("GNU.sparse."))
                continue
            if entry.kind in (GNU_LONG_NAME, GNU_LONG_LINK):
                name = "path" if entry.kind == GNU_LONG_NAME else "linkpath"
                extension[name] = self._extension(entry.size).rstrip(b"\0")
                continue
            if entry.kind == REGULAR and not shared and not extension:  # nearly all of them
                self._left = entry.stored
                self._padding = -entry.stored % _BLOCK
            else:
                if entry.kind == GNU_SPARSE:
                    self._old_sparse_map(entry, block)
                self._apply(entry, {**shared, **extension})
                extension = {}
            # So the oldest tars write directories. The name is complete only now: in the header alone it is
            # cut after a hundred bytes, of which the last may be a slash.
            if entry.kind == REGULAR and entry.name.endswith(b"/"):
                entry.kind = DIRECTORY
            yield entry

    def copy_data(self, entry: TarEntry, descriptor: int, charge: Callable[[int], None]) -> None:
        """Write the current member's data to an open file, with the holes of a sparse file.

        `charge(bytes)` is called for data that has arrived, before it is written.
        """
        if entry.sparse is None:
            self._copy(self._left, descriptor, charge)
            return
        for offset, length in entry.sparse:
            os.lseek(descriptor, offset, os.SEEK_SET)
            self._copy(length, descriptor, charge)
        os.ftruncate(descriptor, entry.size)

    # -- bytes

    def _fill(self) -> bool:
        while self._at == self._end:
            chunk = self._source.read(_CHUNK)
            if not chunk:
                return False
            self._chunk = memoryview(chunk)
            self._at, self._end = 0, len(chunk)
        return True

    def _need(self) -> None:
        if not self._fill():
            raise broken(f"{self._what} ends in the middle of a file")

    def _take(self, count: int) -> bytes:
        end = self._at + count
        if end <= self._end:  # the usual case, without a join
            taken = bytes(self._chunk[self._at : end])
            self._at = end
            return taken
        parts: list[bytes] = []
        while count:
            self._need()
            part = bytes(self._chunk[self._at : min(self._at + count, self._end)])
            self._at += len(part)
            parts.append(part)
            count -= len(part)
        return b"".join(parts)

    def _skip(self, count: int) -> None:
        while count > self._end - self._at:
            count -= self._end - self._at
            self._at = self._end
            self._need()
        self._at += count

    def _copy(self, count: int, descriptor: int, charge: Callable[[int], None]) -> None:
        if count > self._left:
            raise broken(f"{self._what} has a sparse file whose map does not match its data")
        self._left -= count
        while count:
            if self._at == self._end:
                self._need()
            piece = self._chunk[self._at : min(self._at + count, self._end)]
            charge(len(piece))
            self._at += len(piece)
            count -= len(piece)
            while piece:
                piece = piece[os.write(descriptor, piece) :]

    # -- headers

    def _header_block(self) -> bytes | None:
        if not self._fill():
            return None  # some writers leave out the two zero blocks at the end
        block = self._take(_BLOCK)
        return None if block == _ZERO_BLOCK else block

    def _extension(self, size: int) -> bytes:
        if size > _MAXIMUM_EXTENSION:
            raise broken(f"{self._what} has a header of {size} bytes; the maximum is {_MAXIMUM_EXTENSION}")
        content = self._take(size)
        self._skip(-size % _BLOCK)
        return content

    def _pax_records(self, content: bytes) -> dict[str, bytes]:
        """`LENGTH KEY=VALUE\\n` one after the other, LENGTH counting the whole record."""
        records: dict[str, bytes] = {}
        sparse_pairs: list[bytes] = []
        position = 0
        while position < len(content) and content[position] != 0:
            space = content.find(b" ", position, position + 20)
            digits = content[position:space] if space > 0 else b""
            end = position + int(digits) if digits.isdigit() else 0
            if end <= space + 1 or end > len(content) or content[end - 1 : end] != b"\n":
                raise broken(f"{self._what} has a malformed pax header")
            key, separator, value = content[space + 1 : end - 1].partition(b"=")
            if not separator:
                raise broken(f"{self._what} has a malformed pax header")
            if key in (b"GNU.sparse.offset", b"GNU.sparse.numbytes"):  # format 0.0 repeats them
                sparse_pairs.append(value)
            elif key in _PAX_KEYS:
                records[key.decode()] = value
            position = end
        if sparse_pairs:
            records["GNU.sparse.map"] = b",".join(sparse_pairs)
        return records

    def _apply(self, entry: TarEntry, pax: dict[str, bytes]) -> None:
        """Let the extended headers override the member's own, and find out how much data follows."""
        if pax:
            try:
                entry.name = pax.get("path", entry.name)
                entry.link = pax.get("linkpath", entry.link)
                entry.uid = _number(pax["uid"]) if "uid" in pax else entry.uid
                entry.gid = _number(pax["gid"]) if "gid" in pax else entry.gid
                entry.mtime = float(_short(pax["mtime"])) if "mtime" in pax else entry.mtime
                if "size" in pax:
                    entry.size = entry.stored = _number(pax["size"])
            except ValueError as error:
                raise broken(f"{self._what} has a malformed pax header") from error
        if entry.stored < 0:
            raise broken(f"{self._what} has a file of negative size")
        self._left = 0 if entry.kind in WITHOUT_DATA else entry.stored
        self._padding = -self._left % _BLOCK
        if entry.kind == GNU_SPARSE:
            entry.kind = REGULAR
        elif pax and any(key.startswith("GNU.sparse.") for key in pax):
            self._pax_sparse_map(entry, pax)
        if entry.sparse is not None:
            self._check_sparse(entry)

    # -- sparse files

    def _old_sparse_map(self, entry: TarEntry, block: bytes) -> None:
        """GNU tar's oldest format: up to four segments in the header, more in blocks of 21 that follow."""
        numbers = [self._headers.number(block[386 + 12 * i : 398 + 12 * i]) for i in range(8)]
        entry.size = self._headers.number(block[483:495])
        more = block[482]
        while more:
            extra = self._take(_BLOCK)
            numbers += [self._headers.number(extra[12 * i : 12 * i + 12]) for i in range(42)]
            more = extra[504]
            if len(numbers) > 2 * _MAXIMUM_SPARSE_SEGMENTS:
                raise broken(f"{self._what} has a sparse file with too many segments")
        entry.sparse = _pairs(numbers)

    def _pax_sparse_map(self, entry: TarEntry, pax: dict[str, bytes]) -> None:
        """The map of GNU's pax formats: 0.0 and 0.1 in the header, 1.0 at the beginning of the data."""
        try:
            entry.size = _number(pax.get("GNU.sparse.realsize", pax.get("GNU.sparse.size", b"0")))
            entry.name = pax.get("GNU.sparse.name", entry.name)
            if "GNU.sparse.map" in pax:
                numbers = [_number(number) for number in pax["GNU.sparse.map"].split(b",") if number]
            else:
                lines = self._map_lines()
                segments = next(lines)
                if not 0 <= segments <= _MAXIMUM_SPARSE_SEGMENTS:
                    raise ValueError("too many segments")  # noqa: TRY301 - one message for all below
                numbers = list(islice(lines, 2 * segments))
            entry.sparse = _pairs(numbers)
        except ValueError as error:
            raise broken(f"{self._what} has a sparse file with a malformed map") from error

    def _map_lines(self) -> Iterator[int]:
        """The numbers at the beginning of the data, a line each. Raises ValueError at the end of the data."""
        rest = b""
        while self._left >= _BLOCK:
            *lines, rest = (rest + self._take(_BLOCK)).split(b"\n")
            self._left -= _BLOCK
            yield from map(_number, lines)
            _short(rest)  # a line without an end would be copied once for each block: quadratic
        raise ValueError("the map is longer than the data")

    def _check_sparse(self, entry: TarEntry) -> None:
        end = 0
        for offset, length in entry.sparse or []:
            if offset < end or length < 0 or offset + length > entry.size:
                raise broken(f"{self._what} has a sparse file with a malformed map")
            end = offset + length
        # Python raises OverflowError for a size that the kernel does not support.
        if (
            not 0 <= entry.size <= _LARGEST_FILE
            or sum(length for _, length in entry.sparse or []) > self._left
        ):
            raise broken(f"{self._what} has a sparse file with a malformed map")


def _number(text: bytes) -> int:
    """A number in decimal digits. Raises ValueError, also for one that is too long to be meant."""
    return int(_short(text))


def _short(text: bytes) -> bytes:
    if len(text) > _LONGEST_NUMBER:
        raise ValueError("an unterminated number")
    return text


def _pairs(numbers: list[int]) -> list[tuple[int, int]]:
    pairs = list(zip(numbers[::2], numbers[1::2], strict=False))
    return [pair for pair in pairs if pair != (0, 0)]
