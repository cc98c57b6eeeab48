"""The runner's compiled libraries: isal and backports.zstd, built for AWS Lambda's Python on both of its
architectures.

They unpack image layers several times faster, and are the only way to read zstd before Python 3.14. Files
with machine code are named after their architecture and all others are equal, so the wheels of both are
unpacked into one folder, which only a Python of the right version uses (AWS Lambda Developer Guide, "Layer
paths for each Lambda runtime").

The wheels of AWS's runtime interface client are needed in images only: they are part of the assembler's
asset.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from toolchain.runner_libraries import PYTHON_VERSION

SITE_PACKAGES = f"python/lib/python{PYTHON_VERSION}/site-packages"
"""Folder of the layer that only a Python of that version uses."""

_LEFT_OUT = (".pyi", ".typed")
FOR_IMAGES = ("awslambdaric-", "simplejson-", "snapshot_restore_py-")
"""Wheels that only assembled images need: on `python3.13`, Lambda's own would be shadowed by them."""


def add_compiled_libraries(folder: Path, wheels: Iterable[Path]) -> None:
    """Unpack the wheels into the layer's folder, and their licences into its `licenses/`.

    :param wheels: what `runner_libraries` fetched.
    :raises RuntimeError: the wheels are of different versions.
    """
    for wheel in wheels:
        if not wheel.name.startswith(FOR_IMAGES):
            _unpack(wheel, folder, SITE_PACKAGES)


def add_libraries_of_images(folder: Path, wheels: Iterable[Path]) -> None:
    """Unpack the wheels for assembled images into a folder on the assembler's path."""
    for wheel in wheels:
        if wheel.name.startswith(FOR_IMAGES):
            _unpack(wheel, folder, "")


def _unpack(wheel: Path, folder: Path, packages: str) -> None:
    with zipfile.ZipFile(wheel) as archive:
        for name in sorted(archive.namelist()):
            target = _target(PurePosixPath(name), packages)
            if target is not None:
                _write(folder / target, archive.read(name), wheel)


def _target(path: PurePosixPath, packages: str) -> PurePosixPath | None:
    """The path of a wheel's file in the asset, or None if it is left out."""
    parts = path.parts
    if "LICEN" in path.name.upper():
        # The license of the library within (isa-l) is in the package's own folder.
        return PurePosixPath("licenses", parts[0].split("-")[0], "-".join([*parts[1:-1], path.name]))
    if parts[0].endswith((".dist-info", ".data")) or path.suffix in _LEFT_OUT or "isa-l" in parts:
        return None
    return PurePosixPath(packages) / path if path.suffix in (".py", ".so") and ".." not in parts else None


def _write(target: Path, content: bytes, wheel: Path) -> None:
    if target.exists() and target.read_bytes() != content:
        raise RuntimeError(
            f"{wheel.name} conflicts with the other wheels in {wheel.parent}: {target.name} differs; "
            "delete that folder to download them again"
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(content)
