"""The engines for places that refuse namespaces, AWS Lambda above all: fakechroot and proot.

Their tools are udocker's (see udocker_tools.py); what `udocker run` does in seconds before each start
(choosing a library, looking for loaders, converting links) is done once for each unpacked image here, and
remembered beside it.

How a program runs under fakechroot: the image's own dynamic linker is started with the program as its
argument, the library preloaded into it answers every file operation with the image's root put before the
path, and does the same for programs started in turn. Neither engine can mount, so

- the invocation's folder is excluded from the rewriting: it is seen at its own path,
- the image is made read-only by its modes, and processes get no capability that would override them,
- /tmp, /var/tmp and /run stay writable; they are emptied before and after each run, and a lock lets one run
  of an image after the other have them. (An execution environment of Lambda runs one invocation at a time
  anyway.)
- absolute symlinks are made relative, which means the same inside the image and is right from outside, too,
- USER cannot be honoured: everything runs as the runner's user (proot pretends otherwise),
- proot reports a program that was killed by a signal as exit code 255.

Limits: a program that wants to can leave (it is no security boundary between invocations of one function),
static binaries run under proot only, and so do images whose C library none of the fakechroot libraries fits.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import platform
import subprocess
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from runtime.engines.elf import mentions, read_program
from runtime.engines.engine import ContainerProcess, ContainerResult, ProbeFailed
from runtime.engines.prepared_root import empty_writable_folders, make_folder, prepare_root
from runtime.engines.scratch import scratch_folder
from runtime.engines.supervise import supervise
from runtime.engines.udocker_tools import (
    c_library_of,
    choose_library,
    fakechroot_libraries,
    find_proot,
    library_path,
    tool_folders,
)
from runtime.engines.user import complete_environment, look_up_user
from runtime.errors import RunnerError
from runtime.images import RootFilesystem, resolve_in_root

_HELPER = "process_init"
_HOST_FOLDERS = ("/dev", "/proc", "/sys")
_WRONG_FORMAT = "its format is wrong: neither a program nor a script with a #! line"
_MAXIMUM_SHEBANGS = 4  # as the kernel's limit for a script whose interpreter is a script


@dataclass(frozen=True)
class _Recipe:
    """What fakechroot needs to know of an image."""

    library: str
    loader: str
    argv0_option: str
    library_path: str


class FakechrootEngine:
    """Runs containers by a preloaded library."""

    name = "fakechroot"

    def __init__(self, store: Path, details: Mapping[str, str]) -> None:
        self._store = store
        self._proot = details.get("proot") or None

    def run(self, process: ContainerProcess) -> ContainerResult:
        """Run to the end; see Engine. Images that fakechroot cannot run go to proot, where that is
        available."""
        try:
            recipe = _recipe(process.root)
            argv = _command(process, recipe)
        except RunnerError as error:
            if error.kind == "EngineUnsuitable" and self._proot:
                return ProotEngine(self._store, {"proot": self._proot}).run(process)
            raise
        if isinstance(argv, ContainerResult):
            return argv
        env = self._environment(process, recipe)
        cwd = _host_path(process, process.working_dir or "/")
        with _exclusive(process) as in_time:
            if not in_time:
                return ContainerResult(None, None, True, 0.0)
            if cwd is None:
                cwd = make_folder(process.root.path, process.working_dir)
            return _supervised(process, argv, env, str(cwd))

    def _environment(self, process: ContainerProcess, recipe: _Recipe) -> dict[str, str]:
        root = process.root.path.resolve()
        env = complete_environment(process.env, look_up_user(root, ""))
        wanted = [
            resolve_in_root(root, entry) for entry in env.get("LD_LIBRARY_PATH", "").split(":") if entry
        ]
        inside = [str(path) for path in wanted if path is not None]
        preload = [
            resolve_in_root(root, entry) for entry in env.get("LD_PRELOAD", "").replace(":", " ").split()
        ]
        excluded = [*_HOST_FOLDERS, "/etc/resolv.conf", "/etc/hosts", *process.binds.values()]
        return {
            **env,
            "FAKECHROOT": "true",
            "FAKECHROOT_BASE": str(root),
            "FAKECHROOT_EXCLUDE_PATH": ":".join(excluded),
            "FAKECHROOT_ELFLOADER": recipe.loader,
            **({"FAKECHROOT_ELFLOADER_OPT_ARGV0": recipe.argv0_option} if recipe.argv0_option else {}),
            "FAKECHROOT_AF_UNIX_PATH": "/tmp",  # noqa: S108 - a socket's path may have 108 bytes, the root takes many
            "LD_LIBRARY_PATH": ":".join([*inside, recipe.library_path]),
            "LD_PRELOAD": ":".join([recipe.library, *(str(path) for path in preload if path is not None)]),
        }


class ProotEngine:
    """Runs containers under ptrace: slower, but any kind of binary."""

    name = "proot"

    def __init__(self, store: Path, details: Mapping[str, str]) -> None:
        self._store = store
        self._proot = details["proot"]

    def run(self, process: ContainerProcess) -> ContainerResult:
        """Run to the end; see Engine."""
        root = process.root.path.resolve()
        prepare_root(root)
        found = _program(process, process.argv[0])
        if isinstance(found, ContainerResult):
            return found
        user = look_up_user(root, process.user)
        with scratch_folder(self._store) as scratch, _exclusive(process) as in_time:
            if not in_time:
                return ContainerResult(None, None, True, 0.0)
            cwd = process.working_dir or "/"
            if resolve_in_root(root, cwd) is None and _bound(process, cwd) is None:
                make_folder(root, cwd)
            binds = [
                f"{name}:{name}"
                for name in (*_HOST_FOLDERS, "/etc/resolv.conf", "/etc/hosts")
                if Path(name).exists()
            ]
            binds += [f"{host}:{inside}" for host, inside in process.binds.items()]
            argv = [
                self._proot,
                "-r",
                str(root),
                *(word for bind in binds for word in ("-b", bind)),
                # Not for root: proot's imitation of root makes read-only files writable behind our back.
                *(("-i", f"{user.uid}:{user.gid}") if user.uid else ()),
                "-w",
                cwd,
                *process.argv,
            ]
            env = complete_environment(process.env, user) | {"PROOT_TMP_DIR": str(scratch)}
            return _supervised(process, argv, env, "/")


def probe_fakechroot(_store: Path) -> Mapping[str, str]:
    """Whether there is a library at all; which one fits shows with the image. Raises ProbeFailed."""
    if not fakechroot_libraries():
        raise ProbeFailed(f"no libfakechroot-*-{platform.machine()}.so {_where('lib')}")
    try:
        return {"proot": probe_proot(_store)["proot"]}
    except ProbeFailed:
        return {}


def probe_proot(_store: Path) -> Mapping[str, str]:
    """A proot that may trace here. Raises ProbeFailed."""
    proot = find_proot()
    if proot is None:
        raise ProbeFailed(f"no proot-{platform.machine()} {_where('bin')}")
    try:
        tried = subprocess.run(
            [str(proot), "-r", "/", "-w", "/", str(proot), "--version"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=10,
            check=False,
            env={},
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ProbeFailed(f"{proot} cannot be run: {error}") from error
    if tried.returncode != 0:
        message = tried.stderr.decode("utf-8", "replace").strip().splitlines()
        raise ProbeFailed(
            f"{proot} does not work here: {message[0] if message else f'it ended with {tried.returncode}'}"
        )
    return {"proot": str(proot)}


def _where(subfolder: str) -> str:
    return "in " + ", ".join(str(folder / subfolder) for folder in tool_folders())


# -- fakechroot
# ------------------------------------------------------------------------------------------------------


def _recipe(image: RootFilesystem) -> _Recipe:
    """The recipe for an image, worked out once and kept beside it.

    Raises RunnerError (kind `EngineUnsuitable`) for an image that no library fits.
    """
    root = image.path.resolve()
    libraries = fakechroot_libraries()
    memory = root.parent / "fakechroot.json"
    wanted = [f"{path} {path.stat().st_mtime_ns}" for path in libraries]
    with contextlib.suppress(OSError, ValueError, LookupError, TypeError):
        content = json.loads(memory.read_bytes())
        if content["libraries"] == wanted and content["root"] == str(root):
            return _Recipe(**content["recipe"])
    c_library = c_library_of(root)
    if c_library is None:
        raise _unsuitable(
            "the image has no dynamic linker, only static programs, which fakechroot cannot reach"
        )
    library = choose_library(root, c_library, libraries)
    if library is None:
        names = ", ".join(path.name for path in libraries) or "none"
        raise _unsuitable(f"no fakechroot library fits the image's {c_library} (there are: {names})")
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
        found = _program(process, argv[0])
        if isinstance(found, ContainerResult):
            return found
        program = read_program(found)
        if program.shebang:
            # The script keeps its path as seen inside; only what the linker itself opens must be a path
            # outside.
            argv = [*program.shebang, _inside_path(process, found), *argv[1:]]
            continue
        if not program.is_elf:
            return _not_started(process, argv[0], _WRONG_FORMAT, 126)
        if program.machine != platform.machine():
            return _not_started(process, argv[0], f"it is made for {program.machine}", 126)
        if program.interpreter is None:
            raise _unsuitable(f"'{argv[0]}' is a static program, which fakechroot cannot reach")
        name_option = [recipe.argv0_option, argv[0]] if recipe.argv0_option else []
        return [recipe.loader, *name_option, str(found), *argv[1:]]
    return _not_started(process, argv[0], "too many levels of #! lines", 126)


def _program(process: ContainerProcess, name: str) -> Path | ContainerResult:
    """The program's file, or the result that says why it cannot be started."""
    found = _find_program(process, name)
    if found is None:
        return _not_started(process, name, "no such file in the image", 127)
    if not os.access(found, os.X_OK) or not found.is_file():
        return _not_started(process, name, "it is not executable for this user", 126)
    return found


