"""A cloud in a state folder: start, stop, inspect and reset it.

    running = Cloud(Path("~/.local/state/scar-cdk/cloud").expanduser()).start()
    subprocess.run(["cdk", "deploy"], env={**os.environ, **running.environment()})

All data of the cloud is in its folder. Supervisor and emulator hold a lock there, so an old process id in a
file is never mistaken for a running cloud, and the next start waits until a cloud without its supervisor has
ended. This module does not load the emulator.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from local_cloud.access import credentials
from local_cloud.access.credentials import Credentials
from local_cloud.state.privacy import make_private

_MARKER = "cloud-state"
_MARKER_TEXT = "The state of an embedded cloud of scar-cdk. `scar local reset` empties this folder.\n"
_STOP_WITHIN_S = 45.0
ACCOUNT = "000000000000"


class CloudError(Exception):
    """An error that the caller can correct: `cause`, and what to do in `advice`."""

    def __init__(self, cause: str, advice: str) -> None:
        super().__init__(f"{cause}. {advice}.")
        self.cause = cause
        self.advice = advice


@dataclass(frozen=True)
class Running:
    """A cloud that runs."""

    pid: int
    """Of the supervisor; the cloud ends with it."""
    emulator_pid: int
    port: int
    endpoint: str
    region: str
    parallel: int
    """Lambda invocations, and Batch jobs, that run at once."""
    started_at: int
    """Seconds since the epoch."""
    credentials: Credentials
    """The developer's own access key."""

    def environment(self) -> dict[str, str]:
        """Environment variables with which boto3, the CDK CLI and the AWS CLI talk to this cloud."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": self.credentials.access_key_id,
            "AWS_SECRET_ACCESS_KEY": self.credentials.secret_access_key,
            "AWS_REGION": self.region,
            "AWS_DEFAULT_REGION": self.region,
            "CDK_DEFAULT_ACCOUNT": ACCOUNT,
            "CDK_DEFAULT_REGION": self.region,
            **_past_proxies(),
        }


def _past_proxies() -> dict[str, str]:
    """Calls to the cloud must bypass a proxy."""
    if not any(name.lower().endswith("_proxy") for name in os.environ):
        return {}
    past = [name for name in os.environ.get("NO_PROXY", os.environ.get("no_proxy", "")).split(",") if name]
    value = ",".join(dict.fromkeys([*past, "127.0.0.1", "localhost"]))
    return {"NO_PROXY": value, "no_proxy": value}


class Cloud:
    """The embedded cloud whose state is in `state`, an absolute path."""

    program: ClassVar[Path] = Path(__file__).parent
    """What runs the cloud's processes: `python PROGRAM supervise …`."""

    def __init__(self, state: Path) -> None:
        self.state = state
        self._process: subprocess.Popen[bytes] | None = None

    def running(self) -> Running | None:
        """The running cloud, or None.

        Raises:
            CloudError: the folder cannot be read.
        """
        holder = self._holder()
        if holder is None or _has_ended(holder):
            return None
        try:
            facts = json.loads((self.state / "running.json").read_text())
            if facts["pid"] != holder or _has_ended(facts["emulator_pid"]):
                return None  # the record of a cloud that was killed
            return Running(**facts, credentials=credentials.load(self.state))
        except (OSError, ValueError, TypeError, KeyError):
            return None  # it is starting, or stopping

    def start(
        self,
        *,
        port: int | None = None,
        parallel: int | None = None,
        region: str = "us-east-1",
        tied: bool = False,
    ) -> Running:
        """Start the cloud and wait until it is ready. A running cloud is not changed.

        `port` None selects the previous port, or any free one; `parallel` None the number of cores. `tied`
        stops the cloud when this process ends in any way, or releases the Cloud object.

        Raises:
            CloudError: the port is in use, the folder is not a cloud's, or the emulator does not start.
        """
        self._claim_folder()
        if any((self.state / "services").glob("*.json")):
            raise CloudError(
                f"The state folder {self.state} was written by an earlier version and cannot be read",
                "Empty it with `scar local reset`, or choose another one with --state",
            )
        while True:
            if (running := self._wait_while_starting()) is not None:
                return running
            message, errors = self._supervise(
                [
                    *("--port", str(self._choose_port(port))),
                    *("--region", region),
                    *("--parallel", str(parallel or os.cpu_count() or 1)),
                    *(["--tied"] if tied else []),
                ],
                tied=tied,
            )
            if "ready" in message:
                del message["ready"]
                return Running(**message, credentials=credentials.load(self.state))
            if "busy" not in message:  # another process is starting it
                break
        detail = errors[-1] if errors else self._last_log_line()
        cause = f"The embedded cloud did not start: {message['error']}"
        raise CloudError(f"{cause} ({detail})" if detail else cause, f"Its log is {self.state / 'cloud.log'}")

    @property
    def started_here(self) -> bool:
        """Whether the running cloud was started by this object."""
        return self._process is not None

    def stop(self) -> bool:
        """Stop the cloud, saving its state, and wait until all processes have ended. False if it was not
        running.

        Raises:
            CloudError: it does not stop.
        """
        pid = self._holder()
        if pid is None:
            with suppress(OSError):
                (self.state / "running.json").unlink()  # of a cloud that was killed
            return False
        _signal(pid, signal.SIGTERM)
        deadline = time.monotonic() + _STOP_WITHIN_S
        killed = False
        while self._holder() is not None:
            if time.monotonic() > deadline:
                if killed:
                    raise CloudError(f"The embedded cloud (process {pid}) did not stop", "Kill that process")
                _signal(pid, signal.SIGKILL)
                killed, deadline = True, time.monotonic() + 5.0
            time.sleep(0.02)
        if self._process is not None:
            self._process.wait()
            self._process = None
        return True

    def reset(self) -> None:
        """Stop the cloud and delete all its data.

        Raises:
            CloudError: the folder is not a cloud's.
        """
        if not self.state.exists():
            return
        self._check_folder()
        self.stop()
        for entry in self.state.iterdir():
            if entry.name in (_MARKER, "cloud.lock"):
                continue
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            else:
                entry.unlink()

    def _wait_while_starting(self) -> Running | None:
        """The running cloud, after waiting until it is ready, or None if it does not run."""
        while (running := self.running()) is None and self._holder() is not None:
            time.sleep(0.05)
        return running

    def _supervise(self, options: list[str], *, tied: bool) -> tuple[dict[str, Any], list[str]]:
        """Start a supervisor. Returns its message, and the lines of its errors."""
        process = subprocess.Popen(
            [sys.executable, str(self.program), "supervise", "--state", str(self.state), *options],
            stdin=subprocess.PIPE if tied else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
            cwd="/",
        )
        assert process.stdout is not None and process.stderr is not None  # noqa: S101 (opened above)
        with process.stdout, process.stderr:
            try:
                line = process.stdout.readline()
                message = json.loads(line) if line else {"error": "the supervisor did not start"}
                if "ready" in message:
                    self._process = process  # and with it the pipe that a tied cloud ends by
                    return message, []
                return message, process.stderr.read().decode(errors="replace").strip().splitlines()
            except BaseException:  # Ctrl-C above all
                process.terminate()
                process.wait()
                raise

    def _holder(self) -> int | None:
        """Process id of the lock's owner."""
        try:
            with (self.state / "cloud.lock").open("rb") as lock:
                try:
                    fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
                except BlockingIOError:
                    text = lock.read().strip()
                    return int(text) if text.isdigit() else None
        except (FileNotFoundError, NotADirectoryError):
            pass
        except OSError as error:
            raise self._unusable(error) from error
        return None

    def _claim_folder(self) -> None:
        try:
            self.state.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not any(self.state.iterdir()):
                (self.state / _MARKER).write_text(_MARKER_TEXT)
        except OSError as error:
            raise self._unusable(error) from error
        self._check_folder()
        try:
            make_private(self.state)
        except OSError as error:
            raise self._unusable(error) from error

    def _unusable(self, error: OSError) -> CloudError:
        cause = (error.strerror or str(error)).lower()
        return CloudError(
            f"The state folder {self.state} cannot be used: {cause}", "Choose another one with --state"
        )

    def _check_folder(self) -> None:
        if not (self.state / _MARKER).is_file():
            raise CloudError(
                f"The folder {self.state} contains something other than the state of an embedded cloud",
                "Choose an empty or new folder with --state",
            )

    def _choose_port(self, wanted: int | None) -> int:
        if wanted:
            if _is_free(wanted):
                return wanted
            raise CloudError(
                f"Port {wanted} is in use",
                "Choose another one with --port, or omit --port to use any free port",
            )
        # URLs of queues contain the port, so existing shells and stacks continue to work if it stays the
        # same.
        try:
            last = int(json.loads((self.state / "last.json").read_text())["port"])
        except (OSError, ValueError, KeyError, TypeError):
            last = 0
        if last and _is_free(last):
            return last
        with socket.create_server(("127.0.0.1", 0)) as server:
            return int(server.getsockname()[1])

    def _last_log_line(self) -> str:
        try:
            lines = (self.state / "cloud.log").read_text(errors="replace").strip().splitlines()
        except OSError:
            return ""
        return lines[-1][:300] if lines else ""


def _signal(process: int, number: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(process, number)


def _has_ended(process: int) -> bool:
    """Whether a process does not exist, or its parent has only not waited for it yet (Linux only)."""
    try:
        os.kill(process, 0)
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except ProcessLookupError:
        return True
    except OSError:
        return False


def _is_free(port: int) -> bool:
    try:
        with socket.create_server(("127.0.0.1", port)):
            return True
    except OSError:
        return False
