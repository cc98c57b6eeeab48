"""What the second tier keeps of an image: an index, and an object with the files' content, in parts of 2 MB.

The image lies there as one tree, with neither layers nor whiteouts. The index is written last: an image is
there when its index is. It is JSON, compressed, behind a line that names its digest, and tells:

    subject, digest, architecture   what the name stood for, and the manifest that was unpacked
    config                          how the image wants to be run
    directories                     [parent, name, mode, uid, gid, mtime]; the first is the root itself
    symlinks                        [parent, name, uid, gid, target]
    hard_links                      [parent, name, parent of the target, name of the target]
    fifos                           [parent, name, mode, uid, gid]
    large                           [parent, name, mode, uid, gid, mtime, size] of files in segments; null:
                                    left out
    content_key                     the object that holds the parts, one behind the other
    parts                           [size, sha256, size when decompressed]

A parent is the number of a directory, and always smaller than that of its children. Names are bytes that need
not be UTF-8, and stand here as Python's `surrogateescape` has them; times are in nanoseconds.

A part is a compressed sequence of records: `RECORD`, then the name (of a file that is wholly there), then its
data. So each part can be read without the others, and by several threads at once.
"""

from __future__ import annotations

import hashlib
import io
import json
import struct
from dataclasses import asdict, dataclass
from typing import Any

from runtime.bounded_json import read_json
from runtime.errors import RunnerError, shown
from runtime.images.decompress import decompressed
from runtime.images.manifest import ImageConfig, is_digest

FORMAT = 1
RECORD = struct.Struct("<BBHIIIqQ")
"""kind, length of the name, mode, directory, uid, gid, mtime, size; of a segment: kind, 0, 0, number of the
large file, 0, 0, offset, size."""
WHOLE_FILE, SEGMENT = 1, 2

LARGE_BYTES = 1 << 20
"""Files above this, and those with holes, are stored in segments of at most so much."""
PART_BYTES = 2 << 20
"""A part is complete when its content has reached this."""
MAXIMUM_PART_BYTES = PART_BYTES + LARGE_BYTES + (1 << 16)
MAXIMUM_INDEX_BYTES = 32 << 20
_MAXIMUM_PLAIN_INDEX_BYTES = 256 << 20
_MAGIC = b"scar image index 1 "


class DamagedEntry(Exception):  # noqa: N818 - not an error for the run: the image comes from elsewhere
    """What the second tier holds of an image cannot be used; the text says why."""


@dataclass
class ImageIndex:
    """The index, see above."""

    subject: str
    digest: str
    architecture: str
    config: ImageConfig
    directories: list[list[Any]]
    symlinks: list[list[Any]]
    hard_links: list[list[Any]]
    fifos: list[list[Any]]
    large: list[list[Any] | None]
    content_key: str
    parts: list[list[Any]]

    @property
    def stored_bytes(self) -> int:
        """What its parts weigh in S3."""
        return sum(part[0] for part in self.parts)

    @property
    def content_bytes(self) -> int:
        """What its parts weigh on disk."""
        return sum(part[2] for part in self.parts)


def encode(index: ImageIndex, compress: Any) -> bytes:
    """The object's content; `compress` is what parts are compressed with."""
    packed: bytes = compress(json.dumps({"format": FORMAT, **asdict(index)}, separators=(",", ":")).encode())
    return _MAGIC + hashlib.sha256(packed).hexdigest().encode() + b"\n" + packed


def decode(content: bytes, subject: str, architecture: str) -> ImageIndex:
    """The index in an object's content, its fields checked as far as their kinds go. Raises DamagedEntry."""
    head, _, packed = content.partition(b"\n")
    if head != _MAGIC + hashlib.sha256(packed).hexdigest().encode():
        raise DamagedEntry("its index is not what was written")
    try:
        document = read_json(_plain(packed), longest_bytes=_MAXIMUM_PLAIN_INDEX_BYTES)
        if document.pop("format") != FORMAT:
            raise DamagedEntry("its index is of another format")
        config = document.pop("config")
        index = ImageIndex(
            config=ImageConfig(
                env=tuple(map(_text, config["env"])),
                entrypoint=tuple(map(_text, config["entrypoint"])),
                cmd=tuple(map(_text, config["cmd"])),
                working_dir=_text(config["working_dir"]),
                user=_text(config["user"]),
            ),
            **document,
        )
        _check(index)
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise DamagedEntry(f"its index is malformed ({shown(str(error))})") from error
    if (index.subject, index.architecture) != (subject, architecture):
        raise DamagedEntry(f"its index is of {shown(index.subject)} for {shown(index.architecture)}")
    return index


def _plain(packed: bytes) -> bytes:
    stream = decompressed(io.BytesIO(packed), "the index")
    parts: list[bytes] = []
    size = 0
    try:
        while chunk := stream.read(1 << 20):
            size += len(chunk)
            if size > _MAXIMUM_PLAIN_INDEX_BYTES:
                raise DamagedEntry("its index is too large")
            parts.append(chunk)
    except RunnerError as error:
        raise DamagedEntry(f"its index cannot be read: {error.cause}") from error
    return b"".join(parts)


_SHAPES = {
    "directories": (int, str, int, int, int, int),
    "symlinks": (int, str, int, int, str),
    "hard_links": (int, str, int, str),
    "fifos": (int, str, int, int, int),
    "large": (int, str, int, int, int, int, int),
    "parts": (int, str, int),
}


def _check(index: ImageIndex) -> None:
    """Each entry has the right number of values, of the right kinds; sizes are bearable."""
    if not is_digest(index.digest) or not index.directories:
        raise ValueError("no digest, or no root")
    for name, shape in _SHAPES.items():
        for entry in getattr(index, name):
            if entry is None and name == "large":
                continue
            if tuple(map(type, entry)) != shape:
                raise ValueError(f"an entry of {name}")
    for value in (index.content_key, index.subject, index.architecture):
        _text(value)
    for size, _, content in index.parts:
        if not 0 < size <= 2 * MAXIMUM_PART_BYTES or not 0 < content <= 2 * MAXIMUM_PART_BYTES:
            raise ValueError("the size of a part")


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("a text is none")
    return value
