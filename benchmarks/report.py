"""The report of a million runs: how long `scar report` takes, its memory, and the size of the file.

- `report_seconds_1m`: from the first page of the log to the written file, against the 60 s allowed
- `report_peak_rss_mb_1m`: memory at the peak, against the 500 MB allowed
- `report_size_mb_1m`: the file, against the 20 MB allowed

The log lines come from another process (`synthetic_runs`), page by page, as CloudWatch Logs returns them.
The requests to CloudWatch are not included.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks.measure import Comparison

_INPUTS = 327_869
"""Of the synthetic workflow, for which it has 1,000,000 runs."""
_SECONDS, _PEAK_RSS_MB, _SIZE_MB = 60.0, 500.0, 20.0
_HERE = Path(__file__).resolve().parent


def compare() -> Iterator[Comparison]:
    """Write one report."""
    with tempfile.TemporaryDirectory() as name:
        took, output = Path(name) / "took.json", Path(name) / "report.html"
        measure = [sys.executable, "-I", "-S", str(_HERE / "fan_out_process.py"), str(took)]
        command = [sys.executable, "-m", "benchmarks.report_process", str(_INPUTS), str(output)]
        subprocess.run([*measure, *command], cwd=_HERE.parent, check=True)
        measured = json.loads(took.read_text())
        if measured["status"]:
            raise RuntimeError("the report could not be written")
        size = output.stat().st_size / 1024**2
    yield Comparison.of("report_seconds_1m", measured["seconds"], _SECONDS, "s")
    yield Comparison.of("report_peak_rss_mb_1m", measured["peak_rss_mb"], _PEAK_RSS_MB, "MB")
    yield Comparison.of("report_size_mb_1m", size, _SIZE_MB, "MB")
