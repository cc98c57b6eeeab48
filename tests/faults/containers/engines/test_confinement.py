"""What a container of the namespaces engine must not do: use the developer's keys, or make system calls that
lead out of the container."""

from __future__ import annotations

import ctypes
import os
import secrets
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from containers.engines.helper import seccomp
from containers.engines.namespaces import NamespacesEngine
from tests.faults.containers.engines.conftest import REPOSITORY, Run, Runner
from tests.static_programs import FORBIDDEN, KEYS, compiled

ADD_KEY, KEYCTL = {"x86_64": (248, 250), "aarch64": (217, 219)}.get(os.uname().machine, (0, 0))
SESSION, USER, USER_SESSION = -3, -4, -5
LINK, UNLINK = 8, 9
libc = ctypes.CDLL(None, use_errno=True)


def add_key(name: str, ring: int) -> int:
    key = int(libc.syscall(ADD_KEY, b"user", name.encode(), b"secret", 6, ring))
    if key < 0:
        pytest.skip(f"no keys can be made here: {os.strerror(ctypes.get_errno())}")
    if ring != SESSION:
        libc.syscall(KEYCTL, LINK, ring, SESSION)  # as a login does
    return key


@pytest.mark.parametrize("ring", [SESSION, USER, USER_SESSION])
def test_the_developers_keys_are_out_of_reach(namespaces: Runner, ring: int) -> None:
    name = f"scar-{secrets.token_hex(4)}"
    key = add_key(name, ring)
    try:
        folder = namespaces.prepare(keys=compiled(KEYS))
        # The first run may have a helper that was started before there was a key.
        outputs = [namespaces([f"{folder}/keys", name, name], folder=folder).output for _ in range(2)]
    finally:
        libc.syscall(KEYCTL, UNLINK, key, ring)
    assert outputs == ["tried\n"] * 2


def test_a_key_that_one_run_leaves_is_not_found_by_the_next(namespaces: Runner) -> None:
    name = f"scar-{secrets.token_hex(4)}"
    folder = namespaces.prepare(keys=compiled(KEYS))
    namespaces([f"{folder}/keys", "none", name], folder=folder)
    for ring in (SESSION, USER, USER_SESSION):
        run = namespaces([f"{folder}/keys", f"{name}-{-ring}", "x"], folder=folder)
        assert run.output == "tried\n"


def test_the_helper_leaves_the_session_keyring_also_where_no_filter_is() -> None:
    """The kernel itself looks there on behalf of a process, for network file systems and encrypted disks."""
    name = f"scar-{secrets.token_hex(4)}"
    key = add_key(name, SESSION)
    code = (
        "import ctypes, sys\n"
        "from containers.engines.helper.kernel import leave_session_keyring, libc\n"
        f"found = lambda: libc.syscall({KEYCTL}, 10, -3, b'user', sys.argv[1].encode(), 0) > 0\n"
        "before = found(); leave_session_keyring(); print(before, found())\n"
    )
    try:
        done = subprocess.run(
            [sys.executable, "-c", code, name], capture_output=True, text=True, check=True, cwd=REPOSITORY
        )
    finally:
        libc.syscall(KEYCTL, UNLINK, key, SESSION)
    assert done.stdout == "True False\n"


def test_forbidden_system_calls_are_refused(namespaces: Runner) -> None:
    folder = namespaces.prepare(forbidden=compiled(FORBIDDEN))
    run = namespaces([f"{folder}/forbidden"], folder=folder)
    answers = dict(line.rsplit(" ", 1) for line in run.output.splitlines())
    allowed = {
        "personality of today",
        "socket of the internet",
        "ptrace within the container",
        "modify_ldt is needed by emulators",
    }
    unknown = {"clone3", "a system call of tomorrow", "the x32 interface"}
    expected = dict.fromkeys(answers, "EPERM")
    expected |= dict.fromkeys(allowed & answers.keys(), "worked")
    expected |= dict.fromkeys(unknown & answers.keys(), "ENOSYS")
    if "the 32-bit interface" in answers:
        expected["the 32-bit interface"] = "SIGSYS"
    assert answers == expected
    assert len(answers) > 45
    # It had itself traced by its parent, which is PID 1, and stopped: it was let go on to its end.
    assert run.result.exit_code == 3


