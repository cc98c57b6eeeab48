"""The Python that this process runs on, with everything that it needs in a root file system without Python.

A relocated CPython finds its standard library beside its executable (`bin/python3`, `lib/python3.X`).
Its shared libraries are those that the dynamic loader itself names (`LOADER --list FILE`), and it is
started by that loader, so that nothing of the image's own libraries is used: neither their version nor
their kind (musl) matters."""

from __future__ import annotations

import importlib.util
import os
import re
import struct
import subprocess
import sys
import sysconfig
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from containers.elf import ELF64, read_program
from containers.errors import ErrorKind, ExplainedError

PACKAGES = {
    "containers": "",
    "runtime": "",
    "boto3": "boto3",
    "botocore": "botocore",
    "s3transfer": "s3transfer",
    "jmespath": "jmespath",
    "dateutil": "python-dateutil",
    "six": "six",
    "urllib3": "urllib3",
    "awslambdaric": "awslambdaric",
    "runtime_client": "awslambdaric",
    "simplejson": "simplejson",
    "snapshot_restore_py": "snapshot-restore-py",
}
"""Modules and packages in the layer, and their distributions."""

AWS_SERVICES = frozenset(
    {"batch", "dynamodb", "ecr", "lambda", "logs", "s3", "secretsmanager", "sns", "sqs", "sts"}
)
"""Services whose descriptions botocore keeps in the layer: those that `runtime` calls.

`scar_constructs.functions.runner_asset`, which may not import this, has the same ones; a test compares them.
"""

_LEFT_OUT_FOLDERS = frozenset(
    {"__pycache__", "test", "tests", "idlelib", "tkinter", "turtledemo", "ensurepip", "lib2to3", "pydoc_data"}
    | {"site-packages", "dist-packages", "distutils", "venv", "sqlite3", "curses", "dbm", "wsgiref", "msilib"}
    | {"unittest", "examples", "xmlrpc", "_pyrepl", "udocker_tools"}
)
_LEFT_OUT_FILES = re.compile(
    r"(?:turtle|pydoc|doctest|pdb|_pydecimal|_pyio|mailbox|imaplib|nntplib|poplib|smtpd|telnetlib|cgi|cgitb)\.py|"
    r"(?:aifc|wave|sunau|tabnanny|xdrlib|webbrowser|pickletools)\.py|_sysconfigdata.*|.*\.(?:pyi|a|exe|bat|typed|txt|rst)|"
    r"(?:_tkinter|_test\w*|_ctypes_test|_xx\w*|xx\w*|_sqlite3|_curses\w*|_dbm|_gdbm|readline|nis|ossaudiodev|"
    r"_codecs_(?:cn|hk|iso2022|jp|kr|tw)|_multibytecodec|_crypt|spwd|audioop)\..*"
)
_MUSL = "ld-musl-"


@dataclass(frozen=True)
class Interpreter:
    """`files` maps paths below the interpreter's own folder to files of this machine; `loader` is the
    name of the dynamic loader in `lib/`."""

    files: dict[str, Path]
    loader: str


