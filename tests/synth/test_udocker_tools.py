"""udocker's tarball beside the runner."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest

from scar_constructs.udocker_tools import UDOCKER_TARBALL, add_udocker_tools


def tarball(path: Path, files: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w:gz") as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
        link = tarfile.TarInfo("udocker_dir/lib/libfakechroot-Evil-1-x86_64.so")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    return path


def test_tools_of_the_tarball_lie_where_the_runner_looks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {
        "udocker_dir/lib/libfakechroot-Debian-12-x86_64.so": b"library",
        "udocker_dir/bin/proot-x86_64-4_8_0": b"program",
        "udocker_dir/bin/runc-x86_64": b"not used",
        "../../bin/proot-x86_64": b"the newest kernels' own",
    }
    monkeypatch.setenv(UDOCKER_TARBALL, str(tarball(tmp_path / "tools.tar.gz", files)))
    add_udocker_tools(tmp_path / "tools")
    found = {
        str(path.relative_to(tmp_path / "tools"))
        for path in (tmp_path / "tools").rglob("*")
        if path.is_file()
    }
    assert found == {"lib/libfakechroot-Debian-12-x86_64.so", "bin/proot-x86_64-4_8_0", "bin/proot-x86_64"}
    assert (tmp_path / "tools/bin/proot-x86_64-4_8_0").stat().st_mode & 0o777 == 0o755


def test_without_a_tarball_nothing_is_added(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(UDOCKER_TARBALL, raising=False)
    add_udocker_tools(tmp_path / "tools")
    assert not (tmp_path / "tools").exists()


@pytest.mark.parametrize("content", [None, b"", b"not a tarball"])
def test_useless_tarball_is_named(
    content: bytes | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "tools.tar.gz"
    if content is not None:
        file.write_bytes(content)
    monkeypatch.setenv(UDOCKER_TARBALL, str(file))
    with pytest.raises(RuntimeError, match=f"{UDOCKER_TARBALL}=.*tools.tar.gz cannot be read"):
        add_udocker_tools(tmp_path / "tools")


def test_tarball_of_something_else_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(UDOCKER_TARBALL, str(tarball(tmp_path / "other.tar.gz", {"README": b"x"})))
    with pytest.raises(RuntimeError, match="holds neither fakechroot libraries nor proot"):
        add_udocker_tools(tmp_path / "tools")
