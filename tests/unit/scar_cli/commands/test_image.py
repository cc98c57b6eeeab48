"""`scar image build` as a person types it: answers, and errors in one sentence."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from scar_cli.errors import UserError
from scar_cli.main import scar


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "files" / "etc").mkdir(parents=True)
    (tmp_path / "files" / "etc" / "tool.conf").write_text("x")


def build(*words: str) -> Result:
    return CliRunner().invoke(scar, ["image", "build", *words])


def error(*words: str) -> str:
    result = build(*words)
    assert isinstance(result.exception, UserError), result.exception
    assert result.exception.exit_code == 2
    return str(result.exception)


def test_the_last_line_names_path_size_architecture_and_digest(tmp_path: Path) -> None:
    result = build("files", "-o", "tool.tar", "--env", "A=b=c", "--cmd", "ls '-l a'")
    assert result.exit_code == 0, result.exception
    last = result.output.splitlines()[-1]
    assert last.startswith("tool.tar: ")
    assert " MB, linux/" in last
    assert "sha256:" in last
    answer = json.loads(build("files", "--env", "A=b=c", "--cmd", "ls '-l a'", "-j").stdout)
    assert answer["file"] == "image.tar"
    assert answer["digest"] in last
    assert answer["bytes"] == (tmp_path / "image.tar").stat().st_size
    assert (tmp_path / "image.tar").read_bytes() == (tmp_path / "tool.tar").read_bytes()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["none"], "none does not exist. Specify a folder"),
        (["files/etc/tool.conf"], "files/etc/tool.conf is not a folder. Specify a folder"),
        (
            ["files", "-o", "files/image.tar"],
            "files/image.tar is inside files, and would become part of itself",
        ),
        (["."], "image.tar is inside ., and would become part of itself"),
        (["files", "-o", "link/../image.tar"], "files/image.tar"),
        (["files", "-o", "none/image.tar"], "The folder none does not exist"),
        (["files", "-o", "files/.."], "files/.. is not a file"),
        (["-r", "none.txt"], "The requirements file none.txt does not exist"),
        (["--env", "A"], "--env 'A' is not a variable. Use NAME=VALUE"),
        (["--env", "1A=b"], "--env '1A=b' is not a variable"),
        (["--cmd", "a 'b"], "cannot be split into words: No closing quotation"),
        (["--entrypoint", " "], "--entrypoint is empty"),
        (["--entrypoint", "none"], "The image cannot be built: the image has no program none"),
        (["--workdir", "data"], "--workdir 'data' is not an absolute path"),
        (["--workdir", "/a/../b"], "--workdir '/a/../b' is not an absolute path"),
    ],
)
def test_what_is_wrong_is_told_and_nothing_is_written(words: list[str], said: str, tmp_path: Path) -> None:
    if "link/../image.tar" in words:
        (tmp_path / "files" / "sub").mkdir()
        (tmp_path / "link").symlink_to("files/sub")
        said = "link/../image.tar is inside files"
    before = sorted(tmp_path.rglob("*"))
    assert said in error(*words)
    assert sorted(tmp_path.rglob("*")) == before


def test_another_system_than_linux_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "darwin")
    assert "Images can be built on Linux" in error("files")


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting is for root alone")
def test_a_full_disk_is_told_and_nothing_is_left(tmp_path: Path) -> None:
    (tmp_path / "small").mkdir()
    script = (
        "mount -t tmpfs -o size=1m none small && "
        f'"{sys.executable}" -m scar_cli image build files -o small/image.tar; echo "exit $?"; ls -A small'
    )
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", script],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[4])},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.stdout.splitlines() == ["exit 2"], done.stderr
    assert (
        "small/image.tar cannot be read or written: No space left on device. Free some space" in done.stderr
    )
    assert "Traceback" not in done.stderr


def test_a_build_that_is_terminated_leaves_nothing(tmp_path: Path) -> None:
    with (tmp_path / "files" / "large").open("wb") as large:
        large.truncate(2 << 30)  # takes no disk, and seconds to compress
    process = subprocess.Popen(
        [sys.executable, "-m", "scar_cli", "image", "build", "files", "-o", "image.tar"],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[4])},
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    assert "Adding files" in process.stderr.readline()
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == 143
    assert sorted(one.name for one in tmp_path.iterdir()) == ["files"]
