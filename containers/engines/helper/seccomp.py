"""A filter for system calls, assembled without libseccomp.

The model is the default profile of Docker (github.com/moby/profiles, `seccomp/default.json` of June 2026) for
a container without special capabilities. That profile lists what is allowed. This module lists the
complement, which is a quarter as long, and treats numbers that are newer than the profile as unknown. The
result is the same: everything that the profile does not allow is denied.

`confine` works on any single-threaded process, and needs no privileges if the process has given up gaining
them (`kernel.forbid_privileges`). The filter cannot be removed, and is inherited by all children.
"""

from __future__ import annotations

import ctypes
import errno
import os

from containers.engines.helper.kernel import call, libc

PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 22, 2

# name: number on x86_64, number on aarch64 (0: the architecture does not have it). From the kernel's
# arch/x86/entry/syscalls/syscall_64.tbl and include/uapi/asm-generic/unistd.h.
REFUSED = {
    # Keys of the developer's session, of the same user's other runs, and of the kernel.
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
    # Mounts and namespaces. A user namespace of its own makes a process root for large parts of the kernel
    # that are otherwise out of reach: most of the kernel's privilege escalations begin there.
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "fsopen": (430, 430),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fspick": (433, 433),
    "open_tree": (428, 428),
    "move_mount": (429, 429),
    "mount_setattr": (442, 442),
    "unshare": (272, 97),
    "setns": (308, 268),
    # Files by handle, which bypasses the container's root.
    "open_by_handle_at": (304, 265),
    # Programs that run in the kernel, and its large and often broken interfaces.
    "bpf": (321, 280),
    "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "fanotify_init": (300, 262),
    "kexec_load": (246, 104),
    "kexec_file_load": (320, 294),
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "delete_module": (176, 106),
    "create_module": (174, 0),
    "query_module": (178, 0),
    "get_kernel_syms": (177, 0),
    "lsm_get_self_attr": (459, 459),
    "lsm_set_self_attr": (460, 460),
    "lsm_list_modules": (461, 461),
    # Other processes. `ptrace` and `process_vm_readv` are allowed, as in the model: the PID namespace holds
    # none but the container's own, and since Linux 4.8 a tracer cannot get round the filter.
    "kcmp": (312, 272),
    "pidfd_getfd": (438, 438),
    "process_madvise": (440, 440),
    "move_pages": (279, 239),
    "migrate_pages": (256, 238),
    "mbind": (237, 235),
    "get_mempolicy": (239, 236),
    "set_mempolicy": (238, 237),
    "set_mempolicy_home_node": (450, 450),
    # The machine as a whole: clock, swap, quotas, accounting, log, name, hardware.
    "settimeofday": (164, 170),
    "clock_settime": (227, 112),
    "swapon": (167, 224),
    "swapoff": (168, 225),
    "reboot": (169, 142),
    "acct": (163, 89),
    "quotactl": (179, 60),
    "quotactl_fd": (443, 443),
    "syslog": (103, 116),
    "sethostname": (170, 161),
    "setdomainname": (171, 162),
    "vhangup": (153, 58),
    "iopl": (172, 0),
    "ioperm": (173, 0),
    "lookup_dcookie": (212, 18),
    "nfsservctl": (180, 42),
    # Obsolete ones.
    "uselib": (134, 0),
    "ustat": (136, 0),
    "sysfs": (139, 0),
    "_sysctl": (156, 0),
    "getpmsg": (181, 0),
    "putpmsg": (182, 0),
    "afs_syscall": (183, 0),
    "tuxcall": (184, 0),
    "security": (185, 0),
    "vserver": (236, 0),
}
# Calls whose first argument decides.
CLONE = (56, 220)
PERSONALITY = (135, 92)
SOCKET = (41, 198)
CLONE3 = 435
LAST_KNOWN = 466  # removexattrat, of Linux 6.13
# CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET
NAMESPACE_FLAGS = 0x7E020000
# Linux, Linux of 32 bits, both with UNAME26, and "tell which". What is missing are switches that make
# attacks easier, such as ADDR_NO_RANDOMIZE.
PERSONALITIES = (0, 0x0008, 0x20000, 0x20008, 0xFFFFFFFF)
# The kernel's ciphers (AF_ALG: "Copy Fail", 2026) and the hypervisor (AF_VSOCK, which has no namespace).
REFUSED_SOCKETS = (38, 40)