def _find_program(process: ContainerProcess, name: str) -> Path | None:
    if "/" in name:
        return _host_path(process, name if name.startswith("/") else f"{process.working_dir or '/'}/{name}")
    path = complete_environment(process.env, look_up_user(process.root.path, "")).get("PATH", "")
    candidates = (_host_path(process, f"{folder}/{name}") for folder in path.split(":") if folder)
    return next((found for found in candidates if found is not None and found.is_file()), None)


def _host_path(process: ContainerProcess, inside: str) -> Path | None:
    """Where the container's absolute path `inside` lies for the host, None if it does not exist."""
    return _bound(process, inside) or resolve_in_root(process.root.path.resolve(), inside)


def _bound(process: ContainerProcess, inside: str) -> Path | None:
    """The same, for a path in one of the bound folders."""
    for host, mounted in process.binds.items():
        if inside == mounted or inside.startswith(f"{mounted}/"):
            return resolve_in_root(host.resolve(), inside[len(mounted) :])
    return None


def _inside_path(process: ContainerProcess, found: Path) -> str:
    root = process.root.path.resolve()
    return f"/{found.relative_to(root)}" if found.is_relative_to(root) else str(found)


def _not_started(process: ContainerProcess, name: str, why: str, code: int) -> ContainerResult:
    process.on_output(f"cannot start '{name}': {why}\n".encode())
    return ContainerResult(code, None, False, 0.0)


