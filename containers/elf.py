"""The little that must be known of a program file: for which machine, which dynamic linker, or which `#!`
line."""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import IO

ELF64 = b"\x7fELF\x02\x01"
"""How a program file of 64 bits, little-endian, begins."""

_PT_INTERP = 3
_MACHINES = {62: "x86_64", 183: "aarch64"}
_HEAD = 4096
_MAXIMUM_LIBRARY = 16 << 20


@dataclass(frozen=True)
class Program:
    """An ELF file's machine and `interpreter` (None: statically linked), or a script's `shebang` words."""

    machine: str = ""
    interpreter: str | None = None
    shebang: tuple[str, ...] = ()

    @property
    def is_elf(self) -> bool:
        """Whether it is a binary at all."""
        return bool(self.machine)


def read_program(path: Path) -> Program:
    """The Program at `path`, which is empty for a file that is neither ELF nor a script. Raises OSError."""
    with path.open("rb") as file:
        return program_in(file)


def program_in(file: IO[bytes]) -> Program:
    """The Program in a seekable file, or in the beginning of one."""
    head = file.read(_HEAD)
    if head.startswith(b"#!"):
        words = head[2:].partition(b"\n")[0].decode("utf-8", "surrogateescape").strip().split(None, 1)
        return Program(shebang=tuple(words))
    if len(head) < 64 or not head.startswith(ELF64):  # noqa: PLR2004 - the header's size
        return Program()
    machine = struct.unpack_from("<H", head, 18)[0]
    offset, size, count = struct.unpack_from("<Q", head, 32)[0], *struct.unpack_from("<HH", head, 54)
    interpreter = None
    for index in range(min(count, 64)):
        file.seek(offset + index * size)
        entry = file.read(56)
        if len(entry) == 56 and struct.unpack_from("<I", entry)[0] == _PT_INTERP:  # noqa: PLR2004 - one entry
            place, length = struct.unpack_from("<Q", entry, 8)[0], struct.unpack_from("<Q", entry, 32)[0]
            file.seek(place)
            interpreter = file.read(min(length, _HEAD)).rstrip(b"\0").decode("utf-8", "surrogateescape")
            break
    return Program(_MACHINES.get(machine, str(machine)), interpreter)


def glibc_version(path: Path) -> tuple[int, int] | None:
    """The newest GLIBC_x.y that a library defines or needs; None if it has nothing to do with glibc."""
    with path.open("rb") as file:
        content = file.read(_MAXIMUM_LIBRARY)
    versions = [
        (int(major), int(minor)) for major, minor in re.findall(rb"GLIBC_(\d{1,3})\.(\d{1,3})", content)
    ]
    return max(versions, default=None)


def mentions(path: Path, text: bytes) -> bool:
    """Whether a small binary contains `text`."""
    with path.open("rb") as file:
        return text in file.read(_MAXIMUM_LIBRARY)
