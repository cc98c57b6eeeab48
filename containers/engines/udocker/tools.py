"""Finds fakechroot libraries and proot, and the library that supports an image.

The tools are those of udocker's tarball (https://github.com/indigo-dc/udocker), in a folder with the same
layout: `lib/libfakechroot-Debian-12-x86_64.so`, `bin/proot-x86_64-4_8_0` (and `arm64`, not `aarch64`). They
are searched in this order:

1. single files by udocker's own variables UDOCKER_FAKECHROOT_SO and UDOCKER_USE_PROOT_EXECUTABLE,
2. the folder SCAR_UDOCKER_TOOLS, 3. `udocker_tools` beside the runner, 4. UDOCKER_DIR.

A fakechroot library is loaded into every process of the image, so it must match the image's C library: musl
or glibc; for glibc, not newer than the image's, and on the same side of version 2.33, in which `stat` and
similar functions got new names for interception.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from containers.elf import glibc_version, mentions, read_program
from containers.paths import resolve_in_root

_STAT_BECAME_A_FUNCTION = (2, 33)
_RUNNER_FOLDER = Path(__file__).resolve().parents[2]
# udocker's names of distributions, by os-release's ID; the number of version parts that it uses
_DISTRIBUTIONS = {
    "debian": ("Debian", 1),
    "ubuntu": ("Ubuntu", 1),
    "alpine": ("Alpine", 2),
    "centos": ("CentOS", 1),
    "fedora": ("Fedora", 1),
    "almalinux": ("AlmaLinux", 1),
    "rocky": ("Rocky", 1),
    "rhel": ("Red", 1),
}


@dataclass(frozen=True)
class CLibrary:
    """An image's C library: its dynamic linker (path in the image), and its version if it is glibc."""

    loader: str
    glibc: tuple[int, int] | None

    def __str__(self) -> str:
        return f"glibc {self.glibc[0]}.{self.glibc[1]}" if self.glibc else "musl"


def tool_folders() -> list[Path]:
    """The folders to look in, existing or not."""
    named = [
        os.environ.get("SCAR_UDOCKER_TOOLS"),
        str(_RUNNER_FOLDER / "udocker_tools"),
        os.environ.get("UDOCKER_DIR"),
    ]
    return [Path(name) for name in named if name]


def fakechroot_libraries() -> list[Path]:
    """All libraries for this machine's architecture."""
    single = os.environ.get("UDOCKER_FAKECHROOT_SO")
    if single:
        return [path for path in (Path(single),) if path.is_file()]
    found = (path for folder in tool_folders() for path in sorted((folder / "lib").glob("libfakechroot*.so")))
    return [path for path in found if _machine(path) == platform.machine()]


def find_proot() -> Path | None:
    """A proot for this machine, or None."""
    single = os.environ.get("UDOCKER_USE_PROOT_EXECUTABLE")
    if single:
        return Path(single) if os.access(single, os.X_OK) else None
    names = (f"proot-{_architecture()}-4_8_0", f"proot-{_architecture()}")
    places = (folder / "bin" / name for folder in tool_folders() for name in names)
    return next((path for path in places if os.access(path, os.X_OK)), None)


def c_library_of(root: Path) -> CLibrary | None:
    """The C library of the image at `root`; None if it has none (static binaries only)."""
    machine = platform.machine()
    glibc_loader = {"x86_64": "/lib64/ld-linux-x86-64.so.2", "aarch64": "/lib/ld-linux-aarch64.so.1"}.get(
        machine, ""
    )
    if glibc_loader and resolve_in_root(root, glibc_loader):
        for folder in _glibc_folders(machine):
            library = resolve_in_root(root, f"{folder}/libc.so.6")
            if library and (version := glibc_version(library)):
                return CLibrary(glibc_loader, version)
    musl_loader = f"/lib/ld-musl-{machine}.so.1"
    return CLibrary(musl_loader, None) if resolve_in_root(root, musl_loader) else None


