"""What a cloud keeps is nobody else's business."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from local_cloud.state.privacy import make_private


def others(folder: Path) -> dict[str, str]:
    """What other users may do, by path."""
    return {
        str(path.relative_to(folder)): stat.filemode(path.lstat().st_mode)
        for path in [folder, *folder.rglob("*")]
        if path.lstat().st_mode & 0o077 and not path.is_symlink()
    }


@pytest.fixture
def state(tmp_path: Path) -> Path:
    old = os.umask(0o022)
    try:
        state = tmp_path / "state"
        (state / "s3/bucket").mkdir(parents=True)
        (state / "s3/bucket/object").write_text("somebody's")
        (state / "services").mkdir()
        (state / "services/secretsmanager.json").write_text("secret")
        (state / "cloud.log").write_text("log")
    finally:
        os.umask(old)
    return state


def test_a_state_that_was_open_to_others_is_closed_down_to_its_last_file(state: Path) -> None:
    assert len(others(state)) == 7
    make_private(state)
    assert others(state) == {}
    assert (state / "s3/bucket/object").read_text() == "somebody's"


def test_what_the_emulator_makes_later_is_behind_closed_folders(state: Path) -> None:
    make_private(state)
    for name in ("s3", "services", "tmp"):
        assert stat.S_IMODE((state / name).stat().st_mode) == 0o700
    (state / "new.json").write_text("{}")
    (state / "new.json").chmod(0o644)
    make_private(state)
    assert others(state) == {}


def test_no_link_is_followed(state: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir(mode=0o755)
    (outside / "file").write_text("x")
    (outside / "file").chmod(0o644)
    for number, target in enumerate((outside, outside / "file")):
        (state / f"link{number}").symlink_to(target)
        (state / f"s3/link{number}").symlink_to(target)
    make_private(state)
    assert stat.S_IMODE(outside.stat().st_mode) == 0o755
    assert stat.S_IMODE((outside / "file").stat().st_mode) == 0o644