ARCHITECTURES = {"x86_64": (0xC000003E, 0), "aarch64": (0xC00000B7, 1)}  # AUDIT_ARCH_…; index above

# linux/bpf_common.h, linux/seccomp.h; places in struct seccomp_data (little-endian)
LOAD, JUMP_EQUAL, JUMP_GREATER, JUMP_ANY_BIT, RETURN = 0x20, 0x15, 0x25, 0x45, 0x06
NUMBER_AT, ARCHITECTURE_AT, FIRST_ARGUMENT_AT = 0, 4, 16
ALLOW, ERRNO, KILL_PROCESS = 0x7FFF0000, 0x00050000, 0x80000000
REFUSE, UNKNOWN = ERRNO | errno.EPERM, ERRNO | errno.ENOSYS


class SeccompFilter(ctypes.Structure):
    """struct sock_fprog"""

    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.POINTER(ctypes.c_uint64)))


def confine() -> None:
    """Permanently deny this process and its children system calls that a container must not use.

    A denied call fails with EPERM, an unknown one with ENOSYS, so that programs fall back. Raises StepFailed
    if the kernel does not support filters.
    """
    instructions = assemble(os.uname().machine)
    code = (ctypes.c_uint64 * len(instructions))(*instructions)
    program = SeccompFilter(len(instructions), code)
    call("a filter for system calls", libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.byref(program)))


def assemble(machine: str) -> list[int]:
    """The filter for an architecture: instructions of classic BPF, as struct sock_filter's eight bytes."""
    architecture, index = ARCHITECTURES[machine]
    return [
        instruction(LOAD, ARCHITECTURE_AT),
        # Programs of the 32-bit interface could bypass this list with other call numbers.
        instruction(JUMP_EQUAL, architecture, if_true=1),
        instruction(RETURN, KILL_PROCESS),
        instruction(LOAD, NUMBER_AT),
        # Also x32, whose numbers have bit 30 set.
        *verdict(JUMP_GREATER, LAST_KNOWN, UNKNOWN),
        # Its flags are in memory, where no filter sees them. The C library falls back to clone.
        *verdict(JUMP_EQUAL, CLONE3, UNKNOWN),
        *argument(CLONE[index], *verdict(JUMP_ANY_BIT, NAMESPACE_FLAGS, REFUSE)),
        *argument(
            SOCKET[index], *(part for kind in REFUSED_SOCKETS for part in verdict(JUMP_EQUAL, kind, REFUSE))
        ),
        *argument(
            PERSONALITY[index],
            *(part for kind in PERSONALITIES for part in verdict(JUMP_EQUAL, kind, ALLOW)),
            instruction(RETURN, REFUSE),
        ),
        *(
            part
            for numbers in REFUSED.values()
            if numbers[index]
            for part in verdict(JUMP_EQUAL, numbers[index], REFUSE)
        ),
        instruction(RETURN, ALLOW),
    ]


def argument(number: int, *checks: int) -> list[int]:
    """Make `checks` on the first argument of the call `number`, whose upper half the kernel ignores; allow it
    if they do not decide."""
    body = [instruction(LOAD, FIRST_ARGUMENT_AT), *checks, instruction(RETURN, ALLOW)]
    return [instruction(JUMP_EQUAL, number, if_false=len(body)), *body]


def verdict(jump: int, value: int, answer: int) -> list[int]:
    """Return `answer` if the comparison holds."""
    return [instruction(jump, value, if_false=1), instruction(RETURN, answer)]


def instruction(code: int, value: int, *, if_true: int = 0, if_false: int = 0) -> int:
    """struct sock_filter as one number."""
    return code | if_true << 16 | if_false << 24 | value << 32
