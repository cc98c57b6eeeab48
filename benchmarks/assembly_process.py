"""One assembly in a process of its own, as in the custom resource's function.

    python -m benchmarks.assembly_process IMAGE REGISTRY REPOSITORY SCRIPT

SCRIPT is the text of the function's script. Prints bytes sent, and the peak of the process' memory in KiB.
"""

from __future__ import annotations

import io
import sys
import zipfile

from benchmarks.runner_process import peak_kib
from containers.assembly import TargetRepository, Wanted, assemble, this_runner


def main() -> None:
    """Assemble the image."""
    image, registry, repository, script = sys.argv[1:]
    package = io.BytesIO()
    with zipfile.ZipFile(package, "w") as archive:
        archive.writestr("function_config.json", "{}")
        archive.writestr("init_script", script)
    wanted = Wanted(function="bench", package=package, architecture="amd64", image=image)
    done = assemble(wanted, TargetRepository(registry, repository), this_runner())
    print(done.bytes_sent, peak_kib())


if __name__ == "__main__":
    main()
