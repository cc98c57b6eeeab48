"""Headers of tar members, blocks of 512 bytes.

Most members have the same numbers as the previous one, and parsing them is the slowest part of a small file:
they are cached by their bytes.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass

from containers.image.manifests import broken

REGULAR, HARD_LINK, SYMLINK, CHARACTER_DEVICE, BLOCK_DEVICE, DIRECTORY, FIFO = (
    b"0",
    b"1",
    b"2",
    b"3",
    b"4",
    b"5",
    b"6",
)
WITHOUT_DATA = frozenset({HARD_LINK, SYMLINK, CHARACTER_DEVICE, BLOCK_DEVICE, DIRECTORY, FIFO})
GNU_SPARSE, GNU_LONG_NAME, GNU_LONG_LINK, PAX, PAX_GLOBAL = b"S", b"L", b"K", b"x", b"g"

_LIKE_REGULAR = frozenset({b"0", b"\0", b"7"})
# name, mode with uid and gid, size, mtime, checksum, kind, link, magic, (owner's names, device,) prefix
_HEADER = struct.Struct("100s 24s 12s 12s 8s c 100s 6s 82x 155s 12x")
_ADLER_BASE = 65521
_MAXIMUM_REMEMBERED = 4096


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


class HeaderReader:
    """Reads the headers of one tar, which `what` names in messages."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._owners: dict[bytes, tuple[int, int, int]] = {}
        self._times: dict[bytes, int] = {}

    def read(self, block: bytes) -> TarEntry:
        """The member that a block announces. Raises ExplainedError (kind `BadImage`)."""
        name, owner, size, mtime, checksum, kind, link, magic, prefix = _HEADER.unpack(block)
        # Adler-32's lower half is 1 + the sum of all bytes (RFC 1950), and much faster than Python's `sum`.
        # The checksum counts its own field as spaces.
        expected = self.number(checksum) - 8 * 32 + (zlib.adler32(checksum) & 0xFFFF)
        if zlib.adler32(block) & 0xFFFF != expected % _ADLER_BASE:
            raise broken(f"{self._what} is not a tar file, or is damaged (a header's checksum is wrong)")
        length = self.number(size)
        if length < 0:
            raise broken(f"{self._what} has a file of negative size")
        name = _text(name)
        if magic == b"ustar\0" and prefix[0]:
            name = _text(prefix) + b"/" + name
        if kind in _LIKE_REGULAR:
            kind = REGULAR
        mode, uid, gid = self._owners.get(owner) or self._owner(owner)
        moment = self._times.get(mtime)
        if moment is None:
            moment = self._time(mtime)
        # By position, which is faster: name, kind, size, stored, mode, uid, gid, mtime, link.
        return TarEntry(name, kind, length, length, mode, uid, gid, moment, _text(link) if link[0] else b"")

    def number(self, field: bytes) -> int:
        """A header's number: octal digits, or GNU's base 256 if the first bit is set."""
        if field[0] in (0x80, 0xFF):
            value = int.from_bytes(field[1:], "big")
            return value if field[0] == 0x80 else value - (1 << 8 * (len(field) - 1))  # noqa: PLR2004
        try:
            return int(field.rstrip(b"\0 ") or b"0", 8)
        except ValueError:
            pass
        digits = field.partition(b"\0")[0].strip()  # what follows a null byte does not count
        try:
            return int(digits, 8) if digits else 0
        except ValueError as error:
            raise broken(
                f"{self._what} is not a tar file, or is damaged (a header contains an invalid number)"
            ) from error

    def _owner(self, fields: bytes) -> tuple[int, int, int]:
        owner = self.number(fields[:8]), self.number(fields[8:16]), self.number(fields[16:])
        if len(self._owners) < _MAXIMUM_REMEMBERED:
            self._owners[fields] = owner
        return owner

    def _time(self, field: bytes) -> int:
        moment = self.number(field)
        if len(self._times) < _MAXIMUM_REMEMBERED:
            self._times[field] = moment
        return moment


def _text(field_bytes: bytes) -> bytes:
    return field_bytes.partition(b"\0")[0]
