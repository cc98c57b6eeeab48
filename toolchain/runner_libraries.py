"""The wheels of `requirements-runner.txt`: compiled libraries for AWS Lambda's Python, both architectures.

They cannot be copied from the environment that synthesizes, which may have another Python, processor or
operating system.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from toolchain.downloads import fetched, run_download
from toolchain.errors import DownloadError

PYTHON_VERSION = "3.13"
"""The Python that the wheels are built for, which the functions run on."""

_REQUIREMENTS = Path(__file__).resolve().parent / "requirements-runner.txt"


def runner_libraries() -> list[Path]:
    """The wheels, in order of their names.

    Raises:
        DownloadError: pip cannot fetch them.
    """
    folder = fetched("runner-libraries", _REQUIREMENTS, "the runner's libraries for AWS Lambda", _download)
    return sorted(folder.glob("*.whl"))


def _download(folder: Path) -> None:
    digits = PYTHON_VERSION.replace(".", "")
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    python = ["--implementation", "cp", "--python-version", PYTHON_VERSION, "--abi", f"cp{digits}"]
    for machine in ("x86_64", "aarch64"):
        platforms = ["--platform", f"manylinux_2_28_{machine}", "--platform", f"manylinux2014_{machine}"]
        run_download(
            [
                *pip,
                *("--require-hashes", "--only-binary=:all:", *python, *platforms),
                *("-r", str(_REQUIREMENTS), "-d", str(folder)),
            ],
            folder,
            os.environ,
            "the runner's libraries with pip",
        )
    if not any(folder.iterdir()):
        raise DownloadError("pip downloaded none of the runner's libraries")
