"""The commands that a user would run: `cdk deploy`, `scar put` and `scar report`."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

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


def report(fdl: Path, target: Path) -> dict[str, Any]:
    """Write the report of all runs to an HTML file, and its numbers to a JSON file beside it; returns these.

    Raises:
        ProgramError: `scar report` fails.
    """
    numbers = target.with_suffix(".json")
    for more in (["-o", str(target)], ["--json", "-o", str(numbers)]):
        run_program(
            [sys.executable, "-m", "scar_cli", "report", "-f", str(fdl), *more],
            folder=REPOSITORY,
            log=target.with_name("report.log"),
            timeout_s=_WITHIN_S,
        )
    content: dict[str, Any] = json.loads(numbers.read_text(encoding="utf-8"))
    return content
