"""The helper of the namespaces engine: makes a container out of nothing but system calls, and watches over it.

Run as `python -I -S container_init.py TASK_FD REPORT_FD` (see supervise.py); imports only what starts fast. Three
processes:

    keeper   leaves for new user, PID, IPC and UTS namespaces; waits; passes signals on; dies with the caller
    init     PID 1 inside: mounts, pivots into the image, reaps. Its end is the end of every process in the namespace,
             however it was daemonized, because the kernel sees to that. Dies with the keeper
    program  the user's: without privileges that lead out, in the image's own world

What is shown to the image of the host, and nothing else: the folders in `binds`, six harmless devices, the read-only
/etc/hosts and /etc/resolv.conf, the read-only topology of processors and memory. All paths that are looked up after
the pivot are looked up inside the image's root, so that its symlinks cannot lead a mount to a place of the host.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import select
import signal
import stat
import sys
from typing import Any

CLONE_NEWNS, CLONE_NEWUTS, CLONE_NEWIPC = 0x00020000, 0x04000000, 0x08000000
CLONE_NEWUSER, CLONE_NEWPID = 0x10000000, 0x20000000
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REMOUNT = 1, 2, 4, 8, 32
MS_NOATIME, MS_NODIRATIME, MS_BIND, MS_REC, MS_PRIVATE, MS_RELATIME = 1024, 2048, 4096, 16384, 1 << 18, 1 << 21
ST_RELATIME = 4096
MNT_DETACH = 2
PR_SET_PDEATHSIG, PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS = 1, 24, 38
CAPABILITY_VERSION_3 = 0x20080522
LAST_CAPABILITY = 63

# Docker's default set without what a batch job does not need and a stranger should not have: MKNOD (devices of the
# host), NET_RAW (forged packets), AUDIT_WRITE, SETFCAP, SYS_CHROOT. Numbers from linux/capability.h.
# CHOWN DAC_OVERRIDE FOWNER FSETID KILL SETGID SETUID SETPCAP NET_BIND_SERVICE
KEPT_CAPABILITIES = frozenset({0, 1, 3, 4, 5, 6, 7, 8, 10})

DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
# Root of the host is root for these files even without capabilities, as they ask for the user id only; writing to
# /proc/sys/kernel/core_pattern, for one, runs a program on the host. Docker hides the same.
PROC_READ_ONLY = ("sys", "sysrq-trigger", "irq", "bus", "fs")
PROC_HIDDEN = ("kcore", "keys", "timer_list", "latency_stats", "sched_debug", "acpi", "scsi", "asound")

libc = ctypes.CDLL(None, use_errno=True)


class StepFailed(Exception):
    """The container cannot be set up."""

    def __init__(self, step: str, text: str) -> None:
        super().__init__(text)
        self.step = step


def main() -> int:
    """The keeper."""
    task_fd, report_fd = int(sys.argv[1]), int(sys.argv[2])
    with os.fdopen(task_fd, "rb") as file:
        task = json.loads(file.read())
    os.set_inheritable(report_fd, False)
    die_with_parent()
    if os.getppid() != task["parent"]:
        return 0  # the caller died before we asked to be told
    try:
        enter_namespaces(task)
        alive_read, alive_write = os.pipe()
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGUSR1})
        init = os.fork()
    except (StepFailed, OSError) as error:
        report(report_fd, {"failed": str(error), "step": getattr(error, "step", "namespace")})
        return 125
    if init == 0:
        os.close(alive_write)
        die_with_parent()
        if select.select([alive_read], [], [], 0)[0]:
            os._exit(125)  # the keeper is dead already
        os._exit(run_init(task, report_fd))
    os.close(alive_read)
    signal.signal(signal.SIGTERM, lambda *_: os.kill(init, signal.SIGTERM))
    signal.signal(signal.SIGUSR1, lambda *_: os.kill(init, signal.SIGKILL))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM, signal.SIGUSR1})
    _, status = os.waitpid(init, 0)
    if os.WIFSIGNALED(status):
        report(report_fd, {"signal": os.WTERMSIG(status)})
    return 0


def run_init(task: dict[str, Any], report_fd: int) -> int:
    """PID 1 of the container."""
    try:
        os.setsid()
        build_root(task)
        close_from(3, keep=report_fd)
        if task["probe"]:
            probe_root()
            report(report_fd, {"exit": 0})
            return 0
        limit_capabilities()
        program = os.fork()
    except (StepFailed, OSError) as error:
        report(report_fd, {"failed": str(error), "step": getattr(error, "step", "setup")})
        return 125
    if program == 0:
        os._exit(run_program(task, report_fd))
    drop_capabilities()
    signal.signal(signal.SIGTERM, lambda *_: terminate_all())
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM, signal.SIGUSR1})
    while True:
        pid, status = os.wait()  # orphans of the container come here to be reaped
        if pid == program:
            break
    if os.WIFSIGNALED(status):
        report(report_fd, {"signal": os.WTERMSIG(status)})
    else:
        report(report_fd, {"exit": os.WEXITSTATUS(status)})
    return 0


def run_program(task: dict[str, Any], report_fd: int) -> int:
    """Become the user's program; returns only if that fails."""
    try:
        os.setsid()
        for number in range(1, signal.NSIG):
            if number not in (signal.SIGKILL, signal.SIGSTOP):
                try:
                    signal.signal(number, signal.SIG_DFL)
                except (OSError, ValueError):
                    pass  # reserved by the C library
        signal.pthread_sigmask(signal.SIG_SETMASK, set())
        os.umask(0o022)
        user = task["user"]
        if not task["user_namespace"]:
            os.setgroups(user["groups"])
            os.setresgid(user["gid"], user["gid"], user["gid"])
            os.setresuid(user["uid"], user["uid"], user["uid"])
        drop_capabilities()
        call("no_new_privs", libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
        try:
            os.chdir(task["cwd"])
        except OSError as error:
            return not_started(report_fd, task["cwd"], error, 126)
    except (StepFailed, OSError) as error:
        report(report_fd, {"failed": str(error), "step": "setup"})
        return 125
    return execute(task["argv"], task["env"], report_fd)


def execute(argv: list[str], env: dict[str, str], report_fd: int) -> int:
    """exec, with Docker's exit codes: 127 if there is no such program, 126 if it cannot be executed."""
    name = argv[0]
    places = [name] if "/" in name else [f"{folder or '.'}/{name}" for folder in env.get("PATH", "").split(":")]
    problem = OSError(errno.ENOENT, "not found")
    for path in places:
        try:
            os.execve(path, argv, env)
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ENOTDIR) or os.path.exists(path):
                problem = error
                name = path
                break
    return not_started(report_fd, name, problem, 127 if problem.errno == errno.ENOENT else 126)


