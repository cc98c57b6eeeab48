"""What an engine is, and how one that works here is found.

An engine runs one process tree inside an unpacked image. Three are known, best first:

| name | how | needs |
|---|---|---|
| `namespaces` | user, mount, PID and IPC namespaces, overlayfs; as root or not | a kernel that allows them |
| `fakechroot` | a preloaded library rewrites paths | the library, built for the image's C library |
| `proot` | ptrace rewrites paths | proot, and leave to trace |

Which one works cannot be told from names and versions: AWS Lambda, containers and hardened kernels refuse
different steps. So each is tried for real (`probe`), once; the answer is kept in the store and read back in
well under a millisecond.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from runtime.bounded_json import read_json
from runtime.errors import RunnerError

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
    """What to run, and where.

    `argv[0]` is a path in the image or a name to look up in `env`'s PATH. `env` is complete: nothing is added
    but PATH and HOME where they are missing, as Docker does. `binds`, `read_only` and `shared` map host paths
    to the paths at which they are seen inside: folders of this run alone, which are given to the container's
    user; folders that it may only read; and folders that others use, too, which keep their owners and modes.
    `host_ports` are addresses and ports of this machine's loopback interface. If they are given, the
    container gets a network of its own where the engine can make one, in which of this machine only these
    ports are reachable, at the same address; else it shares the network of the runner. `deadline` is a value
    of `time.monotonic()`. `on_output` is given standard output and standard error, mixed, as they come; while
    it does not return, the process is held up. With `on_error_output`, standard error goes there instead.
    With `output`, a descriptor, both go there, and the
    listener is told only why the program was not started. With `lambda_tmp_mib` the container is like one of
    AWS Lambda: the root is read-only, and only /tmp, fresh and of this size in MiB, can be written to. Only
    the namespaces engine does the last two.
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
    lambda_tmp_mib: int | None = None

    @property
    def all_binds(self) -> dict[Path, str]:
        """All folders that are seen inside, for engines that cannot mount."""
        return {**self.binds, **self.read_only, **self.shared}


@dataclass(frozen=True)
class ContainerResult:
    """How it ended: by `exit_code`, or by `signal`; `timed_out` if the deadline made it end.

    `network` says which network it had, in words, if `host_ports` were given.
    """

    exit_code: int | None
    signal: int | None
    timed_out: bool
    duration_s: float
    network: str = ""

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
        """Run to the end. When this returns or raises, no process of the container is left.

        A program that cannot be started gives exit code 127 (missing) or 126 (not executable) and a line of
        output that says why, as with Docker. RunnerError is raised if the container cannot be set up.
        """


def check_process(process: ContainerProcess) -> None:
    """RunnerError (kind `BadConfiguration`) for a request that no system call can take."""
    texts = [*process.argv, *process.env, *process.env.values(), process.working_dir]
    named = bool(process.argv and process.argv[0]) and not any(not k or "=" in k for k in process.env)
    if not named or not all(map(_can_be_passed, texts)):
        raise RunnerError(
            "the command or an environment variable cannot be passed to a program: "
            "it is empty, or holds a null byte or half a surrogate pair, or a variable's name holds '='",
            advice="Correct the command, the script's arguments or the function's variables",
            kind="BadConfiguration",
        )
    if not process.working_dir.startswith("/") and process.working_dir:
        raise RunnerError(
            f"the working directory '{process.working_dir}' is not absolute",
            advice="Correct WORKDIR in the image's Dockerfile",
            kind="BadImage",
        )


def _can_be_passed(text: str) -> bool:
    try:
        return b"\0" not in os.fsencode(text)
    except UnicodeEncodeError:  # JSON, of an image or an event, may hold a lone surrogate
        return False


class ProbeFailed(Exception):  # noqa: N818 - a finding, not an error of the program
    """This engine does not work here; the text says why."""


