"""Files of the host for an image: a shell, small programs, Python, and the shared libraries that they need.

The loader of the host names the libraries of a program (`ldd`). In the image they are all in the folder of
the C library, which the loader searches by default, so the image needs no loader cache.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath

from containers.building.errors import BuildError
from containers.building.layer_files import LayerFiles

PROGRAMS = (
    "sh", "bash", "awk", "base64", "basename", "cat", "chmod", "cmp", "comm", "cp", "cut", "date", "diff",
    "dirname", "du", "echo", "env", "expr", "false", "find", "fold", "grep", "gunzip", "gzip", "head", "id",
    "join", "ln", "ls", "md5sum", "mkdir", "mktemp", "mv", "nl", "nproc", "od", "paste", "printf", "pwd",
    "readlink", "realpath", "rm", "rmdir", "sed", "seq", "sha256sum", "sleep", "sort", "split", "stat",
    "tac", "tail", "tar", "tee", "test", "timeout", "touch", "tr", "true", "truncate", "uname", "uniq",
    "wc", "xargs", "zcat",
)  # fmt: skip
_NEEDED_PROGRAMS = {"sh", "cat", "ls", "mkdir", "env"}
_FOUND = re.compile(r"^\s*(?:\S+ => )?(?P<path>/.+) \(0x[0-9a-f]+\)$", re.MULTILINE)
_PROGRAM = re.compile(r"^(/.+):$", re.MULTILINE)
_MISSING = re.compile(r"(?P<name>\S+) => not found")
_ELF = b"\x7fELF"
_PYTHON = "opt/python"
_VERSION = f"python{sys.version_info.major}.{sys.version_info.minor}"
_NOT_OF_PYTHON = {
    "__pycache__", "dist-packages", "site-packages", "test", "tests", "idlelib", "tkinter", "turtledemo",
    "lib2to3", "ensurepip", "pydoc_data", "distutils", "sitecustomize.py",
}  # fmt: skip
_NOT_OF_ITS_LIBRARIES = (
    "_test", "_tkinter", "_curses", "_dbm", "_gdbm", "_ctypes_test", "readline", "nis", "xx",
)  # fmt: skip


class HostFilesError(BuildError):
    """The host lacks a program or library that the image needs."""


def base_system() -> LayerFiles:
    """A small Linux user land: shell, small programs, users and `/tmp`; `/bin` and `/lib` link to `/usr`.

    Raises:
        HostFilesError: A program or a library is missing.
    """
    root = LayerFiles()
    for link in ("bin", "sbin", "lib", "lib64"):
        root.add_link(link, f"usr/{link}" if link != "sbin" else "usr/bin")
    for folder in ("dev", "proc", "sys", "root", "etc", "opt", "var", "usr/bin", "usr/lib", "usr/lib64"):
        root.add_folder(folder)
    root.add_folder("tmp", 0o1777)
    root.add_content("etc/passwd", "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/sh\n")
    root.add_content("etc/group", "root:x:0:\nnogroup:x:65534:\n")
    root.add_content("etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files dns\n")
    root.add_content(
        "etc/os-release", 'NAME="scar-cdk"\nID=scar-cdk\nPRETTY_NAME="Image built by scar-cdk"\n'
    )
    programs = {name: found for name in PROGRAMS if (found := shutil.which(name))}
    if missing := sorted(_NEEDED_PROGRAMS - set(programs)):
        raise HostFilesError(f"no {', '.join(missing)} in PATH", "Install the coreutils and a POSIX shell")
    for name, found in programs.items():
        root.add_file(f"usr/bin/{name}", Path(found), 0o755)
    add_libraries(root, [Path(found) for found in programs.values()])
    return root


def add_python(root: LayerFiles) -> str:
    """Add the host's Python without tests, tools and installed packages; returns its path in the image."""
    version = _VERSION
    program = Path(sys.base_prefix) / "bin" / version
    library = Path(sysconfig.get_path("stdlib"))
    if not program.is_file() or not library.is_dir():
        raise HostFilesError(
            f"no complete Python installation in {sys.base_prefix}: {program} or {library} is missing",
            "Run scar with a complete Python installation",
        )
    root.add_file(f"{_PYTHON}/bin/{version}", program, 0o755)
    root.add_link(f"{_PYTHON}/bin/python3", version)
    root.add_link("usr/bin/python3", f"/{_PYTHON}/bin/python3")
    root.add_tree(python_library(), library, _is_of_python)
    extensions = [
        file for file in (library / "lib-dynload").glob("*.so") if _is_of_python(_below(library, file))
    ]
    add_libraries(root, [program, *extensions])
    return f"/{_PYTHON}/bin/python3"


def python_library() -> str:
    """The folder of Python's library in the image, as `add_python` fills it."""
    return f"{_PYTHON}/{sys.platlibdir}/{_VERSION}"


def add_libraries(
    root: LayerFiles, programs: Iterable[Path], own: Path | None = None, search: Sequence[Path] = ()
) -> None:
    """Add the shared libraries that `programs` need, except those below `own`, which the caller adds.

    The loader also looks into `search`: folders below `own` that it searches inside the image.
    """
    for library in _libraries(programs, search):
        if own is None or not library.is_relative_to(own):
            root.add_file(_place(library), library, 0o755)


def _below(folder: Path, file: Path) -> PurePosixPath:
    return PurePosixPath(file.relative_to(folder).as_posix())


def _is_of_python(path: PurePosixPath) -> bool:
    if not _NOT_OF_PYTHON.isdisjoint(path.parts) or path.parts[0].startswith("config-"):
        return False
    if path.parent.name == "lib-dynload" and path.name.startswith(_NOT_OF_ITS_LIBRARIES):
        return False
    return path.suffix not in {".a", ".exe"}


def _libraries(programs: Iterable[Path], search: Sequence[Path]) -> list[Path]:
    loaded = [path for path in dict.fromkeys(path.resolve() for path in programs) if _is_elf(path)]
    if not loaded:
        return []
    environment = {**os.environ, "LD_LIBRARY_PATH": os.pathsep.join(map(str, search)), "LC_ALL": "C"}
    answer = subprocess.run(
        ["ldd", *map(str, loaded)], capture_output=True, text=True, check=False, env=environment
    ).stdout
    if missing := _MISSING.search(answer):
        named = _PROGRAM.findall(answer, 0, missing.start())  # ldd names a program if there are several
        program = named[-1] if named else loaded[0]
        raise HostFilesError(f"{program} needs {missing['name']}, which is not installed", "Install it")
    return sorted({Path(match["path"]) for match in _FOUND.finditer(answer)})


def _is_elf(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(len(_ELF)) == _ELF


def _place(library: Path) -> str:
    """Programs contain the path of the loader; all other libraries are put next to the C library."""
    if library.name.startswith("ld-"):
        return f"usr/{library.parent.name}/{library.name}"
    multiarch = sysconfig.get_config_var("MULTIARCH") or ""
    debian = Path("/usr/lib") / multiarch / "libc.so.6"
    folder = f"usr/lib/{multiarch}" if multiarch and debian.exists() else "usr/lib64"
    return f"{folder}/{library.name}"
