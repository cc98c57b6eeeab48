"""The built wheel in an environment of its own, without the checkout: installed, deployed, used."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import time
from importlib.metadata import distributions
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]


class Shell:
    """A person's shell in a folder of their own: nothing of the checkout is on the PATH."""

    def __init__(self, home: Path, programs: Path) -> None:
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("AWS_", "SCAR_", "JSII_", "VIRTUAL_ENV", "PYTHON", "UV_CACHE"))
        }
        path = os.pathsep.join([str(programs), "/usr/local/bin", "/usr/bin", "/bin"])
        # The CDK's library is unpacked once for all homes: it takes seven seconds.
        cache = {"JSII_RUNTIME_PACKAGE_CACHE_ROOT": str(Path.home() / ".cache/aws/jsii/package-cache")}
        self.environment = {**kept, **cache, "HOME": str(home), "PATH": path, "NO_COLOR": "1"}
        self.home = home

    def __call__(self, command: str, folder: Path | None = None) -> str:
        """Run a line; its output."""
        done = subprocess.run(
            ["/bin/sh", "-c", command],
            cwd=folder or self.home,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=280,
            check=False,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        return done.stdout


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    environment, home = tmp_path / "environment", tmp_path / "home"
    home.mkdir()
    uv = Path(sys.executable).with_name("uv")
    built = [str(uv), "build", "--quiet", "--wheel", "--out-dir", str(tmp_path), str(REPOSITORY)]
    subprocess.run(built, check=True)
    (wheel,) = tmp_path.glob("*.whl")
    subprocess.run([str(uv), "venv", "--quiet", "--python", sys.executable, str(environment)], check=True)
    install = ["pip", "install", "--quiet", "--python", str(environment), f"{wheel}[all]"]
    subprocess.run([str(uv), *install], check=True)
    (packages,) = environment.glob("lib/python*/site-packages")
    for name in ("aws_cdk", "botocore", "ministack"):
        take_compiled(packages, name)
    return Shell(home, environment / "bin")


def take_compiled(packages: Path, name: str) -> None:
    """Replace a package by the same version of this environment, which is compiled already."""
    ours = Path(sysconfig.get_path("purelib"))
    for installed in distributions(path=[str(packages)]):
        if any(file.parts[0] == name for file in installed.files or ()):
            same = next(iter(distributions(name=installed.name, path=[str(ours)])), None)
            if same is None or same.version != installed.version:
                return
    shutil.rmtree(packages / name)
    (packages / name).symlink_to(ours / name)


def test_a_new_folder_deploys_and_processes_a_file_without_the_checkout(
    shell: Shell, capsys: pytest.CaptureFixture[str]
) -> None:
    started = time.monotonic()
    shell("scar new word-count")
    folder = shell.home / "word-count"
    told = shell("scar local start >&2 && scar local env", folder)
    for line in told.splitlines():
        if line.startswith("export "):
            name, _, value = line.removeprefix("export ").partition("=")
            shell.environment[name] = value.strip("'")
    try:
        shell("cdk deploy -c fdl=word-count.yaml --require-approval never", folder)
        (folder / "a.txt").write_text("The cat and the dog. And, THE end\n")
        shell("scar put -b word-count-files/input -p a.txt", folder)
        shell("scar get -b word-count-files/output -p results --watch --expect 1", folder)
        (result,) = (folder / "results").rglob("*.words")
        assert result.read_text().split() == ["3", "the", "2", "and", "1", "cat", "1", "dog", "1", "end"]
        elapsed_s = time.monotonic() - started
        installed = Path(shell("python -c 'import scar_cli; print(scar_cli.__file__)'").strip())
        assert not installed.is_relative_to(REPOSITORY)
    finally:
        shell("scar local stop", folder)
    with capsys.disabled():
        print(f"\nFrom `scar new` to a processed file with the installed wheel: {elapsed_s:.0f} s")