def choose_engine(store: Path, override: str | None = None) -> Engine:
    """The best engine that works here; `override` (SCAR_ENGINE) names the only one to consider.

    The finding is remembered in `store`. Raises RunnerError (kind `NoEngine`, or `BadConfiguration` for an
    unknown name) with the reason for each engine that was tried.
    """
    if override and override not in ENGINE_NAMES:
        raise RunnerError(
            f"SCAR_ENGINE is '{override}', which is no engine",
            advice=f"Use one of {', '.join(ENGINE_NAMES)}, or leave it unset",
            kind="BadConfiguration",
        )
    circumstances = _circumstances(override)
    remembered = _recall(store, circumstances)
    if remembered is not None:
        return _restore(store, *remembered)
    reasons: list[str] = []
    for name in (override,) if override else ENGINE_NAMES:
        try:
            details = _probe(store, name)
        except ProbeFailed as failure:
            reasons.append(f"{name}: {failure}")
            continue
        _remember(store, circumstances, name, details)
        return _restore(store, name, details)
    raise RunnerError(
        f"no way to run containers works here ({'; '.join(reasons)})",
        advice="On AWS, deploy again with udocker's tools: with UDOCKER_TARBALL set, or with -c "
        "udocker_tools=download; elsewhere allow user namespaces",
        kind="NoEngine",
    )


def forget_engine(store: Path) -> None:
    """Probe again next time: what was found does not hold any more."""
    for memory in store.glob("engine*.json"):
        memory.unlink(missing_ok=True)


def _probe(store: Path, name: str) -> Mapping[str, str]:
    """What the engine needs to know to work here. Raises ProbeFailed."""
    if name == "namespaces":
        from runtime.engines.namespaces import probe_namespaces

        return probe_namespaces(store)
    if name == "fakechroot":
        from runtime.engines.fakechroot import probe_fakechroot

        return probe_fakechroot(store)
    from runtime.engines.proot import probe_proot

    return probe_proot(store)


def _restore(store: Path, name: str, details: Mapping[str, str]) -> Engine:
    if name == "namespaces":
        from runtime.engines.namespaces import NamespacesEngine

        return NamespacesEngine(store, details)
    if name == "fakechroot":
        from runtime.engines.fakechroot import FakechrootEngine

        return FakechrootEngine(store, details)
    from runtime.engines.proot import ProotEngine

    return ProotEngine(store, details)


def _circumstances(override: str | None) -> dict[str, str]:
    """What a finding depends on: the store may lie on a file system shared by machines, or outlive a
    deployment."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        boot = ""
    tools = ("SCAR_UDOCKER_TOOLS", "UDOCKER_DIR", "UDOCKER_FAKECHROOT_SO", "UDOCKER_USE_PROOT_EXECUTABLE")
    return {
        "boot": boot,
        "user": str(os.geteuid()),
        "override": override or "",
        "runner": __file__,
        "namespaces": " ".join(_namespace_ids()),
        **{name: os.environ.get(name, "") for name in tools},
    }


def _namespace_ids() -> list[str]:
    """A jail on the same machine has namespaces of its own, and may refuse what the machine allows."""
    ids: list[str] = []
    for name in ("user", "mnt"):
        try:
            ids.append(str(Path(f"/proc/self/ns/{name}").readlink()))
        except OSError:
            ids.append("")
    return ids


def _memory(store: Path, circumstances: Mapping[str, str]) -> Path:
    # One for each override, as the embedded cloud's containers and the runner share a store.
    override = circumstances["override"]
    return store / (f"engine-{override}.json" if override else "engine.json")


def _recall(store: Path, circumstances: Mapping[str, str]) -> tuple[str, dict[str, str]] | None:
    try:
        with _memory(store, circumstances).open("rb") as file:
            # In a shared /tmp somebody else could have put a file there that names a program of theirs.
            if os.fstat(file.fileno()).st_uid != os.geteuid():
                return None
            content = read_json(file.read())
        if content["circumstances"] == circumstances and content["engine"] in ENGINE_NAMES:
            return content["engine"], {str(k): str(v) for k, v in content["details"].items()}
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        pass
    return None


def _remember(store: Path, circumstances: Mapping[str, str], name: str, details: Mapping[str, str]) -> None:
    memory = _memory(store, circumstances)
    temporary = memory.with_suffix(f".{secrets.token_hex(4)}")
    try:
        store.mkdir(parents=True, exist_ok=True)
        temporary.write_text(
            json.dumps({"circumstances": dict(circumstances), "engine": name, "details": dict(details)})
        )
        temporary.replace(memory)
    except OSError:  # then the next run probes again
        temporary.unlink(missing_ok=True)
