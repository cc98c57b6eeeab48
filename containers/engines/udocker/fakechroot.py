"""The fakechroot engine: a library preloaded into every process answers paths with the image's root before
them."""

from __future__ import annotations

import contextlib
import json
import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from containers.bounded_json import read_json
from containers.elf import mentions, read_program
from containers.engines.contract import ContainerProcess, ContainerResult, ProbeFailed, Root, check_process
from containers.engines.udocker.engine import (
    HOST_FOLDERS,
    find_executable,
    host_path,
    inside_path,
    not_started,
    run_supervised,
    where,
    writable_folders,
)
from containers.engines.udocker.prepared_root import make_folder, prepare_root
from containers.engines.udocker.proot import ProotEngine, probe_proot
from containers.engines.udocker.tools import c_library_of, choose_library, fakechroot_libraries, library_path
from containers.engines.user import complete_environment, look_up_user, this_user_may_write
from containers.errors import ErrorKind, ExplainedError
from containers.paths import resolve_in_root

_WRONG_FORMAT = "its format is not supported: neither a program nor a script with a #! line"
_MAXIMUM_SHEBANGS = 4  # as the kernel's limit for a script whose interpreter is a script


class FakechrootEngine:
    """Runs containers by a preloaded library."""

    name = "fakechroot"

    def __init__(self, store: Path, _details: Mapping[str, str]) -> None:
        self._store = store

    def run(self, process: ContainerProcess) -> ContainerResult:
        """Run to the end; see Engine. Images that fakechroot does not support run with proot, if that is
        available."""
        check_process(process)
        try:
            recipe = _recipe(process.root)
            argv = _command(process, recipe)
        except ExplainedError as error:
            if error.kind != ErrorKind.ENGINE_UNSUITABLE:
                raise
            try:
                details = probe_proot(self._store)
            except ProbeFailed:
                raise error from None
            return ProotEngine(self._store, details).run(process)
        if isinstance(argv, ContainerResult):
            return argv
        env = self._environment(process, recipe)
        cwd = host_path(process, process.working_dir or "/")
        with writable_folders(process) as in_time:
            if not in_time:
                return ContainerResult(None, None, True, 0.0)
            if cwd is None:
                cwd = make_folder(process.root.path, process.working_dir)
            return run_supervised(process, argv, env, str(cwd))

    def _environment(self, process: ContainerProcess, recipe: _Recipe) -> dict[str, str]:
        root = process.root.path.resolve()
        env = complete_environment(process, look_up_user(root, ""), this_user_may_write)
        wanted = [
            resolve_in_root(root, entry) for entry in env.get("LD_LIBRARY_PATH", "").split(":") if entry
        ]
        inside = [str(path) for path in wanted if path is not None]
        preload = [
            resolve_in_root(root, entry) for entry in env.get("LD_PRELOAD", "").replace(":", " ").split()
        ]
        excluded = [*HOST_FOLDERS, "/etc/resolv.conf", "/etc/hosts", *process.all_binds.values()]
        return {
            **env,
            "FAKECHROOT": "true",
            "FAKECHROOT_BASE": str(root),
            "FAKECHROOT_EXCLUDE_PATH": ":".join(excluded),
            "FAKECHROOT_ELFLOADER": recipe.loader,
            "FAKECHROOT_AF_UNIX_PATH": "/tmp",  # noqa: S108 - a socket's path may have 108 bytes, the root takes many
            "LD_LIBRARY_PATH": ":".join([*inside, recipe.library_path]),
            "LD_PRELOAD": ":".join([recipe.library, *(str(path) for path in preload if path is not None)]),
        }


def probe_fakechroot(_store: Path) -> Mapping[str, str]:
    """Whether there is any library; the image determines which one. Raises ProbeFailed."""
    if not fakechroot_libraries():
        raise ProbeFailed(f"no libfakechroot-*.so for {platform.machine()} {where('lib')}")
    return {}


@dataclass(frozen=True)
class _Recipe:
    """The facts about an image that fakechroot needs."""

    library: str
    loader: str
    argv0_option: str
    library_path: str


def _recipe(image: Root) -> _Recipe:
    """The recipe for an image, determined once and stored next to it.

    Raises ExplainedError (kind `EngineUnsuitable`) for an image that no library supports.
    """
    root = image.path.resolve()
    libraries = fakechroot_libraries()
    memory = root.parent / "fakechroot.json"
    wanted = [f"{path} {path.stat().st_mtime_ns}" for path in libraries]
    with contextlib.suppress(OSError, ValueError, LookupError, TypeError):
        content = read_json(memory.read_bytes())
        if content["libraries"] == wanted and content["root"] == str(root):
            return _Recipe(**content["recipe"])
    c_library = c_library_of(root)
    if c_library is None:
        raise _unsuitable(
            "the image has no dynamic linker, only static programs, which fakechroot does not support"
        )
    library = choose_library(root, c_library, libraries)
    if library is None:
        names = ", ".join(path.name for path in libraries) or "none"
        raise _unsuitable(f"no fakechroot library fits the image's {c_library} (available: {names})")
    loader = resolve_in_root(root, c_library.loader)
    assert loader is not None  # noqa: S101 - c_library_of has just found it
    recipe = _Recipe(
        library=str(library),
        loader=str(loader),
        argv0_option="--argv0" if mentions(loader, b"--argv0") else "",
        library_path=":".join(str(folder) for folder in library_path(root, c_library)),
    )
    prepare_root(root)
    temporary = memory.with_suffix(f".{os.getpid()}")
    temporary.write_text(json.dumps({"libraries": wanted, "root": str(root), "recipe": vars(recipe)}))
    temporary.replace(memory)
    return recipe


def _command(process: ContainerProcess, recipe: _Recipe) -> list[str] | ContainerResult:
    """The command line that starts the program by the image's dynamic linker, or the result if there is
    none."""
    argv = list(process.argv)
    for _ in range(_MAXIMUM_SHEBANGS):
        found = find_executable(process, argv[0])
        if isinstance(found, ContainerResult):
            return found
        program = read_program(found)
        if program.shebang:
            # The script keeps its path as seen inside; only what the linker itself opens must be a path
            # outside.
            argv = [*program.shebang, inside_path(process, found), *argv[1:]]
            continue
        if not program.is_elf:
            return not_started(process, argv[0], _WRONG_FORMAT, 126)
        if program.machine != platform.machine():
            return not_started(process, argv[0], f"it is built for {program.machine}", 126)
        if program.interpreter is None:
            raise _unsuitable(f"'{argv[0]}' is a static program, which fakechroot does not support")
        name_option = [recipe.argv0_option, argv[0]] if recipe.argv0_option else []
        return [recipe.loader, *name_option, str(found), *argv[1:]]
    return not_started(process, argv[0], "too many levels of #! lines", 126)


def _unsuitable(cause: str) -> ExplainedError:
    return ExplainedError(
        cause,
        advice="Package udocker's tools with proot and libraries for this distribution, "
        "or base the image on a current Debian, Ubuntu or Alpine",
        kind=ErrorKind.ENGINE_UNSUITABLE,
    )
