"""Engines: run a process inside an unpacked image, without Docker.

`engine` says what an engine is and finds one that works. `namespaces` is the kernel's way; `fakechroot` and
`proot` (with `udocker`, `udocker_tools`, `prepared_root` and `elf`, which both need) serve where namespaces
are refused. Each starts a small helper program (package `helper`) which sets the container up, watches over
its processes, and ends with its caller; `helper_process` starts it, and `supervise` is the caller's side of a
run. `network` (with `forwarding` and `outgoing`) serves a container's own network; `orphans` ends what a
container without a PID namespace leaves behind. `user` reads USER as Docker
does, `scratch` gives each run a private folder that does not outlive it.
"""

from __future__ import annotations

from runtime.engines.engine import ContainerProcess, ContainerResult, Engine, choose_engine

__all__ = ["ContainerProcess", "ContainerResult", "Engine", "choose_engine"]
