"""Image archives that an FDL file names: one that holds no usable image is reported before a deployment."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from fdl_schemas.load import check
from fdl_schemas.rules import archives
from tests.oci_images import (
    INDEX_TYPE,
    MANIFEST_TYPE,
    File,
    Image,
    descriptor,
    docker_save,
    oci_archive,
    symlink,
    tar_of,
    write_layout,
)

IMAGE = Image([tar_of([File("a", b"1" * 2000)])])
ARM = Image(IMAGE.layers, architecture="arm64")


def messages(archive: Path, more: str = "") -> list[str]:
    """What is said of a function with this archive; the archive is beside the FDL file."""
    fdl = archive.parent / "workflow.yaml"
    fdl.write_text(
        f"functions:\n  aws:\n  - lambda:\n      name: f\n      container:\n"
        f"        image_file: {archive.name}\n{more}"
    )
    return [f"{found.code} {found.line}:{found.column} {found.message}" for found in check(fdl).diagnostics]


def problem(archive: Path, more: str = "") -> str:
    (found,) = messages(archive, more)
    start = f"FDL038 6:21 `image_file` `{archive.name}` "
    assert found.startswith(start), found
    return found.removeprefix(start)


def oci(folder: Path, **images: Image) -> Path:
    write_layout(folder / "layout", {name.replace("_", "."): image for name, image in images.items()})
    return oci_archive(folder / "image.tar", folder / "layout")


def several_platforms(folder: Path, *images: Image) -> Path:
    """An OCI archive whose index names an index, as `skopeo copy --all` and `docker buildx` write it."""
    layout = folder / "layout"
    write_layout(layout, dict.fromkeys(["x"], images[0]))
    entries = []
    for image in images:
        manifest, config, layers = image.blobs()
        for blob in (manifest, config, *layers):
            add_blob(layout, blob)
        platform = {"os": "linux", "architecture": image.architecture}
        entries.append(descriptor(manifest, MANIFEST_TYPE, platform=platform))
    attestation = descriptor(b"{}", MANIFEST_TYPE, platform={"os": "unknown", "architecture": "unknown"})
    inner = json.dumps({"schemaVersion": 2, "manifests": [*entries, attestation]}).encode()
    add_blob(layout, inner)
    outer = {"schemaVersion": 2, "manifests": [descriptor(inner, INDEX_TYPE)]}
    (layout / "index.json").write_text(json.dumps(outer))
    return oci_archive(folder / "image.tar", layout)


def add_blob(layout: Path, blob: bytes) -> None:
    path = layout / "blobs" / str(descriptor(blob, "")["digest"]).replace(":", "/")
    path.write_bytes(blob)


def test_archives_of_docker_and_of_oci_tools_are_accepted(tmp_path: Path) -> None:
    assert messages(docker_save(tmp_path / "image.tar", IMAGE)) == []
    assert messages(oci(tmp_path, latest=IMAGE)) == []
    assert messages(several_platforms(tmp_path, ARM, IMAGE)) == []


def test_an_archive_of_one_image_is_accepted_whatever_its_tag(tmp_path: Path) -> None:
    assert messages(oci(tmp_path, v1_2=IMAGE)) == []


def test_layers_that_are_links_to_others_are_accepted(tmp_path: Path) -> None:
    path = docker_save(tmp_path / "image.tar", IMAGE)
    with tarfile.open(path) as tar:
        members = {member.name: tar.extractfile(member).read() for member in tar}  # type: ignore[union-attr]
    manifest = json.loads(members.pop("manifest.json"))
    real = manifest[0]["Layers"][0]
    manifest[0]["Layers"] = ["other/layer.tar"]
    files = [File(name, content) for name, content in members.items()]
    files += [symlink("other/layer.tar", f"../{real}"), File("manifest.json", json.dumps(manifest).encode())]
    path.write_bytes(tar_of(files))
    assert messages(path) == []


def zip_file() -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("manifest.json", "[]")
    return content.getvalue()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"),
        (b"#!/bin/sh\necho hello\n" * 100, "is not a tar file"),
        (gzip.compress(tar_of([File("a")]), mtime=0), "is compressed with gzip"),
        (b"\x28\xb5\x2f\xfd" + bytes(100), "is compressed with zstd"),
        (zip_file(), "is a zip file"),
        (bytes(10240), "is not a tar file"),
        (
            tar_of([File("etc/passwd", b"x")]),
            "contains no image: `manifest.json` and `index.json` are missing",
        ),
        (tar_of([File("manifest.json", b"{")]), "is damaged: `manifest.json` is not valid"),
        (tar_of([File("manifest.json", b"[" * 100_000)]), "is damaged: `manifest.json` is not valid"),
        (tar_of([File("manifest.json", b"[]")]), "contains 0 images"),
        (tar_of([File("manifest.json", b"[{}, {}]")]), "contains 2 images"),
        (tar_of([File("manifest.json", b'[{"Config": 1}]')]), "is damaged: `manifest.json` is not valid"),
        (
            tar_of([File("manifest.json", b'[{"Config": "../../etc/passwd", "Layers": []}]')]),
            "is incomplete: `../../etc/passwd` is missing",
        ),
        (tar_of([File("index.json", b'{"manifests": []}')]), "contains 0 images"),
        (
            tar_of([File("index.json", b'{"manifests": [{"digest": "../../etc/passwd"}]}')]),
            "is damaged: `index.json` is not valid",
        ),
    ],
)
def test_what_is_no_image_archive_is_named(content: bytes, said: str, tmp_path: Path) -> None:
    (tmp_path / "image.tar").write_bytes(content)
    assert problem(tmp_path / "image.tar") == said


@pytest.mark.parametrize("made", [docker_save, lambda path, image: oci(path.parent, latest=image)])
def test_an_image_for_another_architecture_than_the_functions_is_named(
    made: Callable[[Path, Image], Path], tmp_path: Path
) -> None:
    arm = "      architectures: [arm64]\n"
    archive = made(tmp_path / "image.tar", ARM)
    assert problem(archive) == "is built for linux/arm64, but the function runs on linux/amd64"
    assert messages(archive, arm) == []
    other = made(tmp_path / "image.tar", IMAGE)
    assert problem(other, arm) == "is built for linux/amd64, but the function runs on linux/arm64"


def test_several_platforms_without_the_functions_are_named(tmp_path: Path) -> None:
    archive = several_platforms(tmp_path, ARM)
    assert problem(archive) == "is built for linux/arm64, but the function runs on linux/amd64"


def test_several_images_without_a_latest_one_are_named(tmp_path: Path) -> None:
    archive = oci(tmp_path, v1=IMAGE, v2=ARM)
    assert problem(archive) == "contains 2 images"
    assert messages(oci(tmp_path, v1=ARM, latest=IMAGE)) == []


def test_an_archive_that_was_cut_off_is_named(tmp_path: Path) -> None:
    archive = oci(tmp_path, latest=IMAGE)
    content = archive.read_bytes()
    with tarfile.open(archive) as tar:
        last = [member for member in tar if member.isreg() and member.size][-1]
    archive.write_bytes(content[: last.offset_data + last.size - 1])
    assert problem(archive) == "is truncated"


def test_a_missing_layer_is_named(tmp_path: Path) -> None:
    write_layout(tmp_path / "layout", {"latest": IMAGE})
    layer = max(
        (tmp_path / "layout" / "blobs" / "sha256").iterdir(),
        key=lambda one: b"\x1f\x8b" in one.read_bytes()[:2],
    )
    layer.unlink()
    archive = oci_archive(tmp_path / "image.tar", tmp_path / "layout")
    assert problem(archive) == f"is incomplete: `blobs/sha256/{layer.name}` is missing"


def test_a_member_that_claims_to_be_huge_is_not_read_into_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archives, "MAX_DOCUMENT_BYTES", 10_000)
    (tmp_path / "image.tar").write_bytes(tar_of([File("manifest.json", b" " * 10_001)]))
    assert problem(tmp_path / "image.tar") == "is damaged: `manifest.json` has more than 10000 bytes"
    (tmp_path / "image.tar").write_bytes(tar_of([File("n" * 20_000)]))
    assert problem(tmp_path / "image.tar") == "is not a tar file"


def test_an_endless_archive_is_not_read_without_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "MAX_MEMBERS", 10)
    (tmp_path / "image.tar").write_bytes(tar_of(File(str(number)) for number in range(11)))
    assert problem(tmp_path / "image.tar") == "contains more than 10 files"


def test_an_archive_is_reported_once_for_each_architecture(tmp_path: Path) -> None:
    (tmp_path / "image.tar").write_bytes(b"")
    more = "  - lambda:\n      name: g\n      container:\n        image_file: image.tar\n"
    assert problem(tmp_path / "image.tar", more) == "is empty"
