"""isal and backports.zstd in the runner's layer, for AWS Lambda's Python on both of its architectures."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

from containers.elf import glibc_version, read_program
from scar_constructs.functions.compiled_libraries import (
    SITE_PACKAGES,
    add_compiled_libraries,
)
from scar_constructs.functions.runner_asset import build_runner
from tests.interpreters import find_python
from toolchain.runner_libraries import PYTHON_VERSION

AMAZON_LINUX_2023 = (2, 34)  # its glibc

# As the embedded cloud and AWS run it: whichever decompressors there are, layers are unpacked.
UNPACK = """
import gzip, importlib.util, json, sys
sys.path[:0] = sys.argv[1:]
from containers.layers.decompress import decompressed
class Stream:
    def __init__(self, data): self.data = data
    def read(self, size): part, self.data = self.data[:size], self.data[size:]; return part
    def close(self): pass
plain = b"layer" * 100_000
found = {"gzip": decompressed(Stream(gzip.compress(plain)), "layer").read(len(plain))[:5] == b"layer"}
for name in ("isal.isal_zlib", "backports.zstd"):
    try: module = importlib.import_module(name)
    except ImportError: module = None
    found[name] = module and module.__file__
if found["backports.zstd"]:
    compressed = importlib.import_module("backports.zstd").compress(plain)
    found["zstd"] = decompressed(Stream(compressed), "layer").read(len(plain))[:5] == b"layer"
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def layer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("layer")
    build_runner(folder)
    return folder


def test_both_architectures_lie_side_by_side_and_load_on_amazon_linux(layer: Path) -> None:
    machines: dict[str, int] = {}
    for library in (layer / SITE_PACKAGES).rglob("*.so"):
        machine = read_program(library).machine
        assert f"cpython-{PYTHON_VERSION.replace('.', '')}-{machine}-linux-gnu.so" in library.name
        assert (glibc_version(library) or (0, 0)) <= AMAZON_LINUX_2023
        machines[machine] = machines.get(machine, 0) + 1
    assert machines == {"x86_64": 4, "aarch64": 4}
    licences = {str(path.relative_to(layer / "licenses")) for path in (layer / "licenses").rglob("*LICEN*")}
    assert {"isal/isa-l-LICENSE", "backports_zstd/licenses-LICENSE_zstd.txt"} <= licences


def test_python_of_lambda_unpacks_layers_with_the_layers_own_libraries(layer: Path) -> None:
    python = find_python(PYTHON_VERSION)
    if python is None:
        pytest.skip(f"no Python {PYTHON_VERSION} here")
    found = unpack(python, str(layer / "python"), str(layer / SITE_PACKAGES))
    assert found["gzip"]
    assert found["zstd"]
    assert found["isal.isal_zlib"].startswith(str(layer))
    assert found["backports.zstd"].startswith(str(layer))


def test_other_pythons_do_without(layer: Path) -> None:
    found = unpack(Path(sys.executable), str(layer / "python"))
    assert found == {"gzip": True, "isal.isal_zlib": None, "backports.zstd": None}


def unpack(python: Path, *folders: str) -> dict[str, Any]:
    command = [str(python), "-I", "-S", "-c", UNPACK, *folders]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    found: dict[str, Any] = json.loads(run.stdout)
    return found


def wheel(folder: Path, machine: str, content: str) -> None:
    with zipfile.ZipFile(folder / f"fast-1-{machine}.whl", "w") as archive:
        archive.writestr("fast/__init__.py", content)
        archive.writestr(f"fast/_fast.cpython-313-{machine}-linux-gnu.so", machine)
        archive.writestr("fast/__init__.pyi", "")
        archive.writestr("../../outside.py", "")
        archive.writestr("fast-1.dist-info/METADATA", machine)


def test_wheels_of_several_architectures_become_one_folder(tmp_path: Path) -> None:
    wheel(tmp_path, "x86_64", "same")
    wheel(tmp_path, "aarch64", "same")
    add_compiled_libraries(tmp_path / "layer", tmp_path.glob("*.whl"))
    found = {
        str(path.relative_to(tmp_path / "layer"))
        for path in tmp_path.rglob("*")
        if path.suffix in (".py", ".so")
    }
    assert found == {
        f"{SITE_PACKAGES}/fast/__init__.py",
        f"{SITE_PACKAGES}/fast/_fast.cpython-313-x86_64-linux-gnu.so",
        f"{SITE_PACKAGES}/fast/_fast.cpython-313-aarch64-linux-gnu.so",
    }


def test_wheels_of_assembled_images_alone_do_not_shadow_lambdas_own(tmp_path: Path) -> None:
    wheel(tmp_path, "x86_64", "same")
    (tmp_path / "fast-1-x86_64.whl").rename(tmp_path / "awslambdaric-4-x86_64.whl")
    add_compiled_libraries(tmp_path / "layer", tmp_path.glob("*.whl"))
    assert not (tmp_path / "layer").exists()


def test_wheels_of_different_versions_are_refused(tmp_path: Path) -> None:
    wheel(tmp_path, "x86_64", "version 1")
    wheel(tmp_path, "aarch64", "version 2")
    with pytest.raises(RuntimeError, match=r"conflicts with the other wheels .*download them again"):
        add_compiled_libraries(tmp_path / "layer", tmp_path.glob("*.whl"))
