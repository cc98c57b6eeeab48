"""The runner's layer: always the same bytes, and a Python that needs nothing of the image, under AWS's
own emulator."""

from __future__ import annotations

import contextlib
import io
import os
import platform
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from containers.assembly import Assembled, Runner, this_runner
from containers.assembly.interpreter import find_interpreter
from containers.assembly.layer_writer import PackedLayer
from tests.faults.containers.assembly.world import World, image_of, package
from tests.oci_images import File, directory, tar_of
from tests.runtime_interface_emulator import emulated, unpack

REPOSITORY = Path(__file__).parents[4]
# As on Lambda, where nothing but this is known of the machine.
HANDLER = """
import os, pwd, ssl, sys
import boto3, runtime.handler

def handle(event, context):
    def writable(folder):
        try:
            open(f"{folder}/probe", "w").close()
        except OSError as error:
            return error.strerror
        return "yes"
    return {
        "event": event,
        "ids": [os.getuid(), os.getgid()],
        "user": pwd.getpwuid(os.getuid()).pw_name,
        "writable": {folder: writable(folder) for folder in ("/", "/opt", "/tmp", "/.scar")},
        "path": [name for name in sys.path if name != "/.scar/function"],
        "prefix": sys.prefix,
        "libraries": sorted({line.split()[-1] for line in open("/proc/self/maps") if ".so" in line}),
        "certificates": len(ssl.create_default_context().get_ca_certs()),
        "region": boto3.client("s3").meta.region_name,
        "preload": os.environ.get("LD_PRELOAD"),
        "request": context.aws_request_id,
    }
"""
START = """
import sys
sys.path.insert(0, "/.scar/function")
from awslambdaric.__main__ import main
main(["", "app.handle"])
"""


@pytest.fixture(scope="module")
def layer() -> PackedLayer:
    return this_runner().pack()


def test_the_same_interpreter_gives_the_same_bytes(layer: PackedLayer, tmp_path: Path) -> None:
    code = (
        "from containers.assembly import this_runner; r = this_runner(); "
        "print(r.fingerprint(), r.pack().diff_id)"
    )
    environment = {
        **{**os.environ, "PYTHONHASHSEED": "77", "PYTHONPATH": str(REPOSITORY), "TZ": "Asia/Tokyo"},
        "PYTHONPYCACHEPREFIX": str(tmp_path),  # no bytecode is found: all of it is compiled
    }
    other = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert other.stdout.split() == [this_runner().fingerprint(), layer.diff_id]


def test_a_kept_layer_is_packed_once_for_all(
    layer: PackedLayer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packed = []

    def slowly(_runner: Runner) -> PackedLayer:
        packed.append(layer)
        time.sleep(0.3)
        return layer

    monkeypatch.setattr(Runner, "_pack", slowly)
    runners = [Runner(find_interpreter, tmp_path) for _ in range(4)]
    with ThreadPoolExecutor() as pool:
        layers = list(pool.map(Runner.pack, runners))
    assert layers == [layer] * 4
    assert len(packed) == 1
    (kept,) = tmp_path.glob("*.tar.gz")
    assert kept.read_bytes() == layer.content


def test_the_layer_is_small_and_says_nothing_of_this_machine(layer: PackedLayer) -> None:
    assert layer.descriptor.size <= 15_000_000
    with tarfile.open(fileobj=io.BytesIO(layer.content)) as tar:
        members = {member.name: member for member in tar}
        assert {member.mtime for member in members.values()} == {0}
        assert {(member.uid, member.gid, member.uname) for member in members.values()} == {(0, 0, "")}
        for member in members.values():
            assert member.mode & 0o004, member.name
            if member.name.endswith(".pyc"):
                content = tar.extractfile(member)
                assert content is not None
                assert str(REPOSITORY).encode() not in content.read(), member.name
    folder = f".scar/python/lib/python3.{sys.version_info.minor}"
    assert f"{folder}/encodings/idna.pyc" in members
    assert f"{folder}/botocore/cacert.pem" in members
    assert not any("/test/" in name or "/idlelib/" in name for name in members)


def test_packages_are_found_by_a_python_that_does_not_search_site_packages(
    layer: PackedLayer, tmp_path: Path
) -> None:
    """Debian and Ubuntu search `dist-packages` instead. Without `site`, Python searches neither."""
    subprocess.run(["tar", "-xzf", "-", "-C", str(tmp_path)], input=layer.content, check=True)
    python = tmp_path / ".scar" / "python"
    loader = python / "lib" / find_interpreter().loader
    started = [str(loader), "--library-path", str(python / "lib"), str(python / "bin" / "python3"), "-S"]
    found = subprocess.run(
        [*started, "-c", "import botocore, containers, sitecustomize, runtime; print(runtime.__file__)"],
        cwd=tmp_path,
        env={"PYTHONHOME": str(python)},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    ).stdout
    assert Path(found).is_relative_to(python)


@pytest.fixture(scope="module")
def root() -> Iterator[Path]:
    """A folder that an unprivileged user can reach."""
    folder = Path(tempfile.mkdtemp(prefix="scar-test-root-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def test_assembled_image_runs_under_awss_emulator_as_on_lambda(world: World, root: Path) -> None:
    """In an image that holds no libraries, no certificates and no users, and whose variables lead
    astray."""
    variables = [
        "LD_PRELOAD=/opt/evil.so",
        "LD_LIBRARY_PATH=/opt",
        "PYTHONHOME=/opt",
        "PYTHONPATH=/opt",
        "A=b",
    ]
    files = [
        directory("opt", 0o777),
        File("opt/evil.so", b"x", 0o755),
        File("opt/os.py", b"raise SystemExit"),
    ]
    architecture = {"x86_64": "amd64", "aarch64": "arm64"}[platform.machine()]
    world.runner = this_runner()
    world.push(image_of(tar_of(files), config={"Env": variables}, architecture=architecture))
    done = world.assemble(package=package(**{"app.py": HANDLER}), architecture=architecture)
    with _emulated(world, done, root) as invoke:
        answers = [invoke({"number": number}) for number in range(3)]
    answer = answers[-1]
    assert [a["event"] for a in answers] == [{"number": number} for number in range(3)]
    assert answer["ids"] == [993, 990]
    assert answer["user"] == "sbx_user1051"
    read_only = "Read-only file system"
    assert answer["writable"] == {"/": read_only, "/opt": read_only, "/tmp": "yes", "/.scar": read_only}
    assert all(name.startswith("/.scar/python/lib/") for name in answer["path"])
    assert all(name.startswith("/.scar/python/") for name in answer["libraries"])
    assert answer["prefix"] == "/.scar/python"
    assert answer["certificates"] > 50
    assert answer["region"] == "us-east-1"
    assert answer["preload"] is None
    assert len({a["request"] for a in answers}) == 3


@contextlib.contextmanager
def _emulated(world: World, done: Assembled, root: Path) -> Iterator[Any]:
    image = f"docker://{world.target.removeprefix('http://')}/{world.name}@{done.digest}"
    layout, bundle = world.folder / "layout", root / "bundle"
    subprocess.run(
        ["skopeo", "copy", "-q", "--src-tls-verify=false", image, f"oci:{layout}:image"], check=True
    )
    config = unpack(layout, bundle)
    entry_point = config["Entrypoint"]
    command = [*entry_point[: entry_point.index("-m")], "-c", START]
    variables = {
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "x",
        "AWS_SECRET_ACCESS_KEY": "y",
    }
    with emulated(bundle, config, variables, world.folder / "rie.log", command) as invoke:
        yield invoke
