"""The engines for environments without namespaces, mainly AWS Lambda: fakechroot and proot.

Their tools are udocker's (see udocker_tools.py); what `udocker run` does in seconds before each start
(choosing a library, looking for loaders, converting links) is done here once for each unpacked image, and
stored next to it.

How a program runs under fakechroot: the image's own dynamic linker is started with the program as its
argument, the library preloaded into it adds the image's root to the path of every file operation, also in
programs that it starts. Neither engine can mount, so

- the invocation's folder is excluded from the rewriting: it is seen at its own path,
- the image is made read-only by its modes, and processes get no capability that would override them,
- /tmp, /var/tmp and /run stay writable; they are emptied before and after each run, and a lock lets only one
  run of an image use them at a time. (An execution environment of Lambda runs one invocation at a time
  anyway.)
- absolute symlinks are made relative, which means the same inside the image and is also correct from outside,
- USER cannot be honoured: everything runs as the runner's user (proot pretends otherwise),
- proot reports a program that was killed by a signal as exit code 255, and versions without `--kill-on-exit`
  may report the exit code of a process that the program left behind.

Limits: a program can escape deliberately (there is no security boundary between invocations of one function),
and static binaries, as well as images whose C library no fakechroot library supports, run under proot only.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from containers.engines.contract import SHARED, ContainerProcess, ContainerResult
from containers.engines.supervise import run_container
from containers.engines.udocker.orphans import no_orphans
from containers.engines.udocker.prepared_root import empty_writable_folders
from containers.engines.udocker.tools import tool_folders
from containers.engines.user import DEFAULT_PATH
from containers.paths import resolve_in_root

HOST_FOLDERS = ("/dev", "/proc", "/sys")
"""Paths of the host, because nothing can be mounted."""

_HELPER = "process_init"


def find_executable(process: ContainerProcess, name: str) -> Path | ContainerResult:
    """The program's file, or the result with the reason why it cannot be started."""
    found = _find_program(process, name)
    if found is None:
        return not_started(process, name, "no such file in the image", 127)
    if not os.access(found, os.X_OK) or not found.is_file():
        return not_started(process, name, "it is not executable for this user", 126)
    return found


def host_path(process: ContainerProcess, inside: str) -> Path | None:
    """The host path of the container's absolute path `inside`, None if it does not exist."""
    return bound_path(process, inside) or resolve_in_root(process.root.path.resolve(), inside)


def bound_path(process: ContainerProcess, inside: str) -> Path | None:
    """The same, for a path in one of the bound folders."""
    for host, mounted in process.all_binds.items():
        if inside == mounted or inside.startswith(f"{mounted}/"):
            return resolve_in_root(host.resolve(), inside[len(mounted) :])
    return None


def inside_path(process: ContainerProcess, found: Path) -> str:
    """The path of the program at `found` inside of the container."""
    root = process.root.path.resolve()
    return f"/{found.relative_to(root)}" if found.is_relative_to(root) else str(found)


def not_started(process: ContainerProcess, name: str, why: str, code: int) -> ContainerResult:
    """The result for a program that cannot be started, with the reason as output."""
    (process.on_error_output or process.on_output)(f"cannot start '{name}': {why}\n".encode())
    return ContainerResult(code, None, False, 0.0)


@contextlib.contextmanager
def writable_folders(process: ContainerProcess) -> Iterator[bool]:
    """The image's writable folders, empty and only for this run; False if its deadline passes before they are
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


def run_supervised(
    process: ContainerProcess, argv: list[str], env: Mapping[str, str], cwd: str, *, tracer: bool = False
) -> ContainerResult:
    """Run a command line of the host that leads into the container; `tracer` if it is proot's."""
    with no_orphans():
        ended = run_container(
            _HELPER, {"argv": argv, "env": dict(env), "cwd": cwd, "tracer": tracer}, process
        )
    shared = process.host_ports is not None
    return replace(ended, network=f"{SHARED}: only the engine namespaces separates it") if shared else ended


def where(subfolder: str) -> str:
    """The searched locations, for a message."""
    return "in " + ", ".join(str(folder / subfolder) for folder in tool_folders())


def _find_program(process: ContainerProcess, name: str) -> Path | None:
    if "/" in name:
        return host_path(process, name if name.startswith("/") else f"{process.working_dir or '/'}/{name}")
    path = process.env.get("PATH", DEFAULT_PATH)
    candidates = (host_path(process, f"{folder}/{name}") for folder in path.split(":") if folder)
    return next((found for found in candidates if found is not None and found.is_file()), None)
