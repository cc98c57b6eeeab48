from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import shutil
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import pytest

from containers.building.host_files import add_libraries, base_system
from containers.building.layer_files import LayerFiles
from containers.building.layout import ImageSettings, write_layout

SETTINGS = ImageSettings({"PATH": "/usr/bin:/bin"}, ["/bin/sh"], tag="1.2")


def tiny_layers(program: Path) -> list[LayerFiles]:
    base, top = LayerFiles(), LayerFiles()
    base.add_folder("tmp", 0o1777)
    base.add_file("usr/bin/program", program)
    base.add_link("bin", "usr/bin")
    top.add_content("opt/note", "hello\n")
    return [base, top]


@pytest.fixture
def program(tmp_path: Path) -> Path:
    file = tmp_path / "program"
    file.write_text("#!/bin/sh\necho hello\n")
    file.chmod(0o700)
    return file


def blob(layout: Path, descriptor: dict[str, Any]) -> bytes:
    data: bytes = (
        layout / "blobs" / "sha256" / str(descriptor["digest"]).removeprefix("sha256:")
    ).read_bytes()
    assert f"sha256:{hashlib.sha256(data).hexdigest()}" == descriptor["digest"]
    assert len(data) == descriptor["size"]
    return data


def test_layout_names_every_blob_by_digest_size_and_media_type(tmp_path: Path, program: Path) -> None:
    layout = tmp_path / "layout"
    digest = write_layout(layout, tiny_layers(program), SETTINGS)
    assert json.loads((layout / "oci-layout").read_text()) == {"imageLayoutVersion": "1.0.0"}
    (entry,) = json.loads((layout / "index.json").read_text())["manifests"]
    assert entry["digest"] == digest
    assert entry["mediaType"] == "application/vnd.oci.image.manifest.v1+json"
    assert entry["annotations"] == {"org.opencontainers.image.ref.name": "1.2"}
    manifest = json.loads(blob(layout, entry))
    assert manifest["config"]["mediaType"] == "application/vnd.oci.image.config.v1+json"
    config = json.loads(blob(layout, manifest["config"]))
    assert config["config"]["Env"] == ["PATH=/usr/bin:/bin"]
    assert config["os"] == "linux"
    for layer, diff_id in zip(manifest["layers"], config["rootfs"]["diff_ids"], strict=True):
        assert layer["mediaType"] == "application/vnd.oci.image.layer.v1.tar+gzip"
        tar = gzip.decompress(blob(layout, layer))
        assert f"sha256:{hashlib.sha256(tar).hexdigest()}" == diff_id
    named = {
        entry["digest"],
        manifest["config"]["digest"],
        *(layer["digest"] for layer in manifest["layers"]),
    }
    assert {f"sha256:{file.name}" for file in (layout / "blobs" / "sha256").iterdir()} == named


def test_same_files_give_the_same_digest_whenever_they_were_written(tmp_path: Path, program: Path) -> None:
    first = write_layout(tmp_path / "first", tiny_layers(program), SETTINGS)
    os.utime(program, (1, 1))
    assert write_layout(tmp_path / "second", tiny_layers(program), SETTINGS) == first
    program.write_text("#!/bin/sh\necho changed\n")
    assert write_layout(tmp_path / "third", tiny_layers(program), SETTINGS) != first


def test_layer_belongs_to_root_is_dated_1970_and_names_folders_before_their_files(program: Path) -> None:
    stream = io.BytesIO()
    tiny_layers(program)[0].write_tar(stream)
    stream.seek(0)
    with tarfile.open(fileobj=stream) as archive:
        members = archive.getmembers()
    assert [member.name for member in members] == ["bin", "tmp", "usr", "usr/bin", "usr/bin/program"]
    assert {(member.uid, member.gid, member.mtime) for member in members} == {(0, 0, 0)}
    assert [oct(member.mode) for member in members] == ["0o777", "0o1777", "0o755", "0o755", "0o755"]


@pytest.mark.parametrize("path", ["/etc/passwd", "../etc/passwd", "usr/../../etc", ""])
def test_path_that_leaves_the_image_is_refused(path: str) -> None:
    with pytest.raises(ValueError, match="relative to its root"):
        LayerFiles().add_content(path, "x")


def test_fingerprint_changes_with_an_input_and_only_then(program: Path) -> None:
    before = tiny_layers(program)[0].fingerprint()
    assert tiny_layers(program)[0].fingerprint() == before
    program.write_text("#!/bin/sh\necho something longer\n")
    assert tiny_layers(program)[0].fingerprint() != before


def test_libraries_of_a_program_come_with_its_loader() -> None:
    root = LayerFiles()
    add_libraries(root, [Path("/bin/sh")])
    names = {path.rpartition("/")[2] for path in root.entries}
    assert "libc.so.6" in names
    assert any(name.startswith("ld-") for name in names)


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("chroot"), reason="chroot is for root alone")
def test_shell_of_the_base_system_runs_in_it(tmp_path: Path) -> None:
    stream = io.BytesIO()
    base_system().write_tar(stream)
    stream.seek(0)
    with tarfile.open(fileobj=stream) as archive:
        archive.extractall(tmp_path, filter="fully_trusted")
    script = 'for p in basename dirname mkdir cat ls; do command -v $p; done; basename "a b/c d.jpg" .jpg'
    run = [shutil.which("chroot") or "chroot", str(tmp_path), "/bin/sh", "-c", script]
    done = subprocess.run(run, capture_output=True, text=True, check=False, env={"PATH": "/usr/bin:/bin"})
    assert done.stderr == ""
    assert done.stdout.splitlines()[-1] == "c d"
    assert len(done.stdout.splitlines()) == 6
