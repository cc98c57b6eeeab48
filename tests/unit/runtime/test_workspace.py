from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from containers.errors import ExplainedError
from containers.removal import remove_tree
from runtime.workspace import DISK_RESERVE, MIB, file_name, new_workspace, require_space


def runs(store: Path) -> list[str]:
    return sorted(path.name for path in (store / "run").iterdir() if path.name != ".lock")


def test_folder_is_made_and_removed_again(tmp_path: Path) -> None:
    with new_workspace(tmp_path) as workspace:
        assert workspace.input.is_dir()
        assert list(workspace.output.iterdir()) == []
        assert workspace.output.stat().st_mode & 0o777 == 0o777
        (workspace.output / "big").write_bytes(b"x")
    assert runs(tmp_path) == []


def test_folder_is_removed_after_a_failure_too(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="x"), new_workspace(tmp_path):
        raise ValueError("x")
    assert runs(tmp_path) == []


def test_folder_of_a_killed_runner_is_removed_by_the_next_and_that_of_a_living_one_is_not(
    tmp_path: Path,
) -> None:
    code = (
        "import os, sys\nfrom pathlib import Path\nfrom runtime.workspace import new_workspace\n"
        "with new_workspace(Path(sys.argv[1])) as w:\n"
        "    (w.output / 'half').write_text('x'); print(w.path.name, flush=True); sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        name = other.stdout.readline().strip()
        with new_workspace(tmp_path) as mine:
            assert runs(tmp_path) == sorted([name, mine.path.name])
        assert runs(tmp_path) == [name]
        other.kill()
        other.wait()
    with new_workspace(tmp_path) as mine:
        assert runs(tmp_path) == [mine.path.name]


def test_tree_without_permissions_is_removed_and_symlinks_are_not_followed(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "file").touch()
    folder = tmp_path / "folder"
    (folder / "inner").mkdir(parents=True)
    (folder / "inner" / "file").touch()
    (folder / "link").symlink_to(precious)
    (folder / "inner").chmod(0)
    folder.chmod(0o500)
    remove_tree(folder)
    assert not folder.exists()
    assert (precious / "file").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="becoming another user takes root")
def test_tree_without_permissions_is_removed_by_a_plain_user(tmp_path: Path) -> None:
    for folder in (tmp_path, *tmp_path.parents):
        if folder.stat().st_mode & 0o777 == 0o700:  # as pytest makes them
            folder.chmod(0o711)
    home = tmp_path / "home"
    home.mkdir()
    os.chown(home, 65534, 65534)
    code = (
        "import os, sys\nfrom pathlib import Path\nfrom containers.removal import remove_tree\n"
        "os.setgid(65534); os.setuid(65534)\n"
        "folder = Path(sys.argv[1]); (folder / 'a/b').mkdir(parents=True); (folder / 'a/b/c').touch()\n"
        "(folder / 'a/b').chmod(0); (folder / 'a').chmod(0o500)\n"
        "remove_tree(folder); print(folder.exists())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(home / "x")],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path.cwd(),
    )
    assert (done.stdout, done.stderr) == ("False\n", "")


def test_tree_deeper_than_any_path_is_removed(tmp_path: Path) -> None:
    """Neither recursion nor a path of 4096 bytes gets to its end."""
    top = tmp_path / "folder"
    top.mkdir()
    here = os.open(top, os.O_RDONLY)
    for _ in range(1100):
        os.mkdir("long-name", dir_fd=here)
        os.close(os.open("file", os.O_CREAT | os.O_WRONLY, dir_fd=here))
        inner = os.open("long-name", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = inner
    os.close(here)
    remove_tree(top)
    assert not top.exists()


def test_tree_that_is_no_folder_is_left(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "folder")
    (tmp_path / "file").touch()
    for name in ("link", "file", "missing"):
        remove_tree(tmp_path / name)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder", "link"]


@pytest.mark.parametrize(
    "name", ["a b+c.jpg", "ñ.png", "100%.txt", "x'\"$(id).txt", "-rf", "new\nline", "...", " "]
)
def test_file_has_the_objects_base_name(name: str, tmp_path: Path) -> None:
    assert file_name(name) == name
    (tmp_path / name).touch()
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("name", ["", ".", ".."])
def test_name_of_a_folder_becomes_input(name: str) -> None:
    assert file_name(name) == "input"


@pytest.mark.parametrize("name", ["a" * 300 + ".tar", "ü" * 200 + ".jpg", "x." + "y" * 300, "😀" * 100])
def test_long_name_keeps_its_suffix_and_fits(name: str, tmp_path: Path) -> None:
    short = file_name(name)
    (tmp_path / short).touch()
    assert len(short.encode()) <= 255
    assert name.startswith(short[:50])
    if name.endswith((".tar", ".jpg")):
        assert short.endswith(name[-4:])


def test_a_reserve_of_the_disk_is_kept_free(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    free = 100 * MIB
    monkeypatch.setattr(
        "shutil.disk_usage", lambda _path: shutil._ntuple_diskusage(10 * free, 9 * free, free)
    )
    require_space(tmp_path, free - DISK_RESERVE, "The input")
    with pytest.raises(ExplainedError):
        require_space(tmp_path, free - DISK_RESERVE + 1, "The input")


def test_no_run_leaves_a_descriptor_open(tmp_path: Path) -> None:
    def run_after_an_abandoned_one() -> int:
        (tmp_path / "run" / "abandoned").mkdir(parents=True)
        with new_workspace(tmp_path):
            pass
        assert runs(tmp_path) == []
        return len(list(Path("/proc/self/fd").iterdir()))

    assert run_after_an_abandoned_one() == run_after_an_abandoned_one()


def test_file_larger_than_the_disk_is_refused_with_sizes_and_advice(tmp_path: Path) -> None:
    require_space(tmp_path, 1024, "The input")
    with pytest.raises(ExplainedError) as caught:
        require_space(tmp_path, 1 << 60, "The input s3://b/k")
    assert caught.value.kind == "DiskFull"
    assert "The input s3://b/k needs 1,099,511,627,776 MiB" in caught.value.cause
    assert "batch" in caught.value.advice
