"""Which engine works here. Three are known, best first:

| name | how | needs |
|---|---|---|
| `namespaces` | namespaces of the kernel, overlayfs; as root or not | a kernel that allows them |
| `fakechroot` | a preloaded library rewrites paths | the library, built for the image's C library |
| `proot` | ptrace rewrites paths | proot, and permission to trace |

Names and versions do not tell which one works: AWS Lambda, containers and hardened kernels refuse different
steps. So each is tried once, by `probe`, and `memory` keeps the answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from containers.engines import memory
from containers.engines.contract import ENGINE_NAMES, Engine, ProbeFailed
from containers.errors import ErrorKind, ExplainedError


def choose_engine(store: Path, override: str | None = None) -> Engine:
    """The best engine that works here; `override` (SCAR_ENGINE) names the only one to consider.

    The finding is remembered in `store`. Raises ExplainedError (kind `NoEngine`, or `BadConfiguration` for an
    unknown name) with the reason for each engine that was tried.
    """
    if override and override not in ENGINE_NAMES:
        raise ExplainedError(
            f"SCAR_ENGINE is '{override}', which is no engine",
            advice=f"Use one of {', '.join(ENGINE_NAMES)}, or leave it unset",
            kind=ErrorKind.BAD_CONFIGURATION,
        )
    circumstances = memory.circumstances_of(override)
    remembered = memory.recall(store, circumstances)
    if remembered is not None:
        return _restore(store, *remembered)
    reasons: list[str] = []
    for name in (override,) if override else ENGINE_NAMES:
        try:
            details = _probe(store, name)
        except ProbeFailed as failure:
            reasons.append(f"{name}: {failure}")
            continue
        memory.remember(store, circumstances, name, details)
        return _restore(store, name, details)
    raise ExplainedError(
        f"no engine can run containers here ({'; '.join(reasons)})",
        advice="On AWS, set `runtime: image`, or deploy again with udocker's tools: with UDOCKER_TARBALL "
        "set, or with -c udocker_tools=download; elsewhere allow user namespaces",
        kind=ErrorKind.NO_ENGINE,
    )


def _probe(store: Path, name: str) -> Mapping[str, str]:
    """What the engine needs to know to work here. Raises ProbeFailed."""
    if name == "namespaces":
        from containers.engines.namespaces import probe_namespaces

        return probe_namespaces(store)
    if name == "fakechroot":
        from containers.engines.udocker.fakechroot import probe_fakechroot

        return probe_fakechroot(store)
    from containers.engines.udocker.proot import probe_proot

    return probe_proot(store)


def _restore(store: Path, name: str, details: Mapping[str, str]) -> Engine:
    if name == "namespaces":
        from containers.engines.namespaces import NamespacesEngine

        return NamespacesEngine(store, details)
    if name == "fakechroot":
        from containers.engines.udocker.fakechroot import FakechrootEngine

        return FakechrootEngine(store, details)
    from containers.engines.udocker.proot import ProotEngine

    return ProotEngine(store, details)
