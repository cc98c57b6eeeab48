"""The keeper ends everything below it, however its owner or its child ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from local_cloud import leash

PROGRAM = """
import os, sys
sys.path.insert(0, sys.argv[1])
from local_cloud import leash
leash.fork_keeper(grace_s=float(sys.argv[2]))
os.execvp(sys.argv[3], sys.argv[3:])
"""
"""Runs a command on a leash, which is its standard input."""
LEASH = [sys.executable, "-I", "-S", "-c", PROGRAM, str(Path(leash.__file__).parents[1])]
ESCAPES = "(setsid sleep 1000 & echo $!) ; sleep 1000 & echo $! ; "

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="child subreapers are Linux's")


def started(script: str, *, grace_s: float = 0.0) -> tuple[subprocess.Popen[str], list[int]]:
    """A leashed shell that has started two sleepers, and their process ids."""
    process = subprocess.Popen(
        [*LEASH, str(grace_s), "sh", "-c", ESCAPES + script],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    return process, [int(process.stdout.readline()) for _ in range(2)]


def is_alive(pid: int) -> bool:
    """Whether a process runs. One that has ended may wait long until its parent, not ours, collects it."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(")")[2].split()[0] not in ("Z", "X")


def gone(pids: list[int]) -> bool:
    deadline = time.monotonic() + 10
    while any(is_alive(pid) for pid in pids):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def test_the_exit_code_and_the_output_are_the_commands() -> None:
    done = subprocess.run(
        [*LEASH, "0", "sh", "-c", "echo out; echo err >&2; exit 7"],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
    )  # fmt: skip
    # /dev/null as the leash hangs up never: it is no pipe.
    assert (done.returncode, done.stdout, done.stderr) == (7, "out\n", "err\n")


@pytest.mark.parametrize(("command", "code"), [("kill -9 $$", 137), ("kill -TERM $$", 143), ("exit 0", 0)])
def test_a_signal_is_128_more(command: str, code: int) -> None:
    process = subprocess.Popen([*LEASH, "0", "sh", "-c", command], stdin=subprocess.PIPE)
    assert process.wait(10) == code


def test_what_the_child_leaves_behind_ends_with_it() -> None:
    process, sleepers = started("exit 3")
    assert process.wait(10) == 3
    assert gone(sleepers)


def test_everything_ends_when_the_owner_lets_go() -> None:
    process, sleepers = started("wait")
    assert process.stdin is not None
    process.stdin.close()
    assert process.wait(10) == 137
    assert gone(sleepers)


def test_everything_ends_on_sigterm() -> None:
    process, sleepers = started("wait")
    process.send_signal(signal.SIGTERM)
    assert process.wait(10) == 137
    assert gone(sleepers)


def test_the_child_has_time_to_say_goodbye() -> None:
    process, sleepers = started("trap 'echo bye; exit 5' TERM; echo ready; wait", grace_s=10)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGTERM)
    assert process.stdout.readline() == "bye\n"
    assert process.wait(10) == 5
    assert gone(sleepers)


def test_a_child_that_does_not_listen_is_killed_after_the_grace() -> None:
    process, sleepers = started("trap '' TERM; echo ready; while :; do wait; done", grace_s=0.2)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGTERM)
    assert process.wait(10) == 137
    assert gone(sleepers)


def test_the_child_dies_with_a_keeper_that_is_killed() -> None:
    process = subprocess.Popen(
        [*LEASH, "0", "sh", "-c", "echo $$; exec sleep 1000"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    child = int(process.stdout.readline())
    process.kill()
    assert gone([child])


def test_descendants_are_found_whatever_their_names(tmp_path: Path) -> None:
    program = tmp_path / "a) R 1 (b"
    program.symlink_to("/bin/sleep")
    process = subprocess.Popen([str(program), "1000"])
    try:
        assert process.pid in leash.descendants()
        assert os.getppid() not in leash.descendants()
    finally:
        process.kill()
        process.wait()
