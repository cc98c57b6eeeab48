"""System calls that Python's standard library does not have, by ctypes."""

from __future__ import annotations

import ctypes
import errno
import os

CLONE_NEWNS, CLONE_NEWUTS, CLONE_NEWIPC = 0x00020000, 0x04000000, 0x08000000
CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNET = 0x10000000, 0x20000000, 0x40000000
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REMOUNT = 1, 2, 4, 8, 32
MS_NOATIME, MS_NODIRATIME, MS_BIND, MS_REC = 1024, 2048, 4096, 16384
MS_PRIVATE, MS_RELATIME = 1 << 18, 1 << 21
ST_RELATIME = 4096
MNT_DETACH = 2
PTRACE_DETACH = 17
PR_SET_PDEATHSIG, PR_CAPBSET_DROP, PR_SET_CHILD_SUBREAPER, PR_SET_NO_NEW_PRIVS = 1, 24, 36, 38
CAPABILITY_VERSION_3 = 0x20080522
LAST_CAPABILITY = 63
PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}
KEYCTL = {"x86_64": 250, "aarch64": 219}
KEYCTL_JOIN_SESSION_KEYRING = 1
RESERVED_SIGNALS = (32, 33)  # of the C library, see signal(7)
SIGACTION = {"x86_64": 13, "aarch64": 134}

# Docker's default set without what a batch job does not need and untrusted code must not have: MKNOD
# (devices of the host), NET_RAW (forged packets), AUDIT_WRITE, SETFCAP, SYS_CHROOT. Numbers from
# linux/capability.h.
# CHOWN DAC_OVERRIDE FOWNER FSETID KILL SETGID SETUID SETPCAP NET_BIND_SERVICE
KEPT_CAPABILITIES = frozenset({0, 1, 3, 4, 5, 6, 7, 8, 10})

libc = ctypes.CDLL(None, use_errno=True)


class StepFailed(Exception):  # noqa: N818 - a finding: this kernel refuses a step
    """The container cannot be set up."""

    def __init__(self, step: str, text: str) -> None:
        super().__init__(text)
        self.step = step


def unshare(flags: int, what: str) -> None:
    """unshare(2), or StepFailed."""
    if libc.unshare(flags) != 0:
        raise StepFailed("namespace", f"{what} refused: {os.strerror(ctypes.get_errno())}")


def pivot_root() -> None:
    """Make the current folder the root; the old root is mounted over it."""
    if libc.syscall(PIVOT_ROOT[os.uname().machine], b".", b".") != 0:
        raise StepFailed("setup", f"pivot_root refused: {os.strerror(ctypes.get_errno())}")


def reset_signal(number: int) -> None:
    """Set a signal to its default, in any thread, including those that the C library protects."""
    # All zero is SIG_DFL with no flags, in the kernel's `struct sigaction` (32 bytes or fewer); a set has 8.
    libc.syscall(SIGACTION[os.uname().machine], number, bytes(32), None, 8)


def unmount(path: str) -> None:
    """Take a mount out of sight."""
    if libc.umount2(os.fsencode(path), MNT_DETACH) != 0:
        raise StepFailed("setup", f"unmounting {path} refused: {os.strerror(ctypes.get_errno())}")


def mount(
    source: str, target: str, kind: str | None, flags: int, data: str = "", *, step: str = "setup"
) -> None:
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


def map_one_user(uid: int, gid: int, outside: tuple[int, int]) -> None:
    """Map a user and a group to those of the caller, as the only ones of this user namespace, or OSError."""
    files = {"setgroups": "deny", "uid_map": f"{uid} {outside[0]} 1", "gid_map": f"{gid} {outside[1]} 1"}
    for name, text in files.items():
        descriptor = os.open(f"/proc/self/{name}", os.O_WRONLY)
        try:
            os.write(descriptor, text.encode())  # one write, as the kernel requires
        finally:
            os.close(descriptor)


def limit_capabilities(kept: frozenset[int] = KEPT_CAPABILITIES) -> None:
    """No program started from here on can gain more than the kept ones."""
    for number in range(LAST_CAPABILITY + 1):
        if number not in kept and libc.prctl(PR_CAPBSET_DROP, number, 0, 0, 0) != 0:
            if ctypes.get_errno() == errno.EINVAL:
                return  # past the last one that this kernel knows
            raise StepFailed("setup", "capabilities cannot be dropped")


def drop_capabilities(kept: frozenset[int] = KEPT_CAPABILITIES) -> None:
    """Drop all capabilities except for the kept ones that this process has."""
    header = (ctypes.c_uint32 * 2)(CAPABILITY_VERSION_3, 0)
    data = (ctypes.c_uint32 * 6)()
    call("capget", libc.capget(header, data))
    bits = sum(1 << number for number in kept)
    for word in (0, 1):
        effective, permitted, inheritable = range(3 * word, 3 * word + 3)
        mask = bits >> (32 * word) & 0xFFFFFFFF
        data[effective] &= mask
        data[permitted] &= mask
        data[inheritable] = 0
    call("capset", libc.capset(header, data))


def forbid_privileges() -> None:
    """From here on, no set-uid program or file capability gives this process more privileges."""
    call("no_new_privs", libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))


def leave_session_keyring() -> None:
    """Join a new, empty session keyring.

    Otherwise, the kernel also finds the keys of the developer's login (Kerberos tickets, keys of encrypted
    disks) through it on behalf of this process. A kernel that denies keyrings to this process, or does not
    support them, denies them to the container, too; and so does the container's filter.
    """
    libc.syscall(KEYCTL[os.uname().machine], KEYCTL_JOIN_SESSION_KEYRING, None)


def adopt_orphans() -> None:
    """Daemonized descendants become children of this process, instead of getting lost."""
    call("subreaper", libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0))


def die_with_parent(by_signal: int = 9) -> None:
    """Ask the kernel to send this process a signal when its parent dies."""
    libc.prctl(PR_SET_PDEATHSIG, by_signal, 0, 0, 0)


def call(what: str, result: int) -> None:
    """StepFailed for a system call that returned an error."""
    if result != 0:
        raise StepFailed("setup", f"{what} refused: {os.strerror(ctypes.get_errno())}")
