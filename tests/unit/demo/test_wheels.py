from __future__ import annotations

import hashlib
import zipfile
from pathlib import Path

import pytest
from images.wheels import WheelError, fetch_wheels


def wheel(folder: Path) -> Path:
    """A wheel that pip takes, with one file."""
    file = folder / "tiny_demo-1.0-py3-none-any.whl"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("tiny_demo/data.txt", "data")
        archive.writestr(
            "tiny_demo-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: tiny-demo\nVersion: 1.0\n"
        )
        archive.writestr("tiny_demo-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        archive.writestr("tiny_demo-1.0.dist-info/RECORD", "")
    return file


def test_wheel_is_unpacked_once_and_refused_with_another_hash(tmp_path: Path) -> None:
    file = wheel(tmp_path)
    offline = ["--no-index", "--find-links", str(tmp_path)]
    pins = tmp_path / "pins.txt"
    pins.write_text(f"tiny-demo==1.0 --hash=sha256:{hashlib.sha256(file.read_bytes()).hexdigest()}\n")
    unpacked = fetch_wheels(pins, tmp_path / "wheels", offline)
    assert (unpacked["tiny_demo"] / "tiny_demo" / "data.txt").read_text() == "data"
    pins.write_text(f"tiny-demo==1.0 --hash=sha256:{'0' * 64}\n")
    with pytest.raises(WheelError, match=r"pins\.txt"):
        fetch_wheels(pins, tmp_path / "wheels", offline)
    file.unlink()
    pins.write_text(f"tiny-demo==1.0 --hash=sha256:{'0' * 64}\n")
    with pytest.raises(WheelError):
        fetch_wheels(pins, tmp_path / "wheels", offline)