def test_the_first_process_of_a_container_is_held_to_the_same(namespaces: Runner) -> None:
    """A program may trace it, and would make it call what it must not call itself."""
    run = namespaces("grep -h -E '^(Seccomp|NoNewPrivs):' /proc/1/status /proc/self/status")
    assert run.output.split() == ["NoNewPrivs:", "1", "Seccomp:", "2"] * 2


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_the_filter_decides_by_number_and_first_argument(machine: str) -> None:
    index = seccomp.ARCHITECTURES[machine][1]
    program = seccomp.assemble(machine)
    refused, unknown, allowed = seccomp.REFUSE, seccomp.UNKNOWN, seccomp.ALLOW

    def answer(number: int, argument: int = 0, architecture: int | None = None) -> int:
        return run_filter(program, number, architecture or seccomp.ARCHITECTURES[machine][0], argument)

    numbers = {pair[index] for pair in seccomp.REFUSED.values()} - {0}
    special = {seccomp.CLONE[index], seccomp.SOCKET[index], seccomp.PERSONALITY[index], seccomp.CLONE3}
    for number in range(600):
        expected = refused if number in numbers else allowed if number <= seccomp.LAST_KNOWN else unknown
        if number not in special:
            assert answer(number) == expected, number
    assert answer(seccomp.CLONE3) == unknown
    assert answer(0x40000000 | 1) == unknown
    assert answer(1, architecture=0x40000003) == seccomp.KILL_PROCESS
    assert answer(seccomp.CLONE[index], 17) == answer(seccomp.CLONE[index], 0x3D0F00) == allowed
    for flag in (0x20000, 0x2000000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000):
        assert answer(seccomp.CLONE[index], flag | 17) == refused
    assert [answer(seccomp.SOCKET[index], family) for family in (1, 2, 10, 16, 38, 40)] == [
        *[allowed] * 4,
        *[refused] * 2,
    ]
    persona = seccomp.PERSONALITY[index]
    assert [answer(persona, value) for value in (0, 8, 0xFFFFFFFF, 0x0040000, 4)] == [
        *[allowed] * 3,
        *[refused] * 2,
    ]


def run_filter(program: list[int], number: int, architecture: int, argument: int) -> int:
    """What the kernel's interpreter of classic BPF makes of a call."""
    data = {0: number, 4: architecture, 16: argument}
    position, accumulator = 0, 0
    while True:
        word = program[position]
        code, if_true, if_false, value = word & 0xFFFF, word >> 16 & 0xFF, word >> 24 & 0xFF, word >> 32
        position += 1
        if code == seccomp.RETURN:
            return value
        if code == seccomp.LOAD:
            accumulator = data[value]
            continue
        holds = {
            seccomp.JUMP_EQUAL: accumulator == value,
            seccomp.JUMP_GREATER: accumulator > value,
            seccomp.JUMP_ANY_BIT: bool(accumulator & value),
        }[code]
        position += if_true if holds else if_false


@pytest.mark.skipif(
    os.geteuid() != 0, reason="for these files, root of the host is known by its number alone"
)
@pytest.mark.parametrize("user_namespace", ["no", "yes"])
def test_switches_of_the_kernel_cannot_be_opened_for_writing(namespaces: Runner, user_namespace: str) -> None:
    """A program named in core_pattern runs as root of the host."""
    namespaces.engine = NamespacesEngine(
        namespaces.store, {"user_namespace": user_namespace, "overlay": "tmpfs"}
    )
    run = namespaces("echo run; (true >> /proc/sys/kernel/core_pattern) && echo writable")
    assert run.output.startswith("run\n")
    assert "Read-only file system" in run.output
    assert "writable" not in run.output


def test_the_payload_is_read_only_and_what_is_shared_keeps_its_owner(
    namespaces: Runner, tmp_path: Path
) -> None:
    for name in ("payload", "shared"):
        (tmp_path / name).mkdir()
        (tmp_path / name).chmod(0o777)
        (tmp_path / name / "file").write_text(name)
    run = namespaces(
        "cd /payload && cat file; echo x > file; touch made; cat /shared/file; touch /shared/made",
        user="worker",
        read_only={tmp_path / "payload": "/payload"},
        shared={tmp_path / "shared": "/shared"},
        env={"LC_ALL": "C"},
    )
    assert run.output.startswith("payload")
    assert run.output.count("Read-only file system") == 2
    assert run.output.endswith("shared")
    assert (tmp_path / "shared/made").exists()
    owners = {(path.stat().st_uid, path.stat().st_gid) for path in tmp_path.rglob("*") if path.name != "made"}
    assert owners == {(os.geteuid(), os.getegid())}


def mounts(run: Run) -> dict[str, set[str]]:
    """What a container prints of its /proc/self/mountinfo: the options of each mount point."""
    lines = [line.split() for line in run.output.splitlines() if " - " in line]
    return {line[4]: set(line[5].split(",")) for line in lines}


@pytest.mark.parametrize("overlay", ["tmpfs", "none"])
def test_nothing_that_is_mounted_brings_privileges_or_devices(
    namespaces: Runner, tmp_path: Path, overlay: str
) -> None:
    """A set-uid program in a folder of the host would run as root; a device node would be the host's disk."""
    assert isinstance(namespaces.engine, NamespacesEngine)
    user_namespace = "yes" if namespaces.engine._user_namespace else "no"
    namespaces.engine = NamespacesEngine(
        namespaces.store, {"user_namespace": user_namespace, "overlay": overlay}
    )
    for name in ("payload", "shared"):
        (tmp_path / name).mkdir()
    folder = namespaces.prepare()
    places: dict[str, Any] = {}
    if overlay != "none":  # else there is no place in the image to mount them
        places["read_only"] = {tmp_path / "payload": "/payload"}
        places["shared"] = {tmp_path / "shared": "/shared"}
    found = mounts(namespaces("cat /proc/self/mountinfo", folder=folder, **places))
    assert {"/", "/proc", "/dev", str(folder)} <= found.keys()
    devices = {
        place for place in found if place.startswith("/dev/") and place not in ("/dev/pts", "/dev/shm")
    }
    hidden = {place for place in found if place.startswith("/proc/")}  # the device `null` over a file
    assert [place for place in found.keys() - devices - hidden if "nosuid" not in found[place]] == []
    without_nodev = {place for place in found.keys() - devices - hidden if "nodev" not in found[place]}
    assert without_nodev <= {"/dev", "/dev/pts"}