def find_interpreter() -> Interpreter:
    """The interpreter that runs this, and the packages of PACKAGES. Raises ExplainedError (kind
    `NoInterpreter`)."""
    executable = _executable()
    loader = _loader(executable)
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    files = {"bin/python3": executable, f"lib/{loader.name}": loader}
    for base in {sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib")}:
        for name, path in _standard_library(Path(base)):
            files[f"lib/{version}/{name}"] = path
    machine = read_program(executable).machine
    for name, path in _packages():
        # The assembler's own package has modules for both architectures.
        if read_program(path).machine in ("", machine):
            files[f"lib/{version}/{name}"] = path
    for name, path in _licenses():
        files[f"licenses/{name}"] = path
    modules = [path for path in files.values() if read_program(path).machine == machine]
    for library in _libraries(loader, executable, modules):
        files.setdefault(f"lib/{library.name}", library)
    return Interpreter(files, loader.name)


def stripped(content: bytes) -> bytes:
    """An ELF file without the sections for linkers and debuggers: the program headers define what is
    loaded."""
    if not content.startswith(ELF64):
        return content
    offset, size, count = struct.unpack_from("<Q", content, 32)[0], *struct.unpack_from("<HH", content, 54)
    end = offset + size * count
    for index in range(count):
        start, _, _, length = struct.unpack_from("<QQQQ", content, offset + index * size + 8)
        end = max(end, start + length)
    result = bytearray(content[:end])
    struct.pack_into("<Q", result, 40, 0)  # e_shoff
    struct.pack_into("<HHH", result, 58, 0, 0, 0)  # e_shentsize, e_shnum, e_shstrndx
    return bytes(result)


def _executable() -> Path:
    """The real file of this Python; not a link in a virtual environment, nor a script in front of it."""
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    for candidate in (Path(sys.base_prefix, "bin", f"python{version}"), Path(sys.executable)):
        real = Path(os.path.realpath(candidate))
        if real.is_file() and read_program(real).is_elf:
            return real
    raise _unusable(f"the program of Python {version} was not found below {sys.base_prefix}")


def _loader(executable: Path) -> Path:
    name = read_program(executable).interpreter
    if not name:
        raise _unusable(f"{executable} names no dynamic loader")
    if _MUSL in name:
        raise _unusable(f"{executable} is a program for musl")
    return Path(name)


def _standard_library(base: Path) -> Iterator[tuple[str, Path]]:
    for folder, folders, names in os.walk(base):
        folders[:] = sorted(
            name for name in folders if name not in _LEFT_OUT_FOLDERS and not name.startswith("config-")
        )
        for name in sorted(names):
            path = Path(folder, name)
            wanted = path.suffix in (".py", ".so") or name == "LICENSE.txt"
            if wanted and (name == "LICENSE.txt" or not _LEFT_OUT_FILES.fullmatch(name)):
                yield str(path.relative_to(base)), path


def _packages() -> Iterator[tuple[str, Path]]:
    for package in PACKAGES:
        spec = importlib.util.find_spec(package)
        if spec is None or spec.origin is None:
            raise _unusable(f"the package {package} is not installed")
        origin = Path(spec.origin)
        if origin.name != "__init__.py":  # a module, even if it poses as a package, as `six` does
            yield origin.name, origin
            continue
        for folder, folders, names in os.walk(origin.parent):
            folders[:] = sorted(name for name in folders if name not in _LEFT_OUT_FOLDERS)
            for name in sorted(names):
                path = Path(folder, name)
                inside = path.relative_to(origin.parent)
                if (
                    path.suffix != ".pyc"
                    and not _LEFT_OUT_FILES.fullmatch(name)
                    and _is_used(package, inside)
                ):
                    yield f"{package}/{inside}", path


def _is_used(package: str, path: Path) -> bool:
    match (package, *path.parts):
        case ("botocore" | "boto3", "data", service, _, *_):
            return service in AWS_SERVICES and not path.name.startswith(
                ("examples-", "waiters-2.json.examples")
            )
        case _:
            return True


def _licenses() -> Iterator[tuple[str, Path]]:
    for name in sorted({name for name in PACKAGES.values() if name}):
        try:
            installed = distribution(name)
        except PackageNotFoundError:
            continue
        for file in sorted(installed.files or (), key=str):
            if file.name.upper().startswith(("LICEN", "NOTICE")) and ".dist-info" in str(file):
                yield f"{name}/{file.name}", Path(str(installed.locate_file(file)))


def _libraries(loader: Path, program: Path, modules: Sequence[Path]) -> Iterator[Path]:
    """The shared libraries that the dynamic loader would load for a program and all of its modules,
    determined in one call: one for each module takes a fifth of a second."""
    # A colon separates; the loader knows no way to quote one.
    preloaded = ":".join(str(path) for path in modules if path not in (loader, program))
    asked = subprocess.run(
        [loader, "--list", program],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "LD_PRELOAD": preloaded},
    )
    if "cannot be preloaded" in asked.stderr:
        raise _unusable(asked.stderr.strip().splitlines()[0])
    for line in asked.stdout.splitlines():
        name, arrow, rest = line.strip().partition(" => ")
        if arrow and rest.startswith("not found"):
            raise _unusable(f"{program} or one of its modules needs the library {name}, which was not found")
        if arrow and rest.startswith("/"):
            path = Path(rest.rpartition(" (")[0])
            yield path.parent / name


def _unusable(why: str) -> ExplainedError:
    return ExplainedError(
        f"the runner layer cannot be built from {sys.executable}: {why}",
        advice="Run the assembler on CPython for Linux with glibc (AWS Lambda's python3.13 is one)",
        kind=ErrorKind.NO_INTERPRETER,
    )
