"""An assembly in a process of its own, to be killed or measured.

python -m tests.faults.containers.assembly.assembly_process IMAGE REGISTRY REPOSITORY FOLDER

Prints the digest and the peak of the process' memory in KiB.
"""

from __future__ import annotations

import sys
from pathlib import Path

from containers.assembly import TargetRepository, Wanted, assemble
from tests.faults.containers.assembly.world import QUICK, package, small_runner


def main() -> None:
    image, registry, repository, folder = sys.argv[1:]
    wanted = Wanted(function="resize", package=package(), architecture="amd64", image=image)
    target = TargetRepository(registry, repository, patience=QUICK)
    done = assemble(wanted, target, small_runner(Path(folder)))
    # Not getrusage: its maximum counts the process from which this one was forked, too.
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmHWM:"):
            print(done.digest, line.split()[1])


if __name__ == "__main__":
    main()
