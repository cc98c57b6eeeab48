# ruff: noqa: PTH101, PTH102, PTH103, PTH108, PTH110, PTH112, PTH114, PTH116, PTH120, PTH123
# ruff: noqa: PTH211, S103, S108, SIM105, PLR0912
# pathlib and contextlib take longer to load than this program takes to run; /tmp is the container's.

"""The container's file system: the image, an empty layer, and a few files of the host.

Visible are only the folders in `binds`, six harmless devices, read-only /etc/hosts and /etc/resolv.conf, and
the read-only topology of processors and memory. After the pivot, all paths are resolved inside the image's
root, so that its symlinks cannot redirect a mount to a path of the host.
"""

from __future__ import annotations

import os
import stat

from containers.engines.helper.kernel import (
    CLONE_NEWNS,
    MS_BIND,
    MS_NODEV,
    MS_NOEXEC,
    MS_NOSUID,
    MS_PRIVATE,
    MS_RDONLY,
    MS_REC,
    StepFailed,
    mount,
    pivot_root,
    remount,
    remount_read_only,
    unmount,
    unshare,
)

TYPE_CHECKING = False  # as typing's, which takes 5 ms to load
if TYPE_CHECKING:
    from typing import Any

HANDLE = os.O_PATH | os.O_CLOEXEC
DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
# Root of the host is root for these files even without capabilities, as they ask for the user id only;
# writing to /proc/sys/kernel/core_pattern, for one, runs a program on the host. Docker hides the same.
PROC_READ_ONLY = ("sys", "sysrq-trigger", "irq", "bus", "fs")
PROC_HIDDEN = ("kcore", "keys", "timer_list", "latency_stats", "sched_debug", "acpi", "scsi", "asound")


def build_root(task: dict[str, Any]) -> None:
    """The container's file system, and into it."""
    unshare(CLONE_NEWNS, "mount namespace")
    mount("none", "/", None, MS_REC | MS_PRIVATE, step="namespace")
    sources = open_sources(task)
    root = task["root"]
    merged = f"{task['scratch']}/merged"
    os.mkdir(merged, 0o755)
    if task["overlay"] == "none":
        mount(root, merged, None, MS_BIND, step="overlay")
        remount_read_only(merged, MS_NOSUID | MS_NODEV)
    else:
        mount_overlay(task, root, merged)
    old_root = os.open("/", os.O_RDONLY | os.O_DIRECTORY)
    os.chdir(merged)
    pivot_root()
    # "/" is the image from here on; the old root is mounted over it, out of sight, until the binds are
    # made.
    writable = task["overlay"] != "none"
    mount_system(task, sources, writable)
    for path, descriptor, read_only in sources["binds"]:
        make_mount_point(path, os.fstat(descriptor))
        # Mounts below a folder would stay writable when the folder becomes read-only.
        mount(f"/proc/self/fd/{descriptor}", path, None, MS_BIND | (0 if read_only else MS_REC))
        remount(path, MS_NOSUID | MS_NODEV | (MS_RDONLY if read_only else 0))
    make_folder(task["cwd"], task)
    if not task["user_namespace"] or task["user"]["outside"][0] == 0:
        hide_proc()
    os.fchdir(old_root)
    mount("none", ".", None, MS_REC | MS_PRIVATE)
    unmount(".")
    os.chdir("/")
    # only now: as with Docker, the mount points of the container are created first
    if task["read_only_root"]:
        remount_read_only("/", MS_NOSUID | MS_NODEV)


def open_sources(task: dict[str, Any]) -> dict[str, Any]:
    """Handles on everything of the host that will be mounted; after the pivot its paths are out of reach."""
    files = {"/etc/hosts": "/etc/hosts", "/etc/resolv.conf": task["resolv_conf"]}
    return {
        "binds": [(inside, os.open(host, HANDLE), read_only) for host, inside, read_only in task["binds"]],
        "devices": open_those_there({name: f"/dev/{name}" for name in DEVICES}),
        "files": open_those_there(files),
        "topology": open_those_there({"": "/sys/devices/system"}).get(""),
    }


def open_those_there(paths: dict[str, str]) -> dict[str, int]:
    """Handles on those of the paths that can be opened."""
    handles = {}
    for name, path in paths.items():
        try:
            handles[name] = os.open(path, HANDLE)
        except OSError:
            pass
    return handles


def mount_overlay(task: dict[str, Any], root: str, merged: str) -> None:
    """The image below, an empty layer above: everything that the run writes is deleted with it."""
    upper_base = task["scratch"]
    if task["overlay"] == "tmpfs":
        upper_base = f"{task['scratch']}/memory"
        os.mkdir(upper_base)
        mount("tmpfs", upper_base, "tmpfs", MS_NOSUID | MS_NODEV, "mode=755", step="overlay")
    upper, work = f"{upper_base}/upper", f"{upper_base}/work"
    like = os.stat(root)
    os.mkdir(upper)
    os.chmod(upper, stat.S_IMODE(like.st_mode))
    if not task["user_namespace"]:
        os.chown(upper, like.st_uid, like.st_gid)
    os.mkdir(work)
    options = f"lowerdir={escape(root)},upperdir={escape(upper)},workdir={escape(work)}"
    if task["user_namespace"]:
        options += ",userxattr"  # trusted.* attributes are not for those without privileges
    mount("overlay", merged, "overlay", MS_NOSUID | MS_NODEV, options, step="overlay")


