"""The containers of image functions and Batch jobs; each is a process of its own (container_host.py)."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from containers.errors import ErrorKind
from local_cloud.containers.task import ContainerTask

_INHERITED = (
    "PATH",
    "HOME",
    "LANG",
    "LC_ALL",
    "TMPDIR",
    "SSL_CERT_FILE",
    "REQUESTS_CA_BUNDLE",
    "SCAR_STORE",
    "SCAR_REGISTRY_MIRRORS",
)
_INHERITED_ANY_CASE = ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY")
_READY_WITHIN_S = 1800.0
"""For an image of 10 GB on a slow disk."""


class ContainerFailedError(Exception):
    """The container was not started; `kind` is that of the ExplainedError."""

    def __init__(self, kind: ErrorKind, message: str, image: str = "") -> None:
        super().__init__(message)
        self.kind = kind
        self.about_image = message if image in message else f"{image}: {message}"


class RunningContainer:
    """A container that has been started; its standard output and error are `process.stdout`.

    SIGTERM to `process` ends all of it: after `grace_s` seconds in which its own processes may react to a
    SIGTERM, or at once. It ends, too, when this process does.
    """

    def __init__(self, task: ContainerTask, *, grace_s: float = 0.0) -> None:
        status, theirs = os.pipe()
        self._image = task.image
        self._status = status
        self._lines = b""
        self.network: Mapping[str, str] | None = None
        """Of the main node of a multi-node job: see `JobNode.main`."""
        try:
            self.process = subprocess.Popen(
                [
                    *(sys.executable, str(Path(__file__).parents[1]), "contain", str(theirs)),
                    *("--grace", str(grace_s)),
                ],
                stdin=subprocess.PIPE,  # the leash, after the task
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env=_environment(),
                cwd="/",
                pass_fds=[theirs],
                start_new_session=True,
            )
        except BaseException:
            os.close(status)
            raise
        finally:
            os.close(theirs)
        assert self.process.stdin is not None  # noqa: S101 (opened above)
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.write(json.dumps(asdict(task)).encode() + b"\n")
            self.process.stdin.flush()

    def wait_until_started(self) -> None:
        """Wait until the image is unpacked, and its command is about to run.

        Raises:
            ContainerFailedError: it cannot be.
        """
        event = self._next_event(_READY_WITHIN_S)
        if event.get("event") != "started":
            raise self._failure(event)
        self.network = event.get("network")

    def failure(self) -> ContainerFailedError | None:
        """Why the command was not run, once the process has ended."""
        event = self._next_event(1.0)
        return self._failure(event) if event.get("event") == "failed" else None

    def check_end(self) -> bool:
        """Whether the container was killed because it used more memory than its limit; once the process has
        ended.

        Raises:
            ContainerFailedError: the command could not be run.
        """
        event = self._next_event(1.0)
        if event.get("event") == "failed":
            raise self._failure(event)
        return bool(event.get("out_of_memory"))

    def end(self) -> None:
        """Kill the remaining processes, and release everything."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()
        if self._status >= 0:
            os.close(self._status)
            self._status = -1

    def _failure(self, event: dict[str, Any]) -> ContainerFailedError:
        return ContainerFailedError(
            ErrorKind(event.get("kind", ErrorKind.ENGINE_FAILED)),
            event.get("message", "the process that starts the container ended without an error message"),
            self._image,
        )

    def _next_event(self, within_s: float) -> dict[str, Any]:
        deadline = time.monotonic() + within_s
        while b"\n" not in self._lines:
            poll = select.poll()
            poll.register(self._status, select.POLLIN)
            if not poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
                return {}
            piece = os.read(self._status, 65536)
            if not piece:
                return {}
            self._lines += piece
        line, _, self._lines = self._lines.partition(b"\n")
        event: dict[str, Any] = json.loads(line)
        return event


def _environment() -> dict[str, str]:
    """Of the program that starts the container; nothing of it is seen inside."""
    return {
        name: value
        for name, value in os.environ.items()
        if name in _INHERITED or name.upper() in _INHERITED_ANY_CASE
    }
