from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest

from toolchain import downloads, node_packages
from toolchain.downloads import downloads_folder, fetched, run_download
from toolchain.errors import DownloadError


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(downloads, "downloads_folder", lambda: tmp_path / "downloads")
    return tmp_path / "downloads"


def lock(tmp_path: Path, content: str = "a==1") -> Path:
    file = tmp_path / "lock.txt"
    file.write_text(content)
    return file


def test_fetched_once_for_each_lock_file(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def fetch(into: Path) -> None:
        (into / "file").write_text("content")

    first = fetched("things", lock(tmp_path), "the things", fetch)
    assert (first / "file").read_text() == "content"
    assert capsys.readouterr().err == "Fetching the things (once) …\n"

    def fail(_into: Path) -> None:
        pytest.fail("fetched twice")

    assert fetched("things", lock(tmp_path), "the things", fail) == first
    assert capsys.readouterr().err == ""
    second = fetched("things", lock(tmp_path, "a==2"), "the things", fetch)
    assert list(folder.iterdir()) == [second], "the folder of the old lock file is deleted"


def test_nothing_is_left_of_a_download_that_fails(folder: Path, tmp_path: Path) -> None:
    def fetch(into: Path) -> None:
        (into / "half").touch()
        run_download([sys.executable, "-c", "import sys; sys.exit('no route to host')"], into, {}, "it")

    with pytest.raises(DownloadError, match=r"cannot fetch it\. Check the network.*\nno route to host"):
        fetched("things", lock(tmp_path), "the things", fetch)
    assert list(folder.iterdir()) == []


def test_nothing_is_fetched_without_node(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(node_packages, "bundled_node", lambda: None)
    with pytest.raises(DownloadError, match=r"Node is missing\. Install it with pip"):
        node_packages.node_packages()
    assert capsys.readouterr().err == ""
    assert not folder.exists()


def test_two_processes_that_fetch_at_once_use_the_same_folder(folder: Path, tmp_path: Path) -> None:
    both = Barrier(2)

    def fetch(into: Path) -> None:
        (into / "file").touch()
        both.wait(30)

    pins = lock(tmp_path)
    with ThreadPoolExecutor() as pool:
        found = set(pool.map(lambda _: fetched("things", pins, "the things", fetch), range(2)))
    assert list(folder.iterdir()) == list(found)


def test_folder_that_cannot_be_written_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setattr(downloads, "downloads_folder", lambda: tmp_path / "file" / "downloads")
    with pytest.raises(DownloadError, match=f"cannot write {tmp_path}/file"):
        fetched("things", lock(tmp_path), "the things", lambda _into: None)


def test_outside_of_a_virtual_environment_the_users_cache_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert downloads_folder() == Path(sys.prefix) / "share" / "scar-cdk"
    monkeypatch.setattr(sys, "prefix", sys.base_prefix)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert downloads_folder() == tmp_path / "scar-cdk"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert downloads_folder() == tmp_path / ".cache" / "scar-cdk"