def mount_system(task: dict[str, Any], sources: dict[str, Any], writable: bool) -> None:
    """/proc, /dev, /sys, /tmp, and the two files that the network needs."""
    if not writable:
        for path, options in task["memory"].items():
            if os.path.isdir(path):
                mount("tmpfs", path, "tmpfs", MS_NOSUID | MS_NODEV, options)
    elif not os.path.isdir("/tmp"):
        make_folder("/tmp", task)
        os.chmod("/tmp", 0o1777)
    if writable:
        for path in ("/proc", "/dev", "/sys"):
            make_folder(path, task)
    mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC)
    mount("tmpfs", "/dev", "tmpfs", MS_NOSUID | MS_NOEXEC, "mode=755,size=1m")
    for name, descriptor in sources["devices"].items():
        os.close(os.open(f"/dev/{name}", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
        mount(f"/proc/self/fd/{descriptor}", f"/dev/{name}", None, MS_BIND)
    for name, target in (("fd", "fd"), ("stdin", "fd/0"), ("stdout", "fd/1"), ("stderr", "fd/2")):
        os.symlink(f"/proc/self/{target}", f"/dev/{name}")
    if not task["like_lambda"]:  # if there is no /dev/shm
        os.mkdir("/dev/shm")
        mount("tmpfs", "/dev/shm", "tmpfs", MS_NOSUID | MS_NODEV, "mode=1777")
    os.mkdir("/dev/pts")
    try:
        mount("devpts", "/dev/pts", "devpts", MS_NOSUID | MS_NOEXEC, "newinstance,ptmxmode=0666,mode=620")
        os.symlink("pts/ptmx", "/dev/ptmx")
    except StepFailed:
        pass  # no terminals then: a batch job has none anyway
    if task["like_lambda"]:
        remount_read_only("/dev", MS_NOSUID | MS_NOEXEC)
    for path, descriptor in sources["files"].items():
        try:
            if writable:
                fresh_file(path)
            mount(f"/proc/self/fd/{descriptor}", path, None, MS_BIND)
            remount_read_only(path, MS_NOSUID | MS_NODEV | MS_NOEXEC)
        except (StepFailed, OSError):
            if os.path.ismount(path):  # must not stay there writable
                unmount(path)
    if sources["topology"] is not None:
        show_topology(sources["topology"])


def show_topology(descriptor: int) -> None:
    """/sys with the processors and memory nodes only: numerical libraries look there for how many there
    are."""
    try:
        mount("tmpfs", "/sys", "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=755,size=64k")
        os.makedirs("/sys/devices/system")
        mount(f"/proc/self/fd/{descriptor}", "/sys/devices/system", None, MS_BIND)
        remount_read_only("/sys/devices/system", MS_NOSUID | MS_NODEV | MS_NOEXEC)
    except (StepFailed, OSError):
        if os.path.ismount("/sys/devices/system"):  # must not stay there writable
            unmount("/sys/devices/system")


def hide_proc() -> None:
    """Keep who is root of the host, also in a user namespace, away from the kernel's switches in /proc."""
    for name in PROC_READ_ONLY:
        path = f"/proc/{name}"
        if os.path.exists(path):
            mount(path, path, None, MS_BIND | MS_REC)
            remount_read_only(path, MS_NOSUID | MS_NODEV | MS_NOEXEC)
    for name in PROC_HIDDEN:
        path = f"/proc/{name}"
        if os.path.isdir(path):
            mount("tmpfs", path, "tmpfs", MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC, "size=0")
        elif os.path.exists(path):
            mount("/dev/null", path, None, MS_BIND)


def probe_root() -> None:
    """The last steps that can fail before the program is started."""
    os.mkdir("/tmp/probe")
    os.stat("/proc/self/status")
    with open("/dev/null", "wb") as null:
        null.write(b"x")


def make_mount_point(path: str, like: os.stat_result) -> None:
    """A folder or file at `path` to mount on."""
    try:
        if stat.S_ISDIR(like.st_mode):
            os.makedirs(path, 0o755, exist_ok=True)
        elif not os.path.exists(path):
            os.makedirs(os.path.dirname(path), 0o755, exist_ok=True)
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT, 0o644))
    except OSError as error:
        raise StepFailed("setup", f"{path} cannot be created in the image: {error.strerror}") from error


def make_folder(path: str, task: dict[str, Any]) -> None:
    """The folder `path`, made if it is missing (WORKDIR need not exist)."""
    try:
        os.makedirs(path, 0o755, exist_ok=True)
    except FileExistsError:
        pass  # chdir will report that it is not a folder
    except OSError as error:
        if task["overlay"] != "none":
            raise StepFailed(
                "setup", f"the folder {path} cannot be created in the image: {error.strerror}"
            ) from error


def fresh_file(path: str) -> None:
    """An empty file at `path`, replacing what the image has there (often a dangling symlink)."""
    os.makedirs(os.path.dirname(path), 0o755, exist_ok=True)
    if os.path.islink(path):
        os.unlink(path)
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT, 0o644))


def escape(path: str) -> str:
    """A path in overlayfs' options."""
    return path.replace("\\", "\\\\").replace(",", "\\,").replace(":", "\\:")
