"""One assembly in a process of its own, as in the custom resource's function.

    python -m benchmarks.assembly_process IMAGE REGISTRY REPOSITORY SCRIPT

SCRIPT is the text of the function's script. Prints bytes sent, and the peak of the process' memory in KiB.
"""

from __future__ import annotations

import io
import sys
import zipfile
from pathlib import Path

from containers.assembly import TargetRepository, Wanted, assemble, this_runner


def main() -> None:
    """Do it."""
    image, registry, repository, script = sys.argv[1:]
    package = io.BytesIO()
    with zipfile.ZipFile(package, "w") as archive:
        archive.writestr("function_config.json", "{}")
        archive.writestr("init_script", script)
    wanted = Wanted(function="bench", package=package, architecture="amd64", image=image)
    done = assemble(wanted, TargetRepository(registry, repository), this_runner())
    # Not getrusage: its maximum counts the process from which this one was forked, too.
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmHWM:"):
            print(done.bytes_sent, line.split()[1])


if __name__ == "__main__":
    main()