def test_what_the_host_shows_of_itself_is_read_only(namespaces: Runner) -> None:
    run = namespaces("cat /proc/self/mountinfo; for f in /etc/hosts /etc/resolv.conf; do echo x >> $f; done")
    found = mounts(run)
    shown = {"/etc/hosts", "/etc/resolv.conf", "/sys/devices/system"} & found.keys()
    assert len(shown) >= 2
    assert [place for place in shown if "ro" not in found[place]] == []
    assert run.output.count("Read-only file system") == 2


def test_what_is_mounted_below_a_read_only_folder_is_not_shown(namespaces: Runner) -> None:
    """It would stay writable."""
    if not os.path.ismount("/dev/shm"):
        pytest.skip("/dev/shm of this machine is no mount")
    name = f"scar-{secrets.token_hex(4)}"
    run = namespaces(f"ls /payload; echo x > /payload/shm/{name}", read_only={Path("/dev"): "/payload"})
    assert "shm" in run.output.split()
    assert "Read-only file system" in run.output
    assert not Path("/dev/shm", name).exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="who is not root sees nothing there anyway")
def test_memory_and_keys_of_the_kernel_are_hidden(namespaces: Runner) -> None:
    run = namespaces(
        "head -c 10 /proc/kcore 2>/dev/null; cat /proc/keys /proc/timer_list 2>/dev/null; echo end"
    )
    assert run.output == "end\n"


def test_the_host_is_not_mounted_in_the_container(namespaces: Runner) -> None:
    run = namespaces("cat /proc/1/mountinfo")
    roots = [line for line in run.output.splitlines() if line.split()[4] == "/"]
    assert len(roots) == 1


def test_the_first_process_of_a_container_has_no_more_than_the_program(namespaces: Runner) -> None:
    """The program may read its memory and use its descriptors."""
    capabilities = "grep -h -E '^Cap(Prm|Eff|Bnd)' /proc/{}/status; echo;"
    run = namespaces(f"{capabilities.format(1)} {capabilities.format('self')} ls -l /proc/1/fd")
    first, own, descriptors = run.output.split("\n\n", 2)
    assert first == own
    led_to = [line.partition(" -> ")[2] for line in descriptors.splitlines() if " -> " in line]
    assert [target for target in led_to if not target.startswith(("pipe:", "socket:", "/dev/null"))] == []


def test_a_container_has_namespaces_of_its_own(namespaces: Runner) -> None:
    kinds = ("ipc", "mnt", "pid", "uts")
    run = namespaces("ls -l " + " ".join(f"/proc/self/ns/{kind}" for kind in kinds))
    inside = {line.rpartition(" -> ")[2] for line in run.output.splitlines()}
    assert len(inside) == len(kinds)
    assert inside.isdisjoint(str(Path(f"/proc/self/ns/{kind}").readlink()) for kind in kinds)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user")
def test_the_user_of_the_image_keeps_no_group_of_the_runner(namespaces: Runner) -> None:
    groups = os.getgroups()
    os.setgroups([7777])
    try:
        status = ["grep", "-E", "^(Uid|Gid|Groups):", "/proc/self/status"]
        outputs = [namespaces(status, user="1234:5678").output for _ in range(2)]
    finally:
        os.setgroups(groups)
    # The second run has a helper that was started with that group.
    for output in outputs:
        found = {
            name: values.split() for name, _, values in (line.partition(":") for line in output.splitlines())
        }
        assert found == {"Uid": ["1234"] * 4, "Gid": ["5678"] * 4, "Groups": found["Groups"]}
        assert set(found["Groups"]) <= {"5678"}


def test_the_program_starts_with_the_usual_umask_and_no_signal_ignored_or_blocked(namespaces: Runner) -> None:
    umask = os.umask(0o077)
    before = signal.signal(signal.SIGUSR2, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
    try:
        outputs = [
            namespaces(["grep", "-E", "^(Umask|SigBlk|SigIgn):", "/proc/self/status"]).output
            for _ in range(2)
        ]
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGUSR1})
        signal.signal(signal.SIGUSR2, before)
        os.umask(umask)
    # The second run has a helper that was started while all this was so.
    assert [output.split()[1::2] for output in outputs] == [["0022", "0" * 16, "0" * 16]] * 2
