"""The main process of a running cloud.

It starts the emulator with a clean environment, and waits for its end. Both hold the state folder's lock
while they run. The supervisor is a child subreaper: orphans of the emulator become its children, and are
killed. If it is killed itself, the emulator notices it on its standard input, and workers and jobs on theirs.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from local_cloud import leash
from local_cloud.access import credentials
from local_cloud.emulator import environment
from local_cloud.state.privacy import write_private

PROGRAM = Path(__file__).parent
"""What runs the emulator: `python PROGRAM emulate …`."""
LOCK = "cloud.lock"
RUNNING = "running.json"
LOG = "cloud.log"
_START_WITHIN_S = 90.0
_SAVE_WITHIN_S = 30.0
_INHERITED = (
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "LANG",
    "LC_ALL",
    "TZ",
    "SSL_CERT_FILE",
    "REQUESTS_CA_BUNDLE",
    "AWS_CA_BUNDLE",
)
_INHERITED_ANY_CASE = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")


def main(arguments: list[str]) -> None:
    """Run a cloud until it is stopped. One line of JSON on standard output reports whether it is ready."""
    parser = argparse.ArgumentParser(prog="supervise")
    parser.add_argument("--state", type=Path, required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--region", required=True)
    parser.add_argument("--parallel", type=int, required=True)
    parser.add_argument("--tied", action="store_true", help="exit when standard input closes")
    options = parser.parse_args(arguments)
    try:
        _hold_together(options)
    except OSError as error:  # no space left, a folder of another user, …
        reason = (error.strerror or str(error)).lower()
        _answer({"error": f"{error.filename}: {reason}" if error.filename else reason})
        leash.end_descendants()


def _hold_together(options: argparse.Namespace) -> None:
    state: Path = options.state
    lock = os.open(state / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        _answer({"busy": True})
        return
    os.ftruncate(lock, 0)
    os.pwrite(lock, str(os.getpid()).encode(), 0)
    try:
        credentials.make(state)
    except ValueError as error:
        _answer({"error": str(error)})
        return
    leash.become_subreaper()
    shutil.rmtree(state / "tmp", ignore_errors=True)
    # Another start, which will find this cloud running, may be quicker.
    (state / "tmp").mkdir(mode=0o700, exist_ok=True)
    emulator, report = _start_emulator(options, lock)
    message = _await_report(report)
    if "ready" not in message:
        leash.end_descendants()
        _answer(message)
        return
    running = {
        "pid": os.getpid(),
        "emulator_pid": emulator.pid,
        "port": options.port,
        "endpoint": f"http://127.0.0.1:{options.port}",
        "region": options.region,
        "parallel": options.parallel,
        "started_at": int(time.time()),
    }
    write_private(state / RUNNING, json.dumps(running, indent=2))
    write_private(state / "last.json", json.dumps({"port": options.port}))
    _answer({"ready": True, **running})
    # Output is no longer read from here on.
    log = os.open(state / LOG, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
    os.dup2(log, 1)
    os.dup2(log, 2)
    leash.keep(emulator.pid, owner=0 if options.tied else None, grace_s=_SAVE_WITHIN_S)
    (state / RUNNING).unlink(missing_ok=True)
    shutil.rmtree(state / "tmp", ignore_errors=True)


def _start_emulator(options: argparse.Namespace, lock: int) -> tuple[subprocess.Popen[bytes], int]:
    reader, writer = os.pipe()
    state: Path = options.state
    log_path = state / LOG
    if log_path.exists():
        log_path.replace(log_path.with_suffix(".log.1"))
    descriptor = os.open(log_path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as log:
        emulator = subprocess.Popen(
            [
                sys.executable,
                str(PROGRAM),
                "emulate",
                "--parallel",
                str(options.parallel),
                "--report",
                str(writer),
            ],
            stdin=subprocess.PIPE,  # never written: the emulator ends when it is closed
            stdout=log,
            stderr=log,
            pass_fds=[writer, lock],
            start_new_session=True,
            env={
                **_inherited(),
                **environment(
                    state,
                    port=options.port,
                    region=options.region,
                    parallel=options.parallel,
                ),
            },
        )
    os.close(writer)
    return emulator, reader


def _inherited() -> dict[str, str]:
    """The variables that a program needs: no credentials, no profile, no settings of Python."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if name in _INHERITED or name.upper() in _INHERITED_ANY_CASE or name.startswith("SCAR_")
    }
    if any(name.upper().endswith("_PROXY") for name in kept):
        # Calls to the cloud itself must bypass a proxy.
        others = [kept.pop(name) for name in ("no_proxy", "NO_PROXY") if name in kept]
        kept["no_proxy"] = kept["NO_PROXY"] = ",".join(["127.0.0.1", "localhost", *others[:1]])
    return kept


def _await_report(reader: int) -> dict[str, Any]:
    """The emulator's one line, or an error if it has ended or hangs."""
    if select.select([reader], [], [], _START_WITHIN_S)[0] and (line := os.read(reader, 65536)):
        message: dict[str, Any] = json.loads(line)
        return message
    return {"error": "the emulator did not start"}


def _answer(message: dict[str, Any]) -> None:
    os.write(1, json.dumps(message).encode() + b"\n")
