"""A tar file read once from front to back: ustar, pax and GNU headers, sparse files.

Why not `tarfile`: it reads a pax or long-name header of any announced size into memory (a gigabyte of zeros
packs into a megabyte), keeps every member in a list, and copies file data through several layers. Here the
memory is bounded, data goes from the decompressor's buffer straight to a file descriptor, and everything that
cannot be understood is a clear error.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from runtime.errors import RunnerError
from runtime.images.manifest import broken
from runtime.images.origin import ByteStream

_BLOCK = 512
_CHUNK = 1 << 20
# Linux's own limit for a path is 4096 bytes; a pax header holds two of them and extended attributes (64 KiB
# each).
_MAXIMUM_EXTENSION = 1 << 20
_MAXIMUM_SPARSE_SEGMENTS = 100_000
_ZERO_BLOCK = bytes(_BLOCK)
# name, mode, uid, gid, size, mtime, checksum, kind, link, magic, (owner's names, device,) prefix
_HEADER = struct.Struct("100s 8s 8s 8s 12s 12s 8s c 100s 6s 82x 155s 12x")
_ADLER_BASE = 65521
_NO_EXTENSION: dict[str, bytes] = {}

REGULAR, HARD_LINK, SYMLINK, CHARACTER_DEVICE, BLOCK_DEVICE, DIRECTORY, FIFO = (
    b"0",
    b"1",
    b"2",
    b"3",
    b"4",
    b"5",
    b"6",
)
_WITHOUT_DATA = frozenset({HARD_LINK, SYMLINK, CHARACTER_DEVICE, BLOCK_DEVICE, DIRECTORY, FIFO})
_LIKE_REGULAR = frozenset({b"0", b"\0", b"7"})
_GNU_SPARSE, _GNU_LONG_NAME, _GNU_LONG_LINK, _PAX, _PAX_GLOBAL = b"S", b"L", b"K", b"x", b"g"


@dataclass(slots=True)
class TarEntry:
    """One member: `kind` is one of the constants above; `stored` bytes of data follow, `size` once
    expanded."""

    name: bytes
    kind: bytes
    size: int
    stored: int
    mode: int
    uid: int
    gid: int
    mtime: float
    link: bytes
    sparse: list[tuple[int, int]] | None = None


class TarStream:
    """Iterates over the members of the tar in `source`; `copy_data` must be called before the next is asked
    for,
    or the data is skipped."""

    def __init__(self, source: ByteStream, what: str) -> None:
        self._source = source
        self._what = what
        self._buffer = memoryview(b"")
        self._left = 0  # of the current member's data
        self._padding = 0
        self.bytes_read = 0

    def __iter__(self) -> Iterator[TarEntry]:
        shared: dict[str, bytes] = {}
        extension: dict[str, bytes] = {}
        while True:
            self._skip(self._left + self._padding)
            self._left = self._padding = 0
            block = self._header_block()
            if block is None:
                return
            entry = self._parse(block)
            if entry.kind in (_PAX, _PAX_GLOBAL):
                records = self._pax_records(self._extension(entry.size))
                (shared if entry.kind == _PAX_GLOBAL else extension).update(records)
                continue
            if entry.kind in (_GNU_LONG_NAME, _GNU_LONG_LINK):
                name = "path" if entry.kind == _GNU_LONG_NAME else "linkpath"
                extension[name] = self._extension(entry.size).rstrip(b"\0")
                continue
            if entry.kind == _GNU_SPARSE:
                self._old_sparse_map(entry, block)
            self._apply(entry, {**shared, **extension} if shared or extension else _NO_EXTENSION)
            extension = {}
            yield entry

    def copy_data(self, entry: TarEntry, descriptor: int) -> None:
        """Write the current member's data to an open file, with holes where a sparse file has them."""
        if entry.sparse is None:
            self._copy(self._left, descriptor)
            return
        for offset, length in entry.sparse:
            os.lseek(descriptor, offset, os.SEEK_SET)
            self._copy(length, descriptor)
        os.ftruncate(descriptor, entry.size)

    # -- bytes
    # ---------------------------------------------------------------------------------------------------

    def _fill(self) -> bool:
        while not self._buffer:
            chunk = self._source.read(_CHUNK)
            if not chunk:
                return False
            self._buffer = memoryview(chunk)
        return True

    def _take(self, count: int) -> bytes:
        if len(self._buffer) >= count:  # the usual case, without a join
            taken = bytes(self._buffer[:count])
            self._buffer = self._buffer[count:]
            self.bytes_read += count
            return taken
        parts: list[bytes] = []
        missing = count
        while missing:
            if not self._fill():
                raise broken(f"{self._what} ends in the middle of a file")
            part = bytes(self._buffer[:missing])
            self._buffer = self._buffer[len(part) :]
            parts.append(part)
            missing -= len(part)
        self.bytes_read += count
        return b"".join(parts)

    def _skip(self, count: int) -> None:
        while count:
            if not self._fill():
                raise broken(f"{self._what} ends in the middle of a file")
            step = min(count, len(self._buffer))
            self._buffer = self._buffer[step:]
            self.bytes_read += step
            count -= step

    def _copy(self, count: int, descriptor: int) -> None:
        if count > self._left:
            raise broken(f"{self._what} has a sparse file whose map does not fit its data")
        self._left -= count
        while count:
            if not self._fill():
                raise broken(f"{self._what} ends in the middle of a file")
            written = os.write(descriptor, self._buffer[:count])
            self._buffer = self._buffer[written:]
            self.bytes_read += written
            count -= written

    # -- headers
    # -------------------------------------------------------------------------------------------------

    def _header_block(self) -> bytes | None:
        if not self._fill():
            return None  # some writers leave out the two zero blocks at the end
        block = self._take(_BLOCK)
        return None if block == _ZERO_BLOCK else block

    def _parse(self, block: bytes) -> TarEntry:
        name, mode, uid, gid, size, mtime, checksum, kind, link, magic, prefix = _HEADER.unpack(block)
        # Adler-32's lower half is 1 + the sum of all bytes (RFC 1950), and much faster than Python's `sum`.
        # The checksum counts its own field as spaces.
        expected = _number(checksum, self._what) - 8 * 32 + sum(checksum) + 1
        if zlib.adler32(block) & 0xFFFF != expected % _ADLER_BASE:
            raise broken(f"{self._what} is not a tar file, or damaged (a header's checksum is wrong)")
        length = _number(size, self._what)
        if length < 0:
            raise broken(f"{self._what} has a file of negative size")
        name = _text(name)
        if magic == b"ustar\0" and prefix[0]:
            name = _text(prefix) + b"/" + name
        if kind in _LIKE_REGULAR:
            kind = DIRECTORY if name.endswith(b"/") else REGULAR
        return TarEntry(
            name=name,
            kind=kind,
            size=length,
            stored=length,
            mode=_number(mode, self._what),
            uid=_number(uid, self._what),
            gid=_number(gid, self._what),
            mtime=_number(mtime, self._what),
            link=_text(link) if link[0] else b"",
        )

    def _extension(self, size: int) -> bytes:
        if size > _MAXIMUM_EXTENSION:
            raise broken(
                f"{self._what} has a header of {size} bytes, at most {_MAXIMUM_EXTENSION} are accepted"
            )
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
            else:
                records[key.decode("utf-8", "surrogateescape")] = value
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
                entry.uid = int(pax.get("uid", entry.uid))
                entry.gid = int(pax.get("gid", entry.gid))
                entry.mtime = float(pax.get("mtime", entry.mtime))
                if "size" in pax:
                    entry.size = entry.stored = int(pax["size"])
            except ValueError as error:
                raise broken(f"{self._what} has a malformed pax header") from error
        if entry.stored < 0:
            raise broken(f"{self._what} has a file of negative size")
        self._left = 0 if entry.kind in _WITHOUT_DATA else entry.stored
        self._padding = -self._left % _BLOCK
        if entry.kind == _GNU_SPARSE:
            entry.kind = REGULAR
        elif pax and any(key.startswith("GNU.sparse.") for key in pax):
            self._pax_sparse_map(entry, pax)
        if entry.sparse is not None:
            self._check_sparse(entry)

    # -- sparse files
    # --------------------------------------------------------------------------------------------

    def _old_sparse_map(self, entry: TarEntry, block: bytes) -> None:
        """GNU tar's oldest format: up to four segments in the header, more in blocks of 21 that follow."""
        numbers = [_number(block[386 + 12 * i : 398 + 12 * i], self._what) for i in range(8)]
        entry.size = _number(block[483:495], self._what)
        more = block[482]
        while more:
            extra = self._take(_BLOCK)
            numbers += [_number(extra[12 * i : 12 * i + 12], self._what) for i in range(42)]
            more = extra[504]
            if len(numbers) > 2 * _MAXIMUM_SPARSE_SEGMENTS:
                raise broken(f"{self._what} has a sparse file of too many segments")
        entry.sparse = _pairs(numbers)

    def _pax_sparse_map(self, entry: TarEntry, pax: dict[str, bytes]) -> None:
        """The map of GNU's pax formats: 0.0 and 0.1 in the header, 1.0 at the beginning of the data."""
        try:
            entry.size = int(pax.get("GNU.sparse.realsize", pax.get("GNU.sparse.size", b"0")))
            entry.name = pax.get("GNU.sparse.name", entry.name)
            if "GNU.sparse.map" in pax:
                entry.sparse = _pairs([int(number) for number in pax["GNU.sparse.map"].split(b",") if number])
                return
            lines: list[bytes] = []
            rest = b""
            wanted = 1
            while len(lines) < wanted:
                if self._left < _BLOCK:
                    raise ValueError("the map is longer than the data")  # noqa: TRY301 - one message for all below
                *complete, rest = (rest + self._take(_BLOCK)).split(b"\n")
                self._left -= _BLOCK
                lines += complete
                if lines:
                    wanted = 1 + 2 * int(lines[0])
                if wanted > 2 * _MAXIMUM_SPARSE_SEGMENTS:
                    raise ValueError("too many segments")  # noqa: TRY301
            entry.sparse = _pairs([int(number) for number in lines[1:wanted]])
        except ValueError as error:
            raise broken(f"{self._what} has a sparse file with a malformed map") from error

    def _check_sparse(self, entry: TarEntry) -> None:
        end = 0
        for offset, length in entry.sparse or []:
            if offset < end or length < 0 or offset + length > entry.size:
                raise broken(f"{self._what} has a sparse file with a malformed map")
            end = offset + length
        if entry.size < 0 or sum(length for _, length in entry.sparse or []) > self._left:
            raise broken(f"{self._what} has a sparse file with a malformed map")


def _pairs(numbers: list[int]) -> list[tuple[int, int]]:
    pairs = list(zip(numbers[::2], numbers[1::2], strict=False))
    return [pair for pair in pairs if pair != (0, 0)]


def _text(field_bytes: bytes) -> bytes:
    return field_bytes.partition(b"\0")[0]


def _number(field_bytes: bytes, what: str) -> int:
    """A header's number: octal digits, or GNU's base 256 if the first bit is set."""
    if field_bytes[0] in (0x80, 0xFF):
        value = int.from_bytes(field_bytes[1:], "big")
        return value if field_bytes[0] == 0x80 else value - (1 << 8 * (len(field_bytes) - 1))  # noqa: PLR2004
    try:
        return int(field_bytes.rstrip(b"\0 ") or b"0", 8)
    except ValueError:
        pass
    digits = field_bytes.partition(b"\0")[0].strip()  # what follows a null byte does not count
    try:
        return int(digits, 8) if digits else 0
    except ValueError as error:
        raise _malformed(what) from error


def _malformed(what: str) -> RunnerError:
    return broken(f"{what} is not a tar file, or damaged (a header holds no number where one belongs)")
