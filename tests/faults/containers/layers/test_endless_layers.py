"""Image layers whose headers never end: they must not fill the memory."""

from __future__ import annotations

import tarfile
import tracemalloc
from collections.abc import Iterable, Iterator
from pathlib import Path

from containers.image.origin import Layer
from containers.layers.unpack import Unpacker
from tests.unit.containers.layers.test_unpack import Blocks, padded


def long_name(name: bytes, header: tarfile.TarInfo) -> bytes:
    """A member under a name of any length."""
    extension = tarfile.TarInfo("././@LongLink")
    extension.type, extension.size = tarfile.GNUTYPE_LONGNAME, len(name)
    return extension.tobuf(tarfile.GNU_FORMAT) + padded(name) + header.tobuf(tarfile.GNU_FORMAT)


def peak_bytes(root: Path, blocks: Iterable[bytes]) -> int:
    """The memory that Python's objects take at the peak while a layer of so many blocks is unpacked."""
    source = Blocks(iter(blocks))
    root.mkdir()
    unpacker = Unpacker(root, charge=lambda _: None, what="image test")
    tracemalloc.start()
    try:
        unpacker.apply(Layer(0, lambda: source))
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_extended_headers_without_end_do_not_fill_the_memory(tmp_path: Path) -> None:
    def blocks() -> Iterator[bytes]:
        for number in range(120):
            record = b"k%04d=%s\n" % (number, b"v" * 999_985)
            record = b"%d " % (len(record) + 7) + record
            header = tarfile.TarInfo("pax")
            header.type, header.size = (tarfile.XHDTYPE, tarfile.XGLTYPE)[number % 2], len(record)
            yield header.tobuf(tarfile.USTAR_FORMAT) + padded(record)

    assert peak_bytes(tmp_path / "root", blocks()) < 100 << 20


def test_a_folder_under_many_long_names_does_not_fill_the_memory(tmp_path: Path) -> None:
    names = (b"./" * (499_000 - number) + b"folder/file" for number in range(120))
    blocks = (long_name(name, tarfile.TarInfo("x")) for name in names)
    assert peak_bytes(tmp_path / "root", blocks) < 100 << 20
    assert [path.name for path in (tmp_path / "root/folder").iterdir()] == ["file"]
