"""axe-core, which checks the accessibility of a page in a browser: `python -m tests.axe_core` fetches it.

The tests that use it are skipped where it could not be fetched.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

from toolchain.downloads import run_download
from toolchain.errors import DownloadError
from toolchain.node import bundled_node, npm_program

_LOCK = Path(__file__).with_name("axe-core")
_FOLDER = Path(__file__).resolve().parents[1] / "build" / "axe-core"
SCRIPT = _FOLDER / "node_modules" / "axe-core" / "axe.min.js"


def main() -> int:
    """Fetch the locked version."""
    node, npm = bundled_node(), npm_program()
    if node is None or npm is None:
        print("axe-core: Node is missing", file=sys.stderr)
        return 1
    shutil.rmtree(_FOLDER, ignore_errors=True)
    shutil.copytree(_LOCK, _FOLDER)
    environment = {**os.environ, "PATH": f"{node.parent}{os.pathsep}{os.environ.get('PATH', '')}"}
    command = [
        str(node),
        str(npm),
        "ci",
        "--no-audit",
        "--no-fund",
        "--no-update-notifier",
        "--loglevel=error",
    ]
    try:
        run_download(command, _FOLDER, environment, "axe-core with npm")
    except DownloadError as error:
        print(f"axe-core: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
