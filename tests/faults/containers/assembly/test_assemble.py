"""What an assembled image holds, and what is moved for it."""

from __future__ import annotations

import gzip
import json
import time
from pathlib import Path

import pytest

from containers.assembly import OutOfTime
from containers.errors import ExplainedError
from tests import oci_images
from tests.faults.containers.assembly.world import World, image_of, package
from tests.oci_images import File, directory, symlink, tar_of
from tests.registry_server import real_registry

SHELL = tar_of(
    [
        directory("bin"),
        directory("etc"),
        File("bin/sh", b"\x7fELF", 0o755),
        File("etc/passwd", b"root:x:0:0:root:/root:/bin/sh\n"),
        File("etc/group", b"root:x:0:\n"),
    ]
)
TOOLS = tar_of([directory("opt"), File("opt/tool", b"#!/bin/sh\n", 0o755)])


def test_assembled_image_holds_the_users_layers_byte_for_byte_and_ours_on_top(world: World) -> None:
    image = image_of(SHELL, TOOLS, config={"Cmd": ["/bin/sh"], "WorkingDir": "/opt", "User": "0:0"})
    source_digest = world.push(image)
    done = world.assemble()
    world.accepted_by_tools(done.digest)
    files, contents = world.check(done.digest)
    layers = [layer["digest"] for layer in world.manifest(done.digest)["layers"]]
    assert layers[:2] == [oci_images.digest_of(blob) for blob in image.blobs()[2]]
    assert files[".scar/python/bin/python3"].mode == 0o755
    assert contents[".scar/function/init_script"] == b"#!/bin/sh\necho hello\n"
    assert files[".scar/function/init_script"].mode == 0o755
    assert b"sbx_user1051:x:993:990::/tmp:/bin/sh\n" in contents["etc/passwd"]
    assert contents["etc/group"] == b"root:x:0:\nsbx_user1051:x:990:\n"
    assert done.source_digest == source_digest


def test_the_images_own_way_to_run_is_kept_for_functions_without_a_script(world: World) -> None:
    config = {
        "Entrypoint": ["/bin/sh", "-c"],
        "Cmd": ["echo"],
        "Env": ["PATH=/bin", "LD_PRELOAD=/x.so", "PYTHONHOME=/y", "A=b"],
        "WorkingDir": "/opt",
        "User": "nobody",
        "Labels": {"a": "b"},
        "StopSignal": "SIGINT",
    }
    world.push(image_of(SHELL, TOOLS, config=config))
    done = world.assemble(package=package(None))
    kept = json.loads(world.check(done.digest)[1][".scar/function/image_config.json"])
    assert kept == {
        "version": 1,
        "entrypoint": ["/bin/sh", "-c"],
        "cmd": ["echo"],
        "env": config["Env"],
        "working_dir": "/opt",
        "user": "nobody",
    }
    now = world.config(done.digest)["config"]
    assert now["Entrypoint"] == [
        "/.scar/python/lib/ld.so", "--library-path", "/.scar/python/lib", "/.scar/python/bin/python3",
        "-I", "-X", "utf8", "-m", "runtime",
    ]  # fmt: skip
    assert now["Cmd"] == ["lambda"]
    # The runner must not load the image's libraries, nor look for its modules in the image's Python.
    assert now["Env"] == ["PATH=/bin", "A=b"]
    assert (now["WorkingDir"], now["User"], now["StopSignal"]) == ("/opt", "nobody", "SIGINT")
    assert now["Labels"]["a"] == "b"
    assert now["Labels"]["org.opencontainers.image.base.name"] == world.reference


def test_a_changed_script_moves_one_small_layer_and_needs_no_source(world: World, tmp_path: Path) -> None:
    (tmp_path / "registry").mkdir()
    with real_registry(tmp_path / "registry") as world.source:
        world.push(image_of(SHELL, TOOLS))
        first = world.assemble()
    again = world.assemble(package=package("#!/bin/sh\necho changed\n"))
    assert again.digest != first.digest
    assert again.source_digest == first.source_digest
    assert again.bytes_read == 0
    assert 0 < again.bytes_sent < 1000
    before, now = (world.manifest(done.digest)["layers"] for done in (first, again))
    assert now[:-1] == before[:-1]
    world.check(again.digest)


