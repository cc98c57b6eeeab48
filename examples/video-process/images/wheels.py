"""Download wheels at pinned versions, verify their hashes, and unpack them as plain folders.

The input is a requirements file with hashes. No wheel is installed or run. pip rejects a download that does
not have the pinned hash.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path


class WheelError(Exception):
    """A wheel is not available; the message explains why and what to do."""


def fetch_wheels(requirements: Path, folder: Path, options: Sequence[str] = ()) -> dict[str, Path]:
    """Return the unpacked wheels of `requirements`: project name (lower case, `_`) → folder.

    Args:
        requirements: Pinned versions with `--hash`.
        folder: Where wheels are kept between runs.
        options: Additional arguments for `pip download`, such as a platform.

    Raises:
        WheelError: pip cannot download a wheel, or its hash is not the pinned one.
    """
    wanted = hashlib.sha256(repr((requirements.read_text(), sys.version_info[:2], tuple(options))).encode())
    target = folder / f"{requirements.stem}-{wanted.hexdigest()[:16]}"
    if not target.is_dir():
        unfinished = folder / f".{target.name}.unfinished"
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(parents=True)
        _download(requirements, unfinished, options)
        for wheel in sorted(unfinished.glob("*.whl")):
            with zipfile.ZipFile(wheel) as archive:
                archive.extractall(unfinished / wheel.name.split("-")[0].lower())
            wheel.unlink()
        unfinished.rename(target)  # a folder with the final name is always complete
    return {path.name: path for path in sorted(target.iterdir()) if path.is_dir()}


def _download(requirements: Path, folder: Path, options: Sequence[str]) -> None:
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "download", "--quiet", "--no-deps"]
    pins = ["--only-binary", ":all:", "--require-hashes", "--requirement", str(requirements)]
    done = subprocess.run(
        [*pip, *pins, *options, "--dest", str(folder)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        reason = next(
            (line for line in done.stderr.splitlines() if line.startswith("ERROR")), done.stderr.strip()
        )
        raise WheelError(
            f"pip cannot download the packages of {requirements.name}: {reason}. "
            "Check that pip works (index, proxy). Linux on x86_64 or aarch64 with Python 3.11 to 3.13 is "
            "required."
        )
