"""Third-party programs, each in its own virtual environment in `build/bench`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from benchmarks.measure import UnavailableError


def program(name: str, version: str) -> Path:
    """The program of the PyPI package with this name, installed if it is missing. Raises UnavailableError."""
    venv = Path(__file__).resolve().parents[1] / "build" / "bench" / name
    found = venv / "bin" / name
    if not found.exists():
        subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True)
        install = [str(venv / "bin/python"), "-m", "pip", "install", "--quiet", f"{name}=={version}"]
        if subprocess.run(install, stderr=subprocess.DEVNULL, check=False).returncode:
            raise UnavailableError(f"{name} {version} cannot be installed")
    return found
