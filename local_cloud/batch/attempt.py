"""One attempt of a Batch job: a container, its output in the log, its time limit."""

from __future__ import annotations

import logging
import os
import select
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from containers.errors import ErrorKind
from local_cloud.batch.logs import JobLog, LogGroupMissingError
from local_cloud.containers.processes import ContainerFailedError, RunningContainer
from local_cloud.containers.task import ContainerTask

_GRACE_S = 10
"""Between SIGTERM and SIGKILL for a job that is told to stop. (AWS gives 30 seconds.)"""
_CANNOT_START = "CannotStartContainerError"
_OUT_OF_MEMORY = "OutOfMemoryError: Container killed due to memory usage"
_NOT_THE_IMAGES_FAULT = (
    ErrorKind.CANNOT_START,
    ErrorKind.ENGINE_FAILED,
    ErrorKind.NO_ENGINE,
    ErrorKind.BAD_LIMITS,
    ErrorKind.UNKNOWN_USER,
    ErrorKind.BAD_CONFIGURATION,
)
_log = logging.getLogger("batch")


@dataclass
class Attempt:
    """One run of a job's container. `run` does it all; the other fields then say how it went."""

    job_id: str
    timeout_s: float | None
    task: Callable[[], ContainerTask]
    """Gives what to run, or raises ContainerFailedError."""
    task_arn: str
    lost: tuple[str, int | None]
    """Status reason and exit code if the host is lost: if somebody kills the container's keeper."""
    on_end: Callable[[], None]
    """Called when the container has ended, or did not start."""
    exit_code: int | None = None
    """None while it runs, and if it could not start."""
    reason: str | None = None
    """Why it could not start, or why it was killed."""
    stop_reason: str | None = None
    """What whoever stopped it said."""
    timed_out: bool = False
    host_lost: bool = False
    log_stream: str | None = None
    started_ms: int = 0
    stopped_ms: int = 0
    _container: RunningContainer | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def network(self) -> Mapping[str, str] | None:
        """Of the main node of a multi-node job that runs: where the other nodes find its network."""
        return None if self._container is None else self._container.network

    @property
    def succeeded(self) -> bool:
        """Whether the job's work is done."""
        return self.exit_code == 0 and self.stop_reason is None and not self.timed_out

    @property
    def status_reason(self) -> str:
        """What Batch says about the attempt's end."""
        if self.stop_reason is not None:
            return self.stop_reason
        if self.timed_out:
            return "Job attempt duration exceeded timeout"
        if self.host_lost:
            return self.lost[0]
        return "Task failed to start" if self.exit_code is None else "Essential container in task exited"

    def run(self, open_log: Callable[[], JobLog], on_running: Callable[[], None]) -> None:
        """Start the container, call `on_running`, and wait for its end. Nothing is raised."""
        try:
            job_log = open_log()
            self.log_stream = job_log.stream
            with self._lock:
                if self.stop_reason is None:
                    self.started_ms = now_ms()
                    self._container = RunningContainer(self.task(), grace_s=_GRACE_S)
            if self._container is not None:
                self._container.wait_until_started()
                self.started_ms = now_ms()
                on_running()
                with job_log:
                    exit_code = self._follow(self._container.process, job_log)
                if exit_code == -signal.SIGKILL:  # no container ends so: its keeper was killed
                    self.host_lost, self.exit_code = True, self.lost[1]
                else:
                    out_of_memory = self._container.check_end()
                    self.exit_code = exit_code
                    self.reason = _OUT_OF_MEMORY if out_of_memory else None
        except LogGroupMissingError as error:
            self.reason = f"ResourceInitializationError: {error}"
        except ContainerFailedError as error:
            if self.stop_reason is None:
                kind = _CANNOT_START if error.kind in _NOT_THE_IMAGES_FAULT else "CannotPullContainerError"
                self.reason = f"{kind}: {error.about_image}"
        except Exception as error:
            _log.exception("attempt of %s", self.job_id)
            self.reason = f"{_CANNOT_START}: {type(error).__name__}: {error}"
        finally:
            if self._container is not None:
                self._container.end()
            self.on_end()
            self.stopped_ms = now_ms()
            self.started_ms = self.started_ms or self.stopped_ms

    def stop(self, reason: str) -> None:
        """SIGTERM, and a little later SIGKILL, to everything that the attempt started."""
        with self._lock:
            self.stop_reason = self.stop_reason or reason
            self._terminate()

    def outcome(self) -> dict[str, Any]:
        """What a job's record says about the attempt's container."""
        known = {"exitCode": self.exit_code, "reason": self.reason, "logStreamName": self.log_stream}
        return {name: value for name, value in known.items() if value is not None}

    def _follow(self, process: subprocess.Popen[bytes], job_log: JobLog) -> int:
        """Read the process's output until it has ended; stop it when its time is up."""
        assert process.stdout is not None  # noqa: S101 (a container's is a pipe)
        deadline = None if self.timeout_s is None else time.monotonic() + self.timeout_s
        output = process.stdout.fileno()
        poll = select.poll()
        poll.register(output, select.POLLIN)
        while True:
            left_s = 0.5 if deadline is None else min(0.5, max(0.0, deadline - time.monotonic()))
            if poll.poll(left_s * 1000):
                data = os.read(output, 65536)
                if not data:
                    break
                job_log.write(data)
            else:
                job_log.flush()
            if deadline is not None and time.monotonic() >= deadline:
                deadline = None
                self._time_is_up()
        # A job may close its output and go on.
        try:
            return process.wait(None if deadline is None else max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            self._time_is_up()
            return process.wait()
        finally:
            process.stdout.close()

    def _time_is_up(self) -> None:
        with self._lock:
            self.timed_out = True
            self._terminate()

    def _terminate(self) -> None:
        if self._container is not None and self._container.process.poll() is None:
            self._container.process.send_signal(signal.SIGTERM)


def now_ms() -> int:
    """Milliseconds since the epoch, as Batch gives times."""
    return int(time.time() * 1000)
