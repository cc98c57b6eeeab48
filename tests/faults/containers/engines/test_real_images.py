"""Images as people build them: many layers, folders that become links, ENTRYPOINT and USER, musl, static."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from containers.engines import ContainerProcess, choose_engine
from containers.errors import ExplainedError
from containers.store import ImageSource, prepare_image
from runtime.command import prepare_argv
from tests.faults.containers.engines.conftest import Runner
from tests.oci_images import (
    File,
    Image,
    busybox_layer,
    directory,
    host_shell_layer,
    symlink,
    tar_of,
    write_layout,
)

ENGINES = ["namespaces", "fakechroot"]


@pytest.fixture(params=ENGINES)
def runner(request: pytest.FixtureRequest) -> Runner:
    found = request.getfixturevalue(request.param)
    assert isinstance(found, Runner)
    return found


def run(runner: Runner, image: Image, folder: Path, arguments: Sequence[str] | None = None) -> str:
    """What the image's own command writes, as Docker would run it; it has to end well."""
    write_layout(folder / "layouts/test/image", {"latest": image})
    source = ImageSource.registry("test/image")
    mirrors = f"docker.io=file://{folder}/layouts"
    written: list[bytes] = []
    with prepare_image(source, store=runner.store, mirrors=mirrors) as root:
        environment = dict(variable.split("=", 1) for variable in root.config.env)
        process = ContainerProcess(
            root=root,
            argv=prepare_argv(root.path, root.config, None, arguments, environment),
            env=environment,
            working_dir=root.config.working_dir,
            user=root.config.user,
            binds={},
            deadline=None,
            on_output=written.append,
        )
        result = runner.engine.run(process)
    output = b"".join(written).decode()
    assert result.exit_code == 0, output
    return output


def test_entry_point_command_folder_and_environment(runner: Runner, tmp_path: Path) -> None:
    entry = b'#!/bin/sh\necho "$PWD $GREETING $*"\n'
    image = Image(
        [host_shell_layer(), tar_of([directory("work"), File("usr/bin/entry", entry, 0o755)])],
        {
            "Entrypoint": ["entry", "first"],
            "Cmd": ["second"],
            "WorkingDir": "/work",
            "Env": ["PATH=/usr/bin", "GREETING=hello"],
        },
    )
    assert run(runner, image, tmp_path / "a") == "/work hello first second\n"
    assert run(runner, image, tmp_path / "b", ["other"]) == "/work hello first other\n"


def test_user_of_the_image_by_name_and_number(namespaces: Runner, tmp_path: Path) -> None:
    command = {"Cmd": ["/bin/sh", "-c", "id -u; id -g"]}
    for user, expected in (("worker", "1234\n4321\n"), ("77:88", "77\n88\n"), ("", "0\n0\n")):
        image = Image([host_shell_layer()], {**command, "User": user})
        assert run(namespaces, image, tmp_path / (user or "root")) == expected


def test_forty_layers(runner: Runner, tmp_path: Path) -> None:
    layers = [host_shell_layer()]
    for number in range(1, 40):
        files = [File("data/shared", b"%d" % number), File(f"data/only{number}", b"x")]
        if number > 1:
            files.append(File(f"data/.wh.only{number - 1}"))
        layers.append(tar_of(files))
    image = Image(layers, {"Cmd": ["/bin/sh", "-c", "cat /data/shared; echo; ls /data"]})
    assert run(runner, image, tmp_path) == "39\nonly39\nshared\n"


def test_folders_that_become_links_and_folders_again(runner: Runner, tmp_path: Path) -> None:
    layers = [
        host_shell_layer(),
        tar_of([directory("opt/v1"), File("opt/v1/version", b"1"), directory("opt/now"), File("opt/now/a")]),
        tar_of([symlink("opt/now", "v1")]),  # a folder becomes a link,
        tar_of([File("opt/now/through", b"went through the link")]),  # which leads into another folder,
        tar_of([directory("opt/v2"), File("opt/v2/version", b"2"), symlink("opt/now", "/opt/v2")]),
        tar_of([symlink("opt/again", "now"), File("opt/again/deep/file", b"by two links")]),
        tar_of([File("opt/.wh.again"), directory("opt/again"), File("opt/again/back", b"a folder again")]),
    ]
    script = "cat /opt/now/version; ls /opt/v1 /opt/v2 /opt/again; cat /opt/v2/deep/file"
    image = Image(layers, {"Cmd": ["/bin/sh", "-c", script]})
    assert run(runner, image, tmp_path) == (
        "2/opt/again:\nback\n\n/opt/v1:\nthrough\nversion\n\n/opt/v2:\ndeep\nversion\nby two links"
    )


def test_static_image(namespaces: Runner, tmp_path: Path) -> None:
    layer = busybox_layer()
    if layer is None:
        pytest.skip("busybox-static is not installed")
    assert run(namespaces, Image([layer], {"Cmd": ["echo", "static"]}), tmp_path) == "static\n"


@pytest.fixture(scope="session")
def musl_layer(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A program that needs musl's dynamic linker, and that linker, laid out as in Alpine."""
    compiler, linker = shutil.which("musl-gcc"), Path("/lib/ld-musl-x86_64.so.1")
    if compiler is None or not linker.exists():
        pytest.skip("the package musl-tools is not installed")
    folder = tmp_path_factory.mktemp("musl")
    source = '#include <stdio.h>\nint main(int n, char **a) { printf("musl says %s\\n", a[1]); return 0; }\n'
    (folder / "say.c").write_text(source)
    subprocess.run([compiler, "-o", folder / "say", folder / "say.c"], check=True)
    return tar_of(
        [
            *(directory(name) for name in ("bin", "lib", "etc")),
            File("bin/say", (folder / "say").read_bytes(), 0o755),
            File("lib/ld-musl-x86_64.so.1", linker.resolve().read_bytes(), 0o755),
            File("etc/os-release", b"ID=alpine\nVERSION_ID=3.20.1\n"),
        ]
    )


def test_musl_image(namespaces: Runner, musl_layer: bytes, tmp_path: Path) -> None:
    image = Image([musl_layer], {"Entrypoint": ["/bin/say"], "Cmd": ["hello"]})
    assert run(namespaces, image, tmp_path) == "musl says hello\n"


def test_musl_image_is_refused_by_a_fakechroot_for_glibc_with_advice(
    fakechroot: Runner, musl_layer: bytes, tmp_path: Path
) -> None:
    with pytest.raises(ExplainedError) as caught:
        run(fakechroot, Image([musl_layer], {"Cmd": ["/bin/say", "x"]}), tmp_path)
    assert caught.value.kind == "EngineUnsuitable"
    assert "musl" in str(caught.value) or "Alpine" in str(caught.value)


def test_the_engine_is_found_for_these_tests(tmp_path: Path) -> None:
    """On a machine where neither works, all of the above would be skipped without a word."""
    assert choose_engine(tmp_path).name in {*ENGINES, "proot"}
