"""Engines: run a process inside an unpacked image, without Docker.

contract.py        the interface of an engine
choice.py          chooses an engine that works
memory.py          remembers the choice
direct.py          runs programs in the runner's own root file system: an assembled image
namespaces.py      the kernel's namespaces
udocker/           fakechroot and proot, if namespaces are not allowed (pulled mode)
helper/            programs between the runner and a container
helper_process.py  starts them
supervise.py       the caller's side of a run
usage.py           memory and CPU time of a run
network/           the network of a container
user.py            USER of an image, as Docker reads it
scratch.py         a private folder for one run
"""

from __future__ import annotations

from containers.engines.choice import choose_engine
from containers.engines.contract import ContainerProcess, ContainerResult, Engine

__all__ = ["ContainerProcess", "ContainerResult", "Engine", "choose_engine"]
