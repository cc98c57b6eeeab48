"""Python interpreters of this machine, other than the one that runs the tests."""

from __future__ import annotations

import shutil
import subprocess
from functools import cache
from pathlib import Path


@cache
def find_python(version: str) -> Path | None:
    """The real file of a Python of that version ("3.13"), or None. pyenv's are found even if not chosen."""
    installed = sorted(Path.home().glob(f".pyenv/versions/{version}*/bin/python{version}"))
    named = shutil.which(f"python{version}")
    for candidate in ([Path(named)] if named else []) + installed:
        asked = subprocess.run(
            [candidate, "-I", "-S", "-c", "import os, sys; print(os.path.realpath(sys.executable))"],
            capture_output=True,
            text=True,
            check=False,
        )
        if asked.returncode == 0:
            return Path(asked.stdout.strip())
    return None
