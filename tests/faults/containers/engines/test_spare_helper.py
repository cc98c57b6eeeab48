"""The helper that waits for the next run: used, replaced where it died, never left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

from containers.engines import helper_process
from tests.faults.containers.engines.conftest import REPOSITORY, Runner


def test_the_next_run_takes_the_helper_that_waits(namespaces: Runner) -> None:
    assert namespaces("exit 3").result.exit_code == 3
    (waiting,) = helper_process._spare
    assert namespaces("exit 4").result.exit_code == 4
    assert waiting.process.returncode == 0
    assert helper_process._spare[0].process.pid != waiting.process.pid


def test_a_waiting_helper_that_was_killed_is_replaced(namespaces: Runner) -> None:
    namespaces("true")
    (waiting,) = helper_process._spare
    waiting.process.send_signal(signal.SIGKILL)
    os.waitid(os.P_PID, waiting.process.pid, os.WEXITED | os.WNOWAIT)
    assert namespaces("exit 5").result.exit_code == 5


def test_other_threads_neither_take_nor_keep_one(namespaces: Runner) -> None:
    namespaces("true")
    before = list(helper_process._spare)
    codes: list[int | None] = []
    thread = threading.Thread(target=lambda: codes.append(namespaces("exit 6").result.exit_code))
    thread.start()
    thread.join()
    assert codes == [6]
    assert helper_process._spare == before


def test_the_waiting_helper_ends_with_its_parent_however_that_dies(tmp_path: Path) -> None:
    code = (
        "import sys, pathlib; from containers.engines import helper_process, choose_engine\n"
        "helper_process.keep_spare('process_init'); print(helper_process._spare[0].process.pid, flush=True)\n"
        "sys.stdin.read()\n"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=REPOSITORY
    )
    assert parent.stdout is not None
    helper = int(parent.stdout.readline())
    assert Path(f"/proc/{helper}").exists()
    parent.kill()
    parent.communicate()
    until = time.monotonic() + 10
    while _alive(helper):
        assert time.monotonic() < until
        time.sleep(0.01)


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0] != b"Z"
    except OSError:
        return False
