"""Fetches everything: `python -m toolchain`."""

from __future__ import annotations

import sys

from toolchain.errors import DownloadError
from toolchain.node_packages import node_packages
from toolchain.runner_libraries import runner_libraries


def main() -> int:
    """Fetch what is missing; returns the exit code."""
    try:
        node_packages()
        runner_libraries()
    except DownloadError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
