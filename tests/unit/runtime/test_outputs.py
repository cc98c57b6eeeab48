from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from containers.errors import ExplainedError
from runtime.config import StorageFolder
from runtime.logs import Log
from runtime.outputs import plan_uploads, upload_all

EVERYTHING = (StorageFolder("s3", "b", "out"),)


def targets(folder: Path, *outputs: StorageFolder) -> list[str]:
    plan = plan_uploads(folder, outputs or EVERYTHING, Log())
    return sorted(f"{upload.bucket}/{upload.key}" for uploads in plan.values() for upload in uploads)


def test_sub_folders_are_kept_below_the_output(tmp_path: Path) -> None:
    (tmp_path / "a/b").mkdir(parents=True)
    (tmp_path / "empty").mkdir()
    (tmp_path / "a/b/c.txt").touch()
    (tmp_path / "d'\"$(id)\n.txt").touch()
    assert targets(tmp_path) == ["b/out/a/b/c.txt", "b/out/d'\"$(id)\n.txt"]
    assert targets(tmp_path, StorageFolder("s3", "b")) == ["b/a/b/c.txt", "b/d'\"$(id)\n.txt"]


def test_file_goes_to_every_output_whose_filters_match_its_base_name(
    tmp_path: Path, log_lines: Callable[[], list[dict[str, Any]]]
) -> None:
    (tmp_path / "seq").mkdir()
    for name in ("seq/a.jpg", "seq1.jpg", "seq2.txt", "note.txt"):
        (tmp_path / name).touch()
    found = targets(
        tmp_path,
        StorageFolder("s3", "images", "", suffixes=(".jpg", ".png")),
        StorageFolder("s3", "seq", "", prefixes=("seq",), suffixes=(".jpg", ".txt")),
    )
    assert found == ["images/seq/a.jpg", "images/seq1.jpg", "seq/seq1.jpg", "seq/seq2.txt"]
    (line,) = log_lines()
    assert (line["message"], line["files"]) == ("outputs not uploaded", ["note.txt"])


def test_symlinks_are_followed_inside_of_the_folder_only(
    tmp_path: Path, log_lines: Callable[[], list[dict[str, Any]]]
) -> None:
    folder = tmp_path / "output"
    (folder / "sub").mkdir(parents=True)
    (folder / "file").write_text("mine")
    (tmp_path / "secret").write_text("not mine")
    (tmp_path / "output-secret").write_text("not mine either")
    (folder / "good").symlink_to("file")
    (folder / "sub/absolute").symlink_to(folder / "file")
    for name, target in {
        "passwd": "/etc/passwd",
        "up": "../secret",
        "beside": "../output-secret",
        "round": "round",
        "gone": "nothing",
        "parent": "..",
        "sub/loop": "..",
    }.items():
        (folder / name).symlink_to(target)
    (folder / "chain").symlink_to("up")
    assert targets(folder) == ["b/out/file", "b/out/good", "b/out/sub/absolute"]
    assert len(log_lines()) == 8


def test_special_files_are_left_out(tmp_path: Path, log_lines: Callable[[], list[dict[str, Any]]]) -> None:
    os.mkfifo(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as server:
        here = Path.cwd()
        os.chdir(tmp_path)  # a socket's path has at most 108 characters
        try:
            server.bind("socket")
        finally:
            os.chdir(here)
    (tmp_path / "file").touch()
    assert targets(tmp_path) == ["b/out/file"]
    assert {line["file"] for line in log_lines()} == {"pipe", "socket"}


def test_name_that_is_not_utf8_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "good").touch()
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/bad\xff")).touch()
    with pytest.raises(ExplainedError, match="not UTF-8") as caught:
        targets(tmp_path)
    str(caught.value).encode()


def test_key_that_s3_would_refuse_is_an_error(tmp_path: Path) -> None:
    deep = tmp_path.joinpath(*["x" * 200] * 6)
    deep.mkdir(parents=True)
    (deep / "file").touch()
    with pytest.raises(ExplainedError, match="a key of 1214 bytes"):
        targets(tmp_path)


def test_the_length_of_a_key_counts_in_bytes(tmp_path: Path) -> None:
    deep = tmp_path.joinpath(*["ü" * 100] * 5)
    deep.mkdir(parents=True)
    (deep / ("x" * 20)).touch()
    with pytest.raises(ExplainedError, match="a key of 1029 bytes"):
        targets(tmp_path)


def test_the_functions_own_buckets_are_written_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file there may start the next function of the workflow."""
    order: list[str] = []

    class Noted:
        def __init__(self, provider: str) -> None:
            self._provider = provider

        def require_time(self, _uploads: object, _until: float) -> None:
            order.append(f"time of {self._provider}")

        def upload(self, _uploads: object, _until: float) -> None:
            order.append(self._provider)

    monkeypatch.setattr("runtime.outputs.open_storage", lambda provider, _providers: Noted(provider))
    (tmp_path / "file").touch()
    outputs = [StorageFolder(provider, "b", "out") for provider in ("minio.lab", "s3", "webdav.home")]
    upload_all(plan_uploads(tmp_path, outputs, Log()), {})
    assert order[-1] == "s3"
    assert sorted(order[:3]) == ["time of minio.lab", "time of s3", "time of webdav.home"]


@pytest.mark.skipif(os.geteuid() != 0, reason="becoming another user takes root")
def test_file_that_its_owner_locked_is_uploaded(tmp_path: Path) -> None:
    for folder in (tmp_path, *tmp_path.parents):
        if folder.stat().st_mode & 0o777 == 0o700:  # as pytest makes them
            folder.chmod(0o711)
    (tmp_path / "output").mkdir()
    (tmp_path / "output" / "locked").write_text("mine")
    (tmp_path / "output" / "locked").chmod(0)
    for path in (tmp_path / "output", tmp_path / "output" / "locked"):
        os.chown(path, 65534, 65534)
    code = (
        "import os, sys\nfrom pathlib import Path\nfrom runtime.config import StorageFolder\n"
        "from runtime.logs import Log\nfrom runtime.outputs import plan_uploads\n"
        "os.setgid(65534); os.setuid(65534)\n"
        "plan = plan_uploads(Path(sys.argv[1]), [StorageFolder('s3', 'b', 'out')], Log())\n"
        "print([upload.file.read_text() for upload in plan['s3']])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "output")], capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.stderr) == ("['mine']\n", "")


def test_output_folder_replaced_by_a_symlink_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "output").symlink_to("/etc")
    with pytest.raises(ExplainedError, match="TMP_OUTPUT_DIR"):
        targets(tmp_path / "output")


def test_same_place_is_written_once(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").touch()
    assert targets(tmp_path, *EVERYTHING, StorageFolder("s3", "b", "out", suffixes=(".jpg",))) == [
        "b/out/a.jpg"
    ]