def not_started(report_fd: int, path: str, error: OSError, code: int) -> int:
    """Say why the program does not run."""
    if error.errno == errno.ENOENT:
        exists = "/" in path and os.path.exists(path)
        why = "the interpreter or dynamic linker that it asks for is missing" if exists else "no such file in the image"
    elif error.errno == errno.EACCES:
        why = "it is not executable for this user"
    elif error.errno == errno.ENOEXEC:
        why = "its format is wrong: another architecture, or a script without a #! line"
    else:
        why = error.strerror or "unknown error"
    report(report_fd, {"not_started": f"cannot start '{path}': {why}", "exit": code})
    return code


# -- namespaces and file systems ---------------------------------------------------------------------------------------


def enter_namespaces(task: dict[str, Any]) -> None:
    """Leave for new namespaces; without privileges by way of a user namespace that knows one user: us."""
    flags = CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWUTS
    uid, gid = os.geteuid(), os.getegid()
    if task["user_namespace"]:
        flags |= CLONE_NEWUSER
    if libc.unshare(flags) != 0:
        raise StepFailed("namespace", f"namespaces refused: {os.strerror(ctypes.get_errno())}")
    if task["user_namespace"]:
        try:
            write("/proc/self/setgroups", "deny")
            write("/proc/self/uid_map", f"{task['user']['uid']} {uid} 1")
            write("/proc/self/gid_map", f"{task['user']['gid']} {gid} 1")
        except OSError as error:
            raise StepFailed("namespace", f"mapping users refused: {error.strerror}") from error
    die_with_parent()  # changing credentials may have reset it


