"""The commands that a user would run: `cdk deploy` and `scar put`."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path

from processes import run_program

REPOSITORY = Path(__file__).resolve().parents[2]
_WITHIN_S = 30 * 60.0
_PROGRESS = re.compile(r"\|\s*(?P<count>\d+/\d+)\s*\|[^|]*\|[^|]*\|\s*(?P<type>\S+)\s*\|")
"""A line of `cdk deploy`: stack | 12/50 | time | state | type | name."""


def deploy(fdl: Path, folder: Path, note: Callable[[str], None]) -> None:
    """Deploy an FDL file with the CDK CLI; `note` receives its progress. Its log goes into `folder`.

    Raises:
        ProgramError: The deployment fails.
    """

    def show(line: str) -> None:
        if found := _PROGRESS.search(line):
            note(f"{found['count']} {found['type']}")

    words = ["deploy", "-c", f"fdl={fdl.relative_to(REPOSITORY)}", "--require-approval", "never"]
    run_program(
        [
            str(Path(sys.executable).with_name("cdk")),
            *words,
            "--progress",
            "events",
            "--output",
            str(folder / "cdk.out"),
        ],
        folder=REPOSITORY,
        log=folder / "deploy.log",
        timeout_s=_WITHIN_S,
        on_line=show,
    )
    note("")


def put(file: Path, path: str, folder: Path) -> None:
    """Upload a file to `bucket/folder` with `scar put`. Raises ProgramError if it fails."""
    run_program(
        [sys.executable, "-m", "scar_cli", "put", "-b", path, "-p", str(file)],
        folder=REPOSITORY,
        log=folder / "put.log",
        timeout_s=_WITHIN_S,
    )
