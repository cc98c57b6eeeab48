"""Writes the report of many synthetic runs: `python -m benchmarks.report_process LOGS FILE`.

The logs are those that `synthetic_runs` has written to a folder.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.synthetic_runs import functions, pages
from scar_cli.main import GARBAGE_THRESHOLDS
from scar_cli.report.document import Asked, document
from scar_cli.report.page import render
from scar_cli.runs.reading import RunReader


class _Logs:
    """Answers FilterLogEvents."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._pages: Iterator[list[dict[str, Any]]] = iter(())

    def filter_log_events(self, **request: Any) -> dict[str, Any]:
        """The first page of a group, or the next one."""
        if "nextToken" not in request:
            self._pages = pages(self._folder, request["logGroupName"])
        page = next(self._pages, None)
        return {"events": page or [], **({"nextToken": "next"} if page else {})}


def main() -> None:
    """Read, sum up, write."""
    gc.set_threshold(*GARBAGE_THRESHOLDS)
    logs, output = Path(sys.argv[1]), Path(sys.argv[2])
    workflow = functions()
    overview = RunReader(workflow, {("logs", "eu-west-1"): _Logs(logs)}, 0).overview()
    content = document(overview, Asked("synthetic", "scar report"))
    output.write_text(render(content))


if __name__ == "__main__":
    main()
