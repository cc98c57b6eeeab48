"""Static programs for containers, compiled from C, which need nothing of the image that they run in."""

from __future__ import annotations

import functools
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

FORBIDDEN = r"""
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/personality.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static char room[4096];

#define TRY(name, ...) do { errno = 0; long got = syscall(__VA_ARGS__); \
    printf("%s %s\n", name, got < 0 ? strerrorname(errno) : "worked"); fflush(stdout); } while (0)

static const char *strerrorname(int number) {
    switch (number) {
    case EPERM: return "EPERM";
    case ENOSYS: return "ENOSYS";
    default: return strerror(number);
    }
}

int main(void) {
    TRY("keyctl", SYS_keyctl, 0, -3, 1, 0, 0);
    TRY("add_key", SYS_add_key, "user", "left", "x", 1, -3);
    TRY("request_key", SYS_request_key, "user", "left", 0, 0);
    TRY("bpf", SYS_bpf, 0, room, sizeof room);
    TRY("mount", SYS_mount, "none", "/tmp", "tmpfs", 0, 0);
    TRY("umount2", SYS_umount2, "/proc", 2);
    TRY("pivot_root", SYS_pivot_root, "/", "/");
    TRY("fsopen", SYS_fsopen, "tmpfs", 0);
    TRY("fspick", SYS_fspick, -100, "/", 0);
    TRY("fsmount", SYS_fsmount, -1, 0, 0);
    TRY("fsconfig", SYS_fsconfig, -1, 0, 0, 0, 0);
    TRY("open_tree", SYS_open_tree, -100, "/", 1);
    TRY("move_mount", SYS_move_mount, -1, "", -1, "", 0);
    TRY("mount_setattr", SYS_mount_setattr, -100, "/", 0, room, 32);
    TRY("unshare user", SYS_unshare, 0x10000000);
    TRY("unshare mount", SYS_unshare, 0x20000);
    TRY("unshare files", SYS_unshare, 0x400);
    TRY("setns", SYS_setns, 0, 0);
    TRY("chroot", SYS_chroot, "/");
    TRY("kexec_load", SYS_kexec_load, 0, 0, 0, 0);
    TRY("init_module", SYS_init_module, room, 0, "");
    TRY("finit_module", SYS_finit_module, -1, "", 0);
    TRY("delete_module", SYS_delete_module, "none", 0);
    TRY("perf_event_open", SYS_perf_event_open, room, 0, -1, -1, 0);
    TRY("userfaultfd", SYS_userfaultfd, 1);
    TRY("open_by_handle_at", SYS_open_by_handle_at, 0, room, 0);
    TRY("swapon", SYS_swapon, "/none", 0);
    TRY("swapoff", SYS_swapoff, "/none");
    TRY("reboot", SYS_reboot, 1, 2, 3, 0);
    TRY("settimeofday", SYS_settimeofday, 0, 0);
    TRY("clock_settime", SYS_clock_settime, 0, room);
    TRY("quotactl", SYS_quotactl, 0x80000700, "/none", 0, room);
    TRY("acct", SYS_acct, "/none");
    TRY("syslog", SYS_syslog, 10, 0, 0);
    TRY("io_uring_setup", SYS_io_uring_setup, 1, room);
    TRY("io_uring_enter", SYS_io_uring_enter, -1, 0, 0, 0, 0);
    TRY("io_uring_register", SYS_io_uring_register, -1, 0, 0, 0);
    TRY("personality without randomized addresses", SYS_personality, ADDR_NO_RANDOMIZE);
    TRY("socket of the hypervisor", SYS_socket, 40, 1, 0);
    TRY("socket of the kernel's ciphers", SYS_socket, 38, 5, 0);
    TRY("pidfd_getfd", SYS_pidfd_getfd, -1, 0, 0);
    TRY("kcmp", SYS_kcmp, 1, 1, 0, 0, 0);
    TRY("vhangup", SYS_vhangup);
#ifdef __x86_64__
    TRY("iopl", SYS_iopl, 0);
    TRY("ioperm", SYS_ioperm, 0, 1, 0);
    TRY("modify_ldt is needed by emulators", SYS_modify_ldt, 0, room, sizeof room);
#endif
    long child = syscall(SYS_clone, 0x10000000 | SIGCHLD, 0, 0, 0, 0);
    if (child == 0) _exit(0);
    printf("clone user %s\n", child < 0 ? strerrorname(errno) : "worked");
    TRY("clone3", SYS_clone3, room, 8);
    TRY("a system call of tomorrow", 999);
    TRY("personality of today", SYS_personality, 0xffffffff);
    TRY("socket of the internet", SYS_socket, AF_INET, SOCK_STREAM, 0);
#ifdef __x86_64__
    TRY("the x32 interface", 0x40000000 | 39);
    fflush(stdout);
    pid_t old = fork();
    if (old == 0) {
        long got;
        __asm__ volatile("int $0x80" : "=a"(got) : "a"(20) : "memory");
        _exit(0);
    }
    int status;
    waitpid(old, &status, 0);
    printf("the 32-bit interface %s\n", WIFSIGNALED(status) ? "SIGSYS" : "worked");
#endif
    TRY("ptrace within the container", SYS_ptrace, PTRACE_TRACEME, 0, 0, 0);
    raise(SIGCHLD); /* a traced process stops here, and nobody debugs it */
    return 3;
}
"""

