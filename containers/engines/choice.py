"""Chooses the engine that works here. There are three, best first:

| name | how | needs |
|---|---|---|
| `namespaces` | namespaces of the kernel, overlayfs; as root or not | a kernel that allows them |
| `fakechroot` | a preloaded library rewrites paths | the library, built for the image's C library |
| `proot` | ptrace rewrites paths | proot, and permission to trace |

Names and versions do not show which one works: AWS Lambda, containers and hardened kernels deny different
steps. Each is therefore tried once, by `probe`, and `memory` stores the result.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from containers.engines import memory
from containers.engines.contract import ENGINE_NAMES, Engine, ProbeFailed
from containers.errors import ErrorKind, ExplainedError

Details = Mapping[str, str]
"""The details that an engine needs to work here."""


def choose_engine(store: Path, override: str | None = None) -> Engine:
    """The best engine that works here; `override` (SCAR_ENGINE) names the only one to consider.

    The finding is remembered in `store`. Raises ExplainedError (kind `NoEngine`, or `BadConfiguration` for an
    unknown name) with the reason for each engine that was tried.
    """
    if override and override not in ENGINE_NAMES:
        raise ExplainedError(
            f"SCAR_ENGINE is '{override}', which is not an engine",
            advice=f"Use one of {', '.join(ENGINE_NAMES)}, or leave it unset",
            kind=ErrorKind.BAD_CONFIGURATION,
        )
    circumstances = memory.circumstances_of(override)
    remembered = memory.recall(store, circumstances)
    if remembered is not None:
        name, details = remembered
        return _engine(name)[1](store, details)
    reasons: list[str] = []
    for name in (override,) if override else ENGINE_NAMES:
        probe, make = _engine(name)
        try:
            found = probe(store)
        except ProbeFailed as failure:
            reasons.append(f"{name}: {failure}")
            continue
        memory.remember(store, circumstances, name, found)
        return make(store, found)
    raise ExplainedError(
        f"no engine can run containers here ({'; '.join(reasons)})",
        advice="On AWS, set `runtime: image`, or deploy again with udocker's tools: with UDOCKER_TARBALL "
        "set, or with -c udocker_tools=download; elsewhere allow user namespaces",
        kind=ErrorKind.NO_ENGINE,
    )


def _engine(name: str) -> tuple[Callable[[Path], Details], Callable[[Path, Details], Engine]]:
    """The function that determines the details of an engine here, or raises ProbeFailed; and the function
    that creates the engine from them."""
    if name == "namespaces":
        from containers.engines.namespaces import NamespacesEngine, probe_namespaces

        return probe_namespaces, NamespacesEngine
    if name == "fakechroot":
        from containers.engines.udocker.fakechroot import FakechrootEngine, probe_fakechroot

        return probe_fakechroot, FakechrootEngine
    from containers.engines.udocker.proot import ProotEngine, probe_proot

    return probe_proot, ProotEngine
