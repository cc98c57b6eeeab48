"""Writes the report of many synthetic runs: `python -m benchmarks.report_process INPUTS FILE`.

The lines come from `synthetic_runs` in another process, page by page, as CloudWatch Logs would return them.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from benchmarks.synthetic_runs import functions
from scar_cli.report.document import Asked, document
from scar_cli.report.page import render
from scar_cli.runs.reading import FunctionRuns
from scar_cli.runs.summary import Overview

_PAGE = 1000
"""Lines of a response of CloudWatch, which has at most 1 MB."""


class _Logs:
    """Answers FilterLogEvents."""

    def __init__(self, inputs: int) -> None:
        self._inputs = inputs
        self._pages: Iterator[list[dict[str, Any]]] = iter(())

    def filter_log_events(self, **request: Any) -> dict[str, Any]:
        """The first page of a group, or the next one."""
        if "nextToken" not in request:
            self._pages = self._read(request["logGroupName"])
        page = next(self._pages, None)
        return {"events": page or [], **({"nextToken": "next"} if page else {})}

    def _read(self, group: str) -> Iterator[list[dict[str, Any]]]:
        command = [sys.executable, "-m", "benchmarks.synthetic_runs", group, str(self._inputs)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            while page := list(islice(process.stdout, _PAGE)):
                parts = (line.split("\t", 2) for line in page)
                yield [
                    {"timestamp": int(time), "logStreamName": stream, "message": text}
                    for time, stream, text in parts
                ]


def main() -> None:
    """Read, sum up, write."""
    inputs, output = int(sys.argv[1]), Path(sys.argv[2])
    workflow = functions()
    overview = Overview(workflow)
    clients = {("logs", "eu-west-1"): _Logs(inputs)}
    for function in workflow:
        for run in FunctionRuns(function, 0).read(clients):
            overview.add(run)
    content = document(overview, Asked("synthetic", "scar report"))
    output.write_text(render(content))


if __name__ == "__main__":
    main()
