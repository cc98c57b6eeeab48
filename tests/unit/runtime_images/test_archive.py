from __future__ import annotations

import gzip
import io
import json
import os
import tarfile
from pathlib import Path

import pytest

from runtime.errors import RunnerError
from runtime.images import archive
from runtime.images.archive import find_in_archive
from runtime.images.origin import FoundImage, Layer
from runtime.images.ranges import FileSource
from runtime.images.unpack import Unpacker
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


def failing(path: Path) -> RunnerError:
    with pytest.raises(RunnerError) as caught:
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
    with pytest.raises(RunnerError) as caught:
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


def test_archive_compressed_as_a_whole(tmp_path: Path) -> None:
    path = docker_save(tmp_path / "image.tar", IMAGE)
    path.write_bytes(gzip.compress(path.read_bytes()))
    with archive._plain(FileSource(os.open(path, os.O_RDONLY)), tmp_path, "image test") as source:
        found = find_in_archive(source, "amd64", "image test")
        assert (unpack(found, tmp_path / "root") / "a").read_bytes() == b"1"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["image.tar", "root"]


def test_address_that_is_no_s3_object(tmp_path: Path) -> None:
    with pytest.raises(RunnerError) as caught, archive.find_in_s3_archive("http://x/y", "amd64", tmp_path):
        pass
    assert caught.value.kind == "BadConfiguration"


def test_zstd_layers_work_or_are_explained(tmp_path: Path) -> None:
    zstd = pytest.importorskip("backports.zstd", reason="the package backports.zstd is not installed")
    layer = zstd.compress(IMAGE.layers[0])
    root = tmp_path / "root"
    root.mkdir()
    Unpacker(root, charge=lambda _: None, what="t").apply(Layer(len(layer), lambda: io.BytesIO(layer)))
    assert (root / "a").read_bytes() == b"1"
