"""The runner's compiled libraries: isal and backports.zstd, built for AWS Lambda's Python and both of its
architectures.

They unpack image layers several times faster, and are the only way to read zstd before Python 3.14. They
cannot be copied from the environment that synthesizes, which may have another Python, processor or operating
system: `make setup` fetches the wheels that `requirements-runner.txt` pins into `build/runner-wheels`. Files
with machine code are named for their architecture and all others are equal, so the wheels of both go into one
folder, which only a Python of the right version looks at (AWS Lambda Developer Guide, "Layer paths for each
Lambda runtime").

The wheels of AWS's runtime interface client go into images alone: they are part of the assembler's asset.
"""

from __future__ import annotations

import zipfile
from pathlib import Path, PurePosixPath

PYTHON_VERSION = "3.13"
"""The Python that the wheels are made for, which the functions run on."""

SITE_PACKAGES = f"python/lib/python{PYTHON_VERSION}/site-packages"
"""Folder of the layer that a Python of that very version looks at."""

WHEELS = Path(__file__).resolve().parents[2] / "build" / "runner-wheels"
"""Where `make setup` puts the wheels; complete once it holds a file `.ready`."""

_LEFT_OUT = (".pyi", ".typed")
FOR_IMAGES = ("awslambdaric-", "simplejson-", "snapshot_restore_py-")
"""Wheels that only assembled images need: on `python3.13`, Lambda's own would be shadowed by them."""


def add_compiled_libraries(folder: Path, wheels: Path = WHEELS) -> bool:
    """Unpack the wheels into the layer's folder, and their licences into its `licenses/`.

    :returns: False if there are none; then the runner does with what Python has.
    :raises RuntimeError: wheels that do not fit together.
    """
    if not (wheels / ".ready").exists():
        return False
    for wheel in sorted(wheels.glob("*.whl")):
        if not wheel.name.startswith(FOR_IMAGES):
            _unpack(wheel, folder, SITE_PACKAGES)
    return True


def add_libraries_of_images(folder: Path) -> None:
    """Unpack the wheels that go into assembled images into a folder of the assembler's path."""
    if (WHEELS / ".ready").exists():
        for wheel in sorted(WHEELS.glob("*.whl")):
            if wheel.name.startswith(FOR_IMAGES):
                _unpack(wheel, folder, "")


def _unpack(wheel: Path, folder: Path, packages: str) -> None:
    with zipfile.ZipFile(wheel) as archive:
        for name in sorted(archive.namelist()):
            target = _target(PurePosixPath(name), packages)
            if target is not None:
                _write(folder / target, archive.read(name), wheel)


def _target(path: PurePosixPath, packages: str) -> PurePosixPath | None:
    """Where a wheel's file goes in the asset, None if it is left out."""
    parts = path.parts
    if "LICEN" in path.name.upper():
        # The licence of the library within (isa-l) stands in the package's own folder.
        return PurePosixPath("licenses", parts[0].split("-")[0], "-".join([*parts[1:-1], path.name]))
    if parts[0].endswith((".dist-info", ".data")) or path.suffix in _LEFT_OUT or "isa-l" in parts:
        return None
    return PurePosixPath(packages) / path if path.suffix in (".py", ".so") and ".." not in parts else None


def _write(target: Path, content: bytes, wheel: Path) -> None:
    if target.exists() and target.read_bytes() != content:
        raise RuntimeError(
            f"{wheel.name} does not fit the other wheels in {wheel.parent}: {target.name} differs; "
            "remove that folder, and run `make setup`"
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(content)
