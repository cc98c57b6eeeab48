"""The proot engine: ptrace rewrites the paths of system calls; slower, but right for any kind of binary."""

from __future__ import annotations

import platform
import subprocess
from collections.abc import Mapping
from pathlib import Path

from containers.engines.contract import ContainerProcess, ContainerResult, ProbeFailed, check_process
from containers.engines.scratch import scratch_folder
from containers.engines.udocker.engine import (
    HOST_FOLDERS,
    bound_path,
    find_executable,
    run_supervised,
    where,
    writable_folders,
)
from containers.engines.udocker.prepared_root import make_folder, prepare_root
from containers.engines.udocker.tools import find_proot
from containers.engines.user import complete_environment, look_up_user, this_user_may_write
from containers.paths import resolve_in_root


class ProotEngine:
    """Runs containers under ptrace: slower, but any kind of binary."""

    name = "proot"

    def __init__(self, store: Path, details: Mapping[str, str]) -> None:
        self._store = store
        self._proot = details["proot"]
        self._options = details.get("options", "").split()

    def run(self, process: ContainerProcess) -> ContainerResult:
        """Run to the end; see Engine."""
        check_process(process)
        root = process.root.path.resolve()
        prepare_root(root)
        found = find_executable(process, process.argv[0])
        if isinstance(found, ContainerResult):
            return found
        user = look_up_user(root, process.user)
        with scratch_folder(self._store) as scratch, writable_folders(process) as in_time:
            if not in_time:
                return ContainerResult(None, None, True, 0.0)
            cwd = process.working_dir or "/"
            if resolve_in_root(root, cwd) is None and bound_path(process, cwd) is None:
                make_folder(root, cwd)
            binds = [
                f"{name}:{name}"
                for name in (*HOST_FOLDERS, "/etc/resolv.conf", "/etc/hosts")
                if Path(name).exists()
            ]
            binds += [f"{host}:{inside}" for host, inside in process.all_binds.items()]
            argv = [
                self._proot,
                *self._options,
                "-r",
                str(root),
                *(word for bind in binds for word in ("-b", bind)),
                # Not for root: proot's imitation of root makes read-only files writable behind our back.
                *(("-i", f"{user.uid}:{user.gid}") if user.uid else ()),
                "-w",
                cwd,
                *process.argv,
            ]
            env = complete_environment(process, user, this_user_may_write) | {"PROOT_TMP_DIR": str(scratch)}
            return run_supervised(process, argv, env, "/", tracer=True)


def probe_proot(_store: Path) -> Mapping[str, str]:
    """A proot that may trace here. Raises ProbeFailed."""
    proot = find_proot()
    if proot is None:
        raise ProbeFailed(f"no proot-{platform.machine()} {where('bin')}")
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
    listed = subprocess.run(
        [str(proot), "--help"], stdin=subprocess.DEVNULL, capture_output=True, check=False
    )
    # Without it, proot ends with the last process that it traces, and has that one's exit code.
    options = "--kill-on-exit" if b"--kill-on-exit" in listed.stdout else ""
    return {"proot": str(proot), "options": options}