def _unsuitable(cause: str) -> RunnerError:
    return RunnerError(
        cause,
        advice="Package udocker's tools with proot and libraries for this distribution, "
        "or base the image on a current Debian, Ubuntu or Alpine",
        kind="EngineUnsuitable",
    )


# -- both
# ------------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _exclusive(process: ContainerProcess) -> Iterator[bool]:
    """The image's writable folders for this run alone, empty; False if its deadline passes before they are
    free."""
    root = process.root.path.resolve()
    descriptor = os.open(root.parent / "run.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if process.deadline is not None and time.monotonic() >= process.deadline:
                    yield False
                    return
                time.sleep(0.02)
        empty_writable_folders(root)
        try:
            yield True
        finally:
            empty_writable_folders(root)
    finally:
        os.close(descriptor)


def _supervised(
    process: ContainerProcess, argv: list[str], env: Mapping[str, str], cwd: str
) -> ContainerResult:
    task = {"argv": argv, "env": dict(env), "cwd": cwd}
    report = supervise(_HELPER, task, deadline=process.deadline, on_output=process.on_output)
    if report.failed is not None:
        raise RunnerError(
            f"the container cannot be set up: {report.failed}",
            advice="Try another engine with SCAR_ENGINE",
            kind="EngineFailed",
        )
    if report.not_started:
        process.on_output(f"{report.not_started}\n".encode())
    return ContainerResult(report.exit_code, report.signal, report.timed_out, report.duration_s)