def build_root(task: dict[str, Any]) -> None:
    """The container's file system, and into it."""
    if libc.unshare(CLONE_NEWNS) != 0:
        raise StepFailed("namespace", f"mount namespace refused: {os.strerror(ctypes.get_errno())}")
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
    if libc.syscall(PIVOT_ROOT[os.uname().machine], b".", b".") != 0:
        raise StepFailed("setup", f"pivot_root refused: {os.strerror(ctypes.get_errno())}")
    # "/" is the image from here on; the old root lies mounted over it, out of sight, until the binds are made.
    writable = task["overlay"] != "none"
    mount_system(task, sources, writable)
    for path, descriptor in sources["binds"]:
        make_mount_point(path, os.fstat(descriptor))
        mount(f"/proc/self/fd/{descriptor}", path, None, MS_BIND | MS_REC)
        remount(path, MS_NOSUID | MS_NODEV)
    make_folder(task["cwd"], task)
    if not task["user_namespace"]:
        hide_proc()
    os.fchdir(old_root)
    mount("none", ".", None, MS_REC | MS_PRIVATE)
    if libc.umount2(b".", MNT_DETACH) != 0:
        raise StepFailed("setup", f"the host's root cannot be left: {os.strerror(ctypes.get_errno())}")
    os.chdir("/")


def open_sources(task: dict[str, Any]) -> dict[str, Any]:
    """Handles on everything of the host that will be mounted; after the pivot its paths are out of reach."""
    handle = os.O_PATH | os.O_CLOEXEC
    sources: dict[str, Any] = {"binds": [], "devices": {}, "files": {}, "topology": None}
    for host, inside in task["binds"]:
        sources["binds"].append((inside, os.open(host, handle)))
    for name in DEVICES:
        try:
            sources["devices"][name] = os.open(f"/dev/{name}", handle)
        except OSError:
            pass
    for name in ("/etc/hosts", "/etc/resolv.conf"):
        try:
            sources["files"][name] = os.open(name, handle)
        except OSError:
            pass
    try:
        sources["topology"] = os.open("/sys/devices/system", handle)
    except OSError:
        pass
    return sources


def mount_overlay(task: dict[str, Any], root: str, merged: str) -> None:
    """The image below, a fresh layer above: whatever the run writes goes with it."""
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
        for path in ("/tmp", "/var/tmp", "/run"):
            if os.path.isdir(path):
                mount("tmpfs", path, "tmpfs", MS_NOSUID | MS_NODEV, "mode=1777")
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
    os.mkdir("/dev/shm")
    mount("tmpfs", "/dev/shm", "tmpfs", MS_NOSUID | MS_NODEV, "mode=1777")
    os.mkdir("/dev/pts")
    try:
        mount("devpts", "/dev/pts", "devpts", MS_NOSUID | MS_NOEXEC, "newinstance,ptmxmode=0666,mode=620")
        os.symlink("pts/ptmx", "/dev/ptmx")
    except StepFailed:
        pass  # no terminals then: a batch job has none anyway
    for path, descriptor in sources["files"].items():
        try:
            if writable:
                fresh_file(path)
            mount(f"/proc/self/fd/{descriptor}", path, None, MS_BIND)
            remount_read_only(path, MS_NOSUID | MS_NODEV | MS_NOEXEC)
        except (StepFailed, OSError):
            if os.path.ismount(path):  # must not stay there writable
                libc.umount2(path.encode(), MNT_DETACH)
    if sources["topology"] is not None:
        show_topology(sources["topology"])


def show_topology(descriptor: int) -> None:
    """/sys with the processors and memory nodes only: numerical libraries look there for how many there are."""
    try:
        mount("tmpfs", "/sys", "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=755,size=64k")
        os.makedirs("/sys/devices/system")
        mount(f"/proc/self/fd/{descriptor}", "/sys/devices/system", None, MS_BIND)
        remount_read_only("/sys/devices/system", MS_NOSUID | MS_NODEV | MS_NOEXEC)
    except (StepFailed, OSError):
        libc.umount2(b"/sys/devices/system", MNT_DETACH)


def hide_proc() -> None:
    """Keep root without a user namespace away from the kernel's switches in /proc."""
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
    """The last things that can go wrong before there is a program to run."""
    os.mkdir("/tmp/probe")
    os.stat("/proc/self/status")
    with open("/dev/null", "wb") as null:
        null.write(b"x")


def mount(source: str, target: str, kind: str | None, flags: int, data: str = "", *, step: str = "setup") -> None:
    """mount(2), or StepFailed."""
    encoded = [None if text is None else os.fsencode(text) for text in (source, target, kind, data or None)]
    if libc.mount(encoded[0], encoded[1], encoded[2], ctypes.c_ulong(flags), encoded[3]) != 0:
        problem = os.strerror(ctypes.get_errno())
        raise StepFailed(step, f"mounting {kind or 'a folder'} at {target} refused: {problem}")