def test_the_same_again_is_the_same_image_and_moves_nothing(world: World) -> None:
    world.push(image_of(SHELL))
    first = world.assemble()
    tags = world.tags()
    again = world.assemble()
    assert again.digest == first.digest
    assert world.tags() == tags


def test_another_runner_keeps_the_users_image_as_it_was_resolved(world: World, tmp_path: Path) -> None:
    world.push(image_of(SHELL))
    first = world.assemble()
    world.push(image_of(SHELL, TOOLS))  # the tag has moved
    (tmp_path / "python3").write_bytes(b"\x7fELF another")
    again = world.assemble()
    assert again.digest != first.digest
    assert again.source_digest == first.source_digest
    assert world.assemble(refresh="2").source_digest != first.source_digest


def test_a_layer_that_another_image_brought_is_not_read_again(world: World) -> None:
    world.push(image_of(SHELL))
    world.assemble()
    world.tag = "2"
    world.push(image_of(SHELL, TOOLS))
    done = world.assemble()
    assert done.bytes_read == len(gzip.compress(TOOLS, 1, mtime=0))
    world.check(done.digest)


def test_time_that_runs_out_ends_the_run_and_the_next_one_goes_on(world: World) -> None:
    world.push(image_of(SHELL, TOOLS))
    with pytest.raises(OutOfTime):
        world.assemble(deadline=time.monotonic() - 1)
    assert not [tag for tag in world.tags() if tag.startswith(("resize-", "base-"))]
    world.check(world.assemble().digest)


@pytest.mark.parametrize("kind", ["docker-save", "oci"])
def test_archives_become_images(world: World, tmp_path: Path, kind: str) -> None:
    image = image_of(SHELL, TOOLS)
    path = tmp_path / "image.tar"
    if kind == "oci":
        oci_images.write_layout(tmp_path / "folder", {"latest": image})
        oci_images.oci_archive(path, tmp_path / "folder")
    else:
        oci_images.docker_save(path, image)
    done = world.assemble(archive=str(path))
    world.accepted_by_tools(done.digest)
    files, _ = world.check(done.digest)
    assert {"bin/sh", "opt/tool"} <= set(files)


def test_a_damaged_archive_is_not_assembled(world: World, tmp_path: Path) -> None:
    path = oci_images.docker_save(tmp_path / "image.tar", image_of(SHELL))
    content = path.read_bytes()
    path.write_bytes(content.replace(b"root:x:0:0:root", b"toor:x:0:0:toor"))
    with pytest.raises(ExplainedError, match="is damaged") as caught:
        world.assemble(archive=str(path))
    assert caught.value.kind == "DigestMismatch"
    assert not [tag for tag in world.tags() if tag.startswith(("resize-", "base-", "layer-"))]


def test_a_link_is_followed_to_the_file_that_lambdas_user_needs(world: World) -> None:
    layer = tar_of(
        [
            directory("usr"),
            directory("usr/local", 0o700),
            File("usr/local/start.sh", b"#!/bin/busybox sh\n", 0o700),
            directory("bin"),
            File("bin/busybox", b"\x7fELF", 0o755),
            symlink("start", "usr/local/start.sh"),
        ]
    )
    world.push(image_of(layer, config={"Entrypoint": ["/start"]}))
    done = world.assemble(package=package(None))
    files, contents = world.check(done.digest)
    assert files["usr/local"].mode == 0o705
    assert files["usr/local/start.sh"].mode == 0o705
    assert contents["usr/local/start.sh"] == b"#!/bin/busybox sh\n"
    world.accepted_by_tools(done.digest)
