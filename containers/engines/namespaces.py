"""The namespaces engine: the kernel's own containers, set up in pure Python.

Modes, determined by trying: as root with or without a user namespace, without privileges always with one; the
run's writable layer on disk (overlayfs), in memory (overlayfs over tmpfs, if the disk's file system does not
support an upper layer), or, if overlayfs is denied, the image read-only with empty /tmp, /var/tmp and /run.

Without privileges, the container has only one user, the image's USER, which is this process' own user
outside.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from containers.engines.contract import ContainerProcess, ContainerResult, ProbeFailed, check_process
from containers.engines.helper_process import Preparation
from containers.engines.memory import forget_engine
from containers.engines.network.outgoing import find_outgoing, resolver
from containers.engines.scratch import scratch_folder
from containers.engines.supervise import run_container, supervise
from containers.engines.user import (
    ContainerUser,
    complete_environment,
    look_up_user,
    permissions_allow,
    this_user_may_write,
)
from containers.errors import ExplainedError

_HELPER = "container_init"
_RESOLV_CONF = "/etc/resolv.conf"
_OVERLAYS = ("disk", "tmpfs", "none")
_MEMORY = dict.fromkeys(("/tmp", "/var/tmp", "/run"), "mode=1777")  # noqa: S108 - the container's
"""File systems in memory, and their options, if the image is read-only."""
_TASK: Mapping[str, object] = {
    "probe": False,
    "memory": _MEMORY,
    "like_lambda": False,
    "read_only_root": False,
    "binds": [],
    "resolv_conf": _RESOLV_CONF,
    "cwd": "/",
}
"""The default task of the helper (see `container_init.py`)."""


class NamespacesEngine:
    """Runs containers in the mode that `probe_namespaces` found."""

    name = "namespaces"

    def __init__(self, store: Path, details: Mapping[str, str]) -> None:
        self._store = store
        self._user_namespace = details["user_namespace"] == "yes"
        self._overlay = details["overlay"]

    def run(self, process: ContainerProcess) -> ContainerResult:
        """Run to the end; see Engine."""
        check_process(process)
        user = look_up_user(process.root.path, process.user)
        if os.geteuid() == 0 and not self._user_namespace and user.uid != 0:
            for host in process.binds:
                _give(host, user)
        overlay, memory = self._overlay, _MEMORY
        if process.lambda_tmp_mib is not None:
            overlay, memory = "none", {"/tmp": f"mode=1777,size={process.lambda_tmp_mib}m"}  # noqa: S108
        elif process.read_only_root:
            memory = {}
        preparation = Preparation(self._user_namespace)
        if process.host_ports is not None:
            host_ports = tuple(dict.fromkeys(process.host_ports))
            preparation = Preparation(self._user_namespace, host_ports, find_outgoing(), process.on_network)
        with scratch_folder(self._store) as scratch:
            task = {
                **_TASK,
                "user_namespace": self._user_namespace,
                "overlay": overlay,
                "memory": memory,
                "like_lambda": process.lambda_tmp_mib is not None,
                "read_only_root": process.read_only_root,
                "root": str(process.root.path.absolute()),
                "scratch": str(scratch.absolute()),
                "binds": [
                    [str(host.absolute()), inside, host in process.read_only]
                    for host, inside in process.all_binds.items()
                ],
                "resolv_conf": _resolv_conf(scratch, preparation.outgoing),
                "argv": list(process.argv),
                "env": complete_environment(process, user, lambda folder: self._may_write(folder, user)),
                "cwd": process.working_dir or "/",
                "user": _user(user),
            }
            try:
                return run_container(_HELPER, task, process, preparation)
            except ExplainedError:
                forget_engine(self._store)
                raise

    def _may_write(self, folder: Path, user: ContainerUser) -> bool:
        """Whether the container can make files in a folder of the image."""
        if self._overlay == "none":
            return False
        if self._user_namespace:  # in which root owns only its own files
            return this_user_may_write(folder)
        return user.uid == 0 or permissions_allow(folder, user.uid, (user.gid, *user.groups))


def probe_namespaces(store: Path) -> Mapping[str, str]:
    """The best mode that works here, tried with an empty image. Raises ProbeFailed."""
    reasons: list[str] = []
    refused: set[bool] = set()
    for user_namespace, overlay in _modes():
        if user_namespace in refused:
            continue  # if namespaces themselves are denied, the file system makes no difference
        with scratch_folder(store) as scratch:
            root = scratch / "image"
            for name in ("proc", "dev", "sys", "etc", "tmp", "run", "var/tmp"):
                (root / name).mkdir(parents=True)
            (root / "tmp").chmod(0o1777)
            work = scratch / "work-area"
            work.mkdir()
            task = {
                **_TASK,
                "probe": True,
                "user_namespace": user_namespace,
                "overlay": overlay,
                "root": str(root.absolute()),
                "scratch": str(work.absolute()),
                "user": _user(ContainerUser(0, 0, (), "/")),
            }
            report = supervise(
                _HELPER,
                task,
                deadline=None,
                on_output=lambda _: None,
                preparation=Preparation(user_namespace),
            )
        if report.exit_code == 0:
            return {"user_namespace": "yes" if user_namespace else "no", "overlay": overlay}
        reasons.append(report.failed or f"the helper ended by signal {report.signal}")
        if report.step == "namespace":
            refused.add(user_namespace)
    raise ProbeFailed(", ".join(dict.fromkeys(reasons)))


def _modes() -> Iterator[tuple[bool, str]]:
    """Modes from best to worst."""
    for user_namespace in (False, True) if os.geteuid() == 0 else (True,):
        for overlay in _OVERLAYS:
            yield user_namespace, overlay


def _user(user: ContainerUser) -> Mapping[str, object]:
    """The user in the helper's format; `outside` is this process's."""
    outside = [os.geteuid(), os.getegid()]
    return {"uid": user.uid, "gid": user.gid, "groups": list(user.groups), "outside": outside}


def _resolv_conf(scratch: Path, outgoing: str | None) -> str:
    """The path of the file that the container sees as /etc/resolv.conf."""
    if outgoing is None:
        return _RESOLV_CONF
    path = scratch.absolute() / "resolv.conf"
    path.write_text(resolver(outgoing))
    path.chmod(0o644)
    return str(path)


def _give(path: Path, user: ContainerUser) -> None:
    """Let the image's user write to the invocation's folder, which root has made."""
    os.chown(path, user.uid, user.gid, follow_symlinks=False)
    for folder, names, files in os.walk(path):
        for name in (*names, *files):
            os.chown(Path(folder) / name, user.uid, user.gid, follow_symlinks=False)
