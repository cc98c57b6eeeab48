"""Engines: run a process inside an unpacked image, without Docker.

`contract` says what an engine is; `choice` finds one that works, and `memory` keeps the finding. `direct`
runs programs in the root file system that the runner is part of: an assembled image. `namespaces` uses the
kernel's namespaces; in pulled mode, `fakechroot` and `proot` (with `udocker`, `udocker_tools`,
`prepared_root` and `elf`, which both need) replace it where namespaces are not allowed. Each engine except
`direct` starts a small helper program (package `helper`) which sets the container up, watches over its
processes, and ends with its caller; `helper_process` starts it, and `supervise` is the caller's side of a
run. `network` (with `forwarding` and `outgoing`) serves a container's own network; `orphans` ends what a
container without a PID namespace leaves behind. `user` reads USER as Docker does, `scratch` gives each run a
private folder that does not outlive it.
"""

from __future__ import annotations

from containers.engines.choice import choose_engine
from containers.engines.contract import ContainerProcess, ContainerResult, Engine

__all__ = ["ContainerProcess", "ContainerResult", "Engine", "choose_engine"]
