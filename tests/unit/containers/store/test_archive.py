from __future__ import annotations

import io
import json
import os
import tarfile
import tracemalloc
from pathlib import Path

import pytest

from containers.errors import ExplainedError
from containers.image.origin import ByteStream, FoundImage, Layer
from containers.layers.unpack import Unpacker
from containers.registry.ranges import FileSource
from containers.store.archive import find_in_archive, s3_archive
from tests.oci_images import File, Image, docker_save, oci_archive, symlink, tar_of, write_layout

IMAGE = Image([tar_of([File("a", b"1")]), tar_of([File("b", b"2" * 100_000)])], {"Entrypoint": ["/a"]})


def unpack(found: FoundImage, root: Path) -> Path:
    root.mkdir()
    unpacker = Unpacker(root, charge=lambda _: None, what="image test")
    for layer in found.layers:
        unpacker.apply(layer)
    unpacker.finish()
    return root


def opened(path: Path) -> FoundImage:
    return find_in_archive(FileSource(os.open(path, os.O_RDONLY)), "amd64", "image archive test")


def failing(path: Path) -> ExplainedError:
    with pytest.raises(ExplainedError) as caught:
        opened(path)
    return caught.value


def test_docker_save(tmp_path: Path) -> None:
    found = opened(docker_save(tmp_path / "image.tar", IMAGE))
    root = unpack(found, tmp_path / "root")
    assert (root / "b").read_bytes() == b"2" * 100_000
    assert found.load_config().entrypoint == ("/a",)


def test_oci_archive(tmp_path: Path) -> None:
    digests = write_layout(tmp_path / "layout", {"some-tag": IMAGE})
    found = opened(oci_archive(tmp_path / "image.tar", tmp_path / "layout"))
    assert found.digest == digests["some-tag"]
    assert (unpack(found, tmp_path / "root") / "a").read_bytes() == b"1"


def test_docker_save_with_layers_that_are_links(tmp_path: Path) -> None:
    path = docker_save(tmp_path / "image.tar", Image([IMAGE.layers[0]]))
    with tarfile.open(path) as tar:
        members = {member.name: tar.extractfile(member).read() for member in tar}  # type: ignore[union-attr]
    manifest = json.loads(members.pop("manifest.json"))
    real = manifest[0]["Layers"][0]
    manifest[0]["Layers"] = ["other/layer.tar"]
    files = [File(name, content) for name, content in members.items()]
    files += [symlink("other/layer.tar", f"../{real}"), File("manifest.json", json.dumps(manifest).encode())]
    path.write_bytes(tar_of(files))
    assert (unpack(opened(path), tmp_path / "root") / "a").read_bytes() == b"1"


def test_layer_that_does_not_match_its_diff_id(tmp_path: Path) -> None:
    path = docker_save(tmp_path / "image.tar", IMAGE)
    path.write_bytes(path.read_bytes().replace(b"2" * 50_000, b"3" * 50_000))
    with pytest.raises(ExplainedError) as caught:
        unpack(opened(path), tmp_path / "root")
    assert caught.value.kind == "DigestMismatch"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"nonsense" * 1000,
        tar_of([File("x")]),
        tar_of([File("manifest.json", b"{")]),
        tar_of([File("manifest.json", b"[]")]),
        tar_of([File("manifest.json", b'[{"Config": "../../etc/passwd", "Layers": []}]')]),
        tar_of([File("index.json", b'{"manifests": [{"digest": "sha256:00", "size": 1}]}')]),
    ],
)
def test_what_is_no_image_archive(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "image.tar"
    path.write_bytes(content)
    assert failing(path).kind == "BadImage"


def test_huge_extended_header_in_an_archive_is_refused(tmp_path: Path) -> None:
    header = tarfile.TarInfo("pax")
    header.type, header.size = tarfile.XHDTYPE, 8 << 30
    path = tmp_path / "image.tar"
    path.write_bytes(header.tobuf(tarfile.GNU_FORMAT) + bytes(1 << 20))
    assert failing(path).kind == "BadImage"


def extended(content: bytes, kind: bytes = tarfile.XHDTYPE) -> bytes:
    header = tarfile.TarInfo("extended")
    header.type, header.size = kind, len(content)
    return header.tobuf(tarfile.GNU_FORMAT) + content + bytes(-len(content) % 512)


def record(key: str, value: bytes) -> bytes:
    body = f" {key}=".encode() + value + b"\n"
    return b"%d" % (len(body) + len(str(len(body) + 7))) + body


def test_an_archive_of_endless_extended_headers_is_refused(tmp_path: Path) -> None:
    """tarfile calls itself for each of them."""
    path = tmp_path / "image.tar"
    for kind in (tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.XGLTYPE):
        path.write_bytes(extended(b"", kind) * 3000 + tarfile.TarInfo("x").tobuf())
        assert failing(path).kind == "BadImage"


def test_the_headers_of_an_archive_do_not_fill_the_memory(tmp_path: Path) -> None:
    member = extended(b"n" * (1 << 20) + b"\0", tarfile.GNUTYPE_LONGNAME) + tarfile.TarInfo("x").tobuf()
    path = tmp_path / "image.tar"
    with path.open("wb") as file:
        for _ in range(100):
            file.write(member)
    tracemalloc.start()
    try:
        assert failing(path).kind == "BadImage"
        assert tracemalloc.get_traced_memory()[1] < 60 << 20
    finally:
        tracemalloc.stop()


def test_a_sparse_map_in_an_archive_is_read_no_further_than_headers_may_go(tmp_path: Path) -> None:
    header = b"".join(
        record(f"GNU.sparse.{key}", value)
        for key, value in (("major", b"1"), ("minor", b"0"), ("realsize", b"10"))
    )
    file = tarfile.TarInfo("sparse")
    file.size = 16 << 20
    path = tmp_path / "image.tar"
    with path.open("wb") as opened_file:
        opened_file.write(extended(header) + file.tobuf() + b"99999999999\n")
        opened_file.write(b"1234567890123456789\n" * 1_000_000)
    source = Counting(os.open(path, os.O_RDONLY))
    with pytest.raises(ExplainedError) as caught:
        find_in_archive(source, "amd64", "image archive")
    assert caught.value.kind == "BadImage"
    assert source.asked < 9 << 20


class Counting(FileSource):
    """Counts what is asked for."""

    asked = 0

    def stream(self, offset: int, size: int) -> ByteStream:
        self.asked += size
        return super().stream(offset, size)


def test_a_table_of_very_many_layers_is_refused(tmp_path: Path) -> None:
    config = json.dumps({"rootfs": {"diff_ids": ["sha256:" + "0" * 64] * 2000}}).encode()
    table = json.dumps([{"Config": "c.json", "Layers": ["l.tar"] * 2000}]).encode()
    path = tmp_path / "image.tar"
    path.write_bytes(tar_of([File("manifest.json", table), File("c.json", config), File("l.tar", b"")]))
    assert "the maximum is 1000" in failing(path).cause


def test_address_that_is_no_s3_object() -> None:
    with pytest.raises(ExplainedError) as caught:
        s3_archive("http://x/y", "image archive http://x/y")
    assert caught.value.kind == "BadConfiguration"


def test_zstd_layers_work_or_are_explained(tmp_path: Path) -> None:
    zstd = pytest.importorskip("backports.zstd", reason="the package backports.zstd is not installed")
    layer = zstd.compress(IMAGE.layers[0])
    root = tmp_path / "root"
    root.mkdir()
    Unpacker(root, charge=lambda _: None, what="t").apply(Layer(len(layer), lambda: io.BytesIO(layer)))
    assert (root / "a").read_bytes() == b"1"