KEYS = r"""
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/* keys NAME: read the key NAME from the session's and the user's keyring, then leave one called after it. */
int main(int count, char **words) {
    char value[256], left[256];
    long rings[] = {-3, -4, -5};
    for (int ring = 0; ring < 3; ring++) {
        long key = syscall(SYS_keyctl, 10, rings[ring], "user", words[1], 0);
        if (key > 0) {
            long size = syscall(SYS_keyctl, 11, key, value, sizeof value);
            if (size >= 0) printf("found %.*s in %ld\n", (int)size, value, rings[ring]);
        }
        snprintf(left, sizeof left, "%s-%ld", words[2], -rings[ring]);
        if (syscall(SYS_add_key, "user", left, "left", 4, rings[ring]) > 0) printf("left %s\n", left);
    }
    printf("tried\n");
    return 0;
}
"""

CONNECT = r"""
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

/* connect ADDRESS PORT|abstract NAME ...: try each, send a request, print the first bytes that come. */
int main(int count, char **words) {
    for (int word = 1; word + 1 < count; word += 2) {
        int made;
        struct timeval patience = {1, 0};
        char seen[64];
        if (strcmp(words[word], "abstract") == 0) {
            struct sockaddr_un to = {AF_UNIX};
            size_t length = strlen(words[word + 1]);
            memcpy(to.sun_path + 1, words[word + 1], length);
            made = socket(AF_UNIX, SOCK_STREAM, 0);
            if (connect(made, (void *)&to, offsetof(struct sockaddr_un, sun_path) + 1 + length)) {
                printf("%s: %s\n", words[word + 1], strerror(errno));
                continue;
            }
        } else {
            struct sockaddr_in to = {AF_INET, htons(atoi(words[word + 1]))};
            inet_pton(AF_INET, words[word], &to.sin_addr);
            made = socket(AF_INET, SOCK_STREAM, 0);
            setsockopt(made, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
            if (connect(made, (void *)&to, sizeof to)) {
                printf("%s %s: %s\n", words[word], words[word + 1], strerror(errno));
                continue;
            }
        }
        setsockopt(made, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
        write(made, "GET / HTTP/1.0\r\n\r\n", 18);
        ssize_t size = read(made, seen, 8);
        printf("%s: %.*s\n", words[word + 1], size > 0 ? (int)size : 7, size > 0 ? seen : "nothing");
        close(made);
    }
    return 0;
}
"""


@functools.cache
def compiled(source: str) -> bytes:
    """The program of a C source; its test is skipped where there is no compiler for it."""
    compiler = shutil.which("musl-gcc")
    if compiler is None:
        pytest.skip("the package musl-tools is not installed")
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder) / "program"
        subprocess.run(
            # musl has no header of the kernel: the numbers of its newest system calls come from there.
            [compiler, "-static", "-O1", "-w", "-x", "c", "-", "-o", str(program)],
            input=source.encode(),
            check=True,
        )
        return program.read_bytes()
