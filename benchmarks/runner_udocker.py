"""udocker as SCAR uses it: its engine F1 (fakechroot), in a virtual environment of its own.

udocker's own tools come in a tarball from its site. Debian's packages `fakechroot` and `patchelf` carry the
same parts for an image of the same Debian, and are laid out as that tarball has them.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from pathlib import Path

from benchmarks.installed import program
from benchmarks.measure import NotToBeHadError

VERSION = "1.3.17"
_TOOLS_VERSION = "1.2.11"


class Udocker:
    """udocker with a folder of its own under `folder`, which is empty but for the tools."""

    def __init__(self, folder: Path, registry: str) -> None:
        library = next(iter(Path("/usr/lib").glob("*/fakechroot/libfakechroot.so")), None)
        patchelf = shutil.which("patchelf")
        if library is None or patchelf is None:
            raise NotToBeHadError("udocker's tools: apt install fakechroot patchelf")
        self._program = str(program("udocker", VERSION))
        self._registry = registry
        machine = platform.machine()
        for name in ("lib", "bin", "home"):
            (folder / name).mkdir(parents=True)
        for distribution in ("-Debian-12", ""):  # the second, where udocker does not see what the image is
            shutil.copy(library, folder / f"lib/libfakechroot{distribution}-{machine}.so")
        (folder / "lib/VERSION").write_text(f"{_TOOLS_VERSION}\n")
        shutil.copy(patchelf, folder / f"bin/patchelf-{machine}")
        self._environment = {**os.environ, "UDOCKER_DIR": str(folder), "HOME": str(folder / "home")}

    def prepare(self, image: str) -> None:
        """pull, create, and the set-up of the engine."""
        place = [f"--registry={self._registry}", f"--index={self._registry}"]
        self._call("pull", *place, image)
        self._call("create", "--name=bench", image)
        self._call("setup", "--execmode=F1", "bench")

    def run(self, *command: str) -> None:
        """One run of the prepared container."""
        self._call("run", "bench", *command)

    def _call(self, *arguments: str) -> None:
        done = subprocess.run(
            [self._program, "--allow-root", "--insecure", "--quiet", *arguments],
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        if done.returncode:
            raise NotToBeHadError(
                f"udocker {arguments[0]} ended with {done.returncode}: {done.stdout[-300:]}"
            )
