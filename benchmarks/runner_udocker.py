"""udocker as SCAR uses it: its engine F1 (fakechroot), in its own virtual environment.

udocker's own tools come in a tarball from its site. For an image of the same Debian release, the Debian
packages `fakechroot` and `patchelf` have the same parts. They are arranged as in that tarball.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from pathlib import Path

from benchmarks.installed import program
from benchmarks.measure import UnavailableError

VERSION = "1.3.17"
_TOOLS_VERSION = "1.2.11"


class Udocker:
    """udocker with its own folder under `folder`, which contains only the tools."""

    def __init__(self, folder: Path, registry: str) -> None:
        library = next(iter(Path("/usr/lib").glob("*/fakechroot/libfakechroot.so")), None)
        patchelf = shutil.which("patchelf")
        if library is None or patchelf is None:
            raise UnavailableError("udocker's tools: apt install fakechroot patchelf")
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
        """Pull, create, and set up the engine."""
        place = [f"--registry={self._registry}", f"--index={self._registry}"]
        self._call("pull", *place, image)
        self._call("create", "--name=bench", image)
        self._call("setup", "--execmode=F1", "bench")

    def run(self, *command: str) -> None:
        """Run the prepared container once."""
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
            raise UnavailableError(
                f"udocker {arguments[0]} ended with {done.returncode}: {done.stdout[-300:]}"
            )