def remount(path: str, flags: int) -> None:
    """Change a bind mount's flags. In a user namespace those that are set already must stay."""
    present = os.statvfs(path).f_flag
    kept = present & (MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_NOATIME | MS_NODIRATIME)
    kept |= MS_RELATIME if present & ST_RELATIME else 0
    mount("none", path, None, MS_REMOUNT | MS_BIND | kept | flags)


def remount_read_only(path: str, flags: int) -> None:
    """Make a bind mount read-only."""
    remount(path, flags | MS_RDONLY)


def make_mount_point(path: str, like: os.stat_result) -> None:
    """A folder or file at `path` to mount on."""
    try:
        if stat.S_ISDIR(like.st_mode):
            os.makedirs(path, 0o755, exist_ok=True)
        elif not os.path.exists(path):
            os.makedirs(os.path.dirname(path), 0o755, exist_ok=True)
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT, 0o644))
    except OSError as error:
        raise StepFailed("setup", f"no place for {path} in the image: {error.strerror}") from error


def make_folder(path: str, task: dict[str, Any]) -> None:
    """The folder `path`, made if it is missing (WORKDIR need not exist)."""
    try:
        os.makedirs(path, 0o755, exist_ok=True)
    except FileExistsError:
        pass  # chdir will say that it is no folder
    except OSError as error:
        if task["overlay"] != "none":
            raise StepFailed("setup", f"the folder {path} cannot be made in the image: {error.strerror}") from error


def fresh_file(path: str) -> None:
    """An empty file at `path` in place of whatever the image has there (often a dangling symlink)."""
    os.makedirs(os.path.dirname(path), 0o755, exist_ok=True)
    if os.path.islink(path):
        os.unlink(path)
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT, 0o644))


def escape(path: str) -> str:
    """A path in overlayfs' options."""
    return path.replace("\\", "\\\\").replace(",", "\\,").replace(":", "\\:")


# -- privileges, processes ---------------------------------------------------------------------------------------------


def limit_capabilities() -> None:
    """No program started from here on can gain more than the kept ones."""
    for number in range(LAST_CAPABILITY + 1):
        if number not in KEPT_CAPABILITIES and libc.prctl(PR_CAPBSET_DROP, number, 0, 0, 0) != 0:
            if ctypes.get_errno() == errno.EINVAL:
                return  # past the last one that this kernel knows
            raise StepFailed("setup", "capabilities cannot be dropped")


def drop_capabilities() -> None:
    """Give up all capabilities but the kept ones, those that we have of them."""
    header = (ctypes.c_uint32 * 2)(CAPABILITY_VERSION_3, 0)
    data = (ctypes.c_uint32 * 6)()
    call("capget", libc.capget(header, data))
    for word in range(2):
        mask = sum(1 << (number - 32 * word) for number in KEPT_CAPABILITIES if 0 <= number - 32 * word < 32)
        for kind in range(3):  # effective, permitted, inheritable
            data[3 * word + kind] &= mask if kind < 2 else 0
    call("capset", libc.capset(header, data))


def die_with_parent() -> None:
    """Ask the kernel to kill this process when its parent dies."""
    libc.prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)


def terminate_all() -> None:
    """SIGTERM to every other process of the namespace."""
    try:
        os.kill(-1, signal.SIGTERM)
    except ProcessLookupError:
        pass


def close_from(lowest: int, keep: int) -> None:
    """Close what is open, so that the program inherits nothing of the host."""
    for name in os.listdir("/proc/self/fd"):
        if int(name) >= lowest and int(name) != keep:
            try:
                os.close(int(name))
            except OSError:
                pass


def call(what: str, result: int) -> None:
    """StepFailed for a system call that returned an error."""
    if result != 0:
        raise StepFailed("setup", f"{what} refused: {os.strerror(ctypes.get_errno())}")


def write(path: str, text: str) -> None:
    """One write, as the kernel's files want it."""
    descriptor = os.open(path, os.O_WRONLY)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)


def report(descriptor: int, fields: dict[str, object]) -> None:
    """One line to the caller; the first one counts."""
    try:
        os.write(descriptor, json.dumps(fields).encode() + b"\n")
    except OSError:
        pass


PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}

if __name__ == "__main__":
    code = main()
    os._exit(code)