def choose_library(root: Path, c_library: CLibrary, libraries: list[Path]) -> Path | None:
    """The library among `libraries` that fits the image at `root` best, or None if none fits.

    Named for the image's very distribution first, then the nearest C library.
    """
    wanted = f"libfakechroot-{distribution(root)}-{_architecture()}.so"
    for path in libraries:  # without inspecting all the others, about a hundred
        if path.name == wanted and _fits(path, c_library) is not None:
            return path
    fitting = [(version, path) for path in libraries if (version := _fits(path, c_library)) is not None]
    return max(fitting, key=lambda pair: pair[0])[1] if fitting else None


def distribution(root: Path) -> str:
    """The image's distribution as udocker names it (`Debian-12`), or an empty text."""
    path = resolve_in_root(root, "/etc/os-release")
    if path is None or not path.is_file():
        return ""
    with path.open("rb") as file:
        lines = file.read(64 * 1024).decode("utf-8", "replace").splitlines()
    values = {key: value.strip("\"'") for key, _, value in (line.partition("=") for line in lines)}
    name, parts = _DISTRIBUTIONS.get(values.get("ID", ""), ("", 0))
    return f"{name}-{'.'.join(values.get('VERSION_ID', '').split('.')[:parts])}" if name else ""


def library_path(root: Path, c_library: CLibrary) -> list[Path]:
    """The folders that the image's dynamic linker searches for libraries, as host paths."""
    machine = platform.machine()
    if c_library.glibc is None:
        configured = list(_lines(root, f"/etc/ld-musl-{machine}.path", ":"))
        names = configured or ["/lib", "/usr/local/lib", "/usr/lib"]
    else:
        names = [*_ld_so_conf(root, "/etc/ld.so.conf", 0), *_glibc_folders(machine)]
    folders = (resolve_in_root(root, name) for name in names)
    return list(dict.fromkeys(folder for folder in folders if folder is not None and folder.is_dir()))


def _fits(path: Path, c_library: CLibrary) -> tuple[int, int] | None:
    """The glibc version that the library at `path` needs ((0, 0) for musl), None if it does not fit."""
    needs = glibc_version(path)
    if c_library.glibc is None:
        return (0, 0) if needs is None and mentions(path, b"musl") else None
    if needs is None or needs > c_library.glibc:
        return None
    same_side = (needs >= _STAT_BECAME_A_FUNCTION) == (c_library.glibc >= _STAT_BECAME_A_FUNCTION)
    return needs if same_side else None


def _architecture() -> str:
    """udocker's name of this machine's architecture."""
    return {"aarch64": "arm64"}.get(platform.machine(), platform.machine())


def _machine(path: Path) -> str:
    """The C library that a library is built for, from its name: a release of udocker's tools has a
    hundred."""
    for name, machine in (("-x86_64.so", "x86_64"), ("-arm64.so", "aarch64"), ("-ppc64le.so", "ppc64le")):
        if path.name.endswith(name):
            return machine
    try:
        return read_program(path).machine
    except OSError:
        return ""


def _glibc_folders(machine: str) -> list[str]:
    triplet = f"{machine}-linux-gnu"
    return [
        f"/lib/{triplet}",
        f"/usr/lib/{triplet}",
        "/lib64",
        "/usr/lib64",
        "/lib",
        "/usr/lib",
        "/usr/local/lib",
    ]


def _ld_so_conf(root: Path, name: str, depth: int) -> Iterator[str]:
    """The folders that ld.so.conf names, includes followed a few levels deep."""
    for line in _lines(root, name, None):
        if not line.startswith("include"):
            yield line
            continue
        pattern = line.removeprefix("include").strip()
        folder = resolve_in_root(root, pattern.rpartition("/")[0])
        if depth < 3 and folder is not None and folder.is_dir():  # noqa: PLR2004 - real ones have one level
            for path in sorted(folder.glob(pattern.rpartition("/")[2] or "*")):
                yield from _ld_so_conf(root, f"{pattern.rpartition('/')[0]}/{path.name}", depth + 1)


def _lines(root: Path, name: str, separator: str | None) -> Iterator[str]:
    path = resolve_in_root(root, name)
    if path is None or not path.is_file():
        return
    with path.open("rb") as file:
        content = file.read(64 * 1024).decode("utf-8", "replace")
    for line in (content.replace(separator, "\n") if separator else content).splitlines():
        text = line.partition("#")[0].strip()
        if text:
            yield text
