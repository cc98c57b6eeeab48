"""The interface of an engine, which runs one process tree inside an unpacked image."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from containers.errors import ErrorKind, ExplainedError

ENGINE_NAMES = ("namespaces", "fakechroot", "proot")
CUT_OFF = "own, without connections to the outside"
SHARED = "shared with this machine"
"""How `ContainerResult.network` begins; the reason follows."""


class Root(Protocol):
    """The root file system that a process sees."""

    @property
    def path(self) -> Path:
        """Where it is."""


@dataclass(frozen=True)
class ContainerProcess:
    """The process to run, and its surroundings.

    `argv[0]` is a path in the image or a name to look up in `env`'s PATH. `env` is complete: only missing
    PATH and HOME are added, as in Docker; `spare_home`, if given, is HOME if the image's is not writable.
    `binds`, `read_only` and `shared` map host paths to paths in the container: folders of this run only,
    whose owner becomes the container's user; folders that it may only read; and folders that are used by
    others, too, and keep their owners and modes. `host_ports` are addresses and ports of this machine's
    loopback interface. If they are given, and the engine supports it, the container has its own network, in
    which only these ports of this machine are reachable, at the same address; otherwise it shares the network
    of the runner. `deadline` is a value of `time.monotonic()`. `on_output` receives standard output and
    standard error, mixed, as they are written; the process blocks until it returns. With `on_error_output`,
    standard error is passed there instead. With `output`, a
    descriptor, both are written there, and the listener receives only the reason why the program was not
    started. With `lambda_tmp_mib`, the container is like one of AWS Lambda: the root is read-only, and only
    /tmp, empty and of this size in MiB, is writable. With `read_only_root`, it is like one of `docker run
    --read-only`: /tmp is part of the read-only root, and only /dev and /dev/shm are writable. `on_network`
    receives the id of a process in the container's own network, before the program starts. Only the
    namespaces engine supports the last four. With `measured`, the result contains memory and CPU time.
    """

    root: Root
    argv: Sequence[str]
    env: Mapping[str, str]
    working_dir: str
    user: str
    binds: Mapping[Path, str]
    deadline: float | None
    on_output: Callable[[bytes], None]
    on_error_output: Callable[[bytes], None] | None = None
    read_only: Mapping[Path, str] = field(default_factory=dict)
    shared: Mapping[Path, str] = field(default_factory=dict)
    host_ports: Sequence[tuple[str, int]] | None = None
    output: int | None = None
    spare_home: str | None = None
    lambda_tmp_mib: int | None = None
    read_only_root: bool = False
    on_network: Callable[[int], None] | None = None
    measured: bool = False

    @property
    def all_binds(self) -> dict[Path, str]:
        """All folders that are seen inside, for engines that cannot mount."""
        return {**self.binds, **self.read_only, **self.shared}


@dataclass(frozen=True)
class ContainerResult:
    """How it ended: with `exit_code`, or by `signal`; `timed_out` if because of the deadline.

    `network` describes its network, if `host_ports` were given. If it was `measured`, `cpu_s` is the CPU time
    of all its processes in seconds, and `memory_bytes` their peak memory (see `usage.py`); None: unknown.
    """

    exit_code: int | None
    signal: int | None
    timed_out: bool
    duration_s: float
    network: str = ""
    cpu_s: float | None = None
    memory_bytes: int | None = None

    @property
    def cut_off(self) -> bool:
        """It could not reach the world outside this machine."""
        return self.network.startswith(CUT_OFF)


class Engine(Protocol):
    """Something that runs containers."""

    @property
    def name(self) -> str:
        """One of ENGINE_NAMES."""

    def run(self, process: ContainerProcess) -> ContainerResult:
        """Run to the end. After this returns or raises, no process of the container remains.

        A program that cannot be started gives exit code 127 (missing) or 126 (not executable) and a line of
        output with the reason, as with Docker. ExplainedError is raised if the container cannot be set up.
        """


def check_process(process: ContainerProcess) -> None:
    """ExplainedError (kind `BadConfiguration`) for a request that no system call accepts."""
    texts = [*process.argv, *process.env, *process.env.values(), process.working_dir]
    named = bool(process.argv and process.argv[0]) and not any(not k or "=" in k for k in process.env)
    if not named or not all(map(_can_be_passed, texts)):
        raise ExplainedError(
            "the command or an environment variable cannot be passed to a program: "
            "it is empty, or contains a null byte or half a surrogate pair, or a variable's name contains "
            "'='",
            advice="Correct the command, the script's arguments or the function's variables",
            kind=ErrorKind.BAD_CONFIGURATION,
        )
    if not process.working_dir.startswith("/") and process.working_dir:
        raise ExplainedError(
            f"the working directory '{process.working_dir}' is not absolute",
            advice="Correct WORKDIR in the image's Dockerfile",
            kind=ErrorKind.BAD_IMAGE,
        )


def _can_be_passed(text: str) -> bool:
    try:
        return b"\0" not in os.fsencode(text)
    except UnicodeEncodeError:  # JSON of an image or an event may contain a lone surrogate
        return False


class ProbeFailed(Exception):  # noqa: N818 - a finding, not an error of the program
    """This engine does not work here; the text contains the reason."""
