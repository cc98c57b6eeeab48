"""A clock of the emulator and its Lambda workers that can be moved while they run.

The C compiler makes a library of `clock.c`, which `program/` loads into the emulator and, as they inherit its
environment, into the workers. Containers have the real clock.
"""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
from dataclasses import dataclass
from pathlib import Path

VARIABLE, LIBRARY = "SCAR_TEST_CLOCK", "SCAR_TEST_CLOCK_LIBRARY"
_SOURCE = Path(__file__).with_name("clock.c")


@dataclass(frozen=True)
class Clock:
    """A clock that is right at first."""

    file: Path
    library: Path

    @classmethod
    def make(cls, folder: Path) -> Clock | None:
        """Compile it; None if there is no C compiler."""
        compiler = shutil.which("cc") or shutil.which("gcc")
        if compiler is None:
            return None
        clock = cls(folder / "clock", folder / "clock.so")
        clock.move(0)
        subprocess.run(
            [compiler, "-shared", "-fPIC", "-O2", "-o", str(clock.library), str(_SOURCE), "-ldl"], check=True
        )
        return clock

    def move(self, seconds: int) -> None:
        """Make it wrong by so many seconds, from now on."""
        with self.file.open("r+b" if self.file.exists() else "wb", buffering=0) as file:
            file.write(struct.pack("=q", seconds))

    @property
    def variables(self) -> dict[str, str]:
        """For a cloud with this clock."""
        return {VARIABLE: str(self.file), LIBRARY: str(self.library)}


def run_with_clock(arguments: list[str]) -> None:
    """Run a program in place of this one with the clock that the environment names, if any."""
    library = os.environ.get(LIBRARY)
    if library is not None and "LD_PRELOAD" not in os.environ:
        os.execve(arguments[0], arguments, {**os.environ, "LD_PRELOAD": library})
