"""The report of a million runs: how long `scar report` takes, its memory, the size of the file, and its page.

- `report_seconds_1m`: from the first page of the log to the written file, against the 60 s allowed
- `report_peak_rss_mb_1m`: memory at the peak, against the 500 MB allowed
- `report_size_mb_1m`: the file, against the 20 MB allowed
- `report_opens_seconds_1m`: until Chromium shows the whole page, against the 3 s allowed
- `report_zooms_seconds_1m`: from the whole timeline to single runs with the wheel, against the 3 s allowed

The log lines come page by page, as CloudWatch Logs returns them, but from files, which are written before
(`synthetic_runs`): the requests to CloudWatch are not included.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks.measure import Comparison
from benchmarks.synthetic_runs import functions
from scar_cli.aws.logs import groups
from tests.chromium import CHROMIUM, opened

_INPUTS = 327_869
"""Of the synthetic workflow, for which it has 1,000,000 runs."""
_SECONDS, _PEAK_RSS_MB, _SIZE_MB, _PAGE_SECONDS = 60.0, 500.0, 20.0, 3.0
_HERE = Path(__file__).resolve().parent


def compare() -> Iterator[Comparison]:
    """Write one report."""
    with tempfile.TemporaryDirectory() as name:
        logs = Path(name) / "logs"
        logs.mkdir()
        took, output = Path(name) / "took.json", Path(name) / "report.html"
        measure = [sys.executable, "-I", "-S", str(_HERE / "fan_out_process.py"), str(took)]
        write_logs = [sys.executable, "-m", "benchmarks.synthetic_runs", str(logs)]
        for group in (group for function in functions() for group in groups(function)):
            subprocess.run([*write_logs, group, str(_INPUTS)], cwd=_HERE.parent, check=True)
        command = [sys.executable, "-m", "benchmarks.report_process", str(logs), str(output)]
        subprocess.run([*measure, *command], cwd=_HERE.parent, check=True)
        measured = json.loads(took.read_text())
        if measured["status"]:
            raise RuntimeError("the report could not be written")
        size = output.stat().st_size / 1024**2
        page = _in_browser(output, Path(name) / "profile") if CHROMIUM is not None else None
    yield Comparison.of("report_seconds_1m", measured["seconds"], _SECONDS, "s")
    yield Comparison.of("report_peak_rss_mb_1m", measured["peak_rss_mb"], _PEAK_RSS_MB, "MB")
    yield Comparison.of("report_size_mb_1m", size, _SIZE_MB, "MB")
    if page is None:
        print("report: the page is not measured, because Chromium is missing")
        return
    yield Comparison.of("report_opens_seconds_1m", page[0], _PAGE_SECONDS, "s")
    yield Comparison.of("report_zooms_seconds_1m", page[1], _PAGE_SECONDS, "s")


_ZOOM = """(async () => {
  const box = document.querySelector(".lanes");
  const {left, width, top} = box.getBoundingClientRect();
  box.focus();
  const start = performance.now();
  for (let step = 0; step < 17 || box.dataset.mode !== "bars"; step += 1) {
    const where = {deltaY: -120, clientX: left + width / 2, clientY: top + 9};
    if (step < 17) box.dispatchEvent(new WheelEvent("wheel", where));
    await new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)));
  }
  return performance.now() - start;
})()"""


def _in_browser(file: Path, profile: Path) -> tuple[float, float]:
    """Seconds until the page is shown, and until single runs are; both as the browser measures them."""
    with opened(profile) as page:
        page.open("data:text/html,warm")
        page.size(1400, 900)
        page.open(file.as_uri())
        page.wait_for("performance.getEntriesByName('shown').length")
        shown = page.run("performance.getEntriesByName('shown')[0].startTime")
        return shown / 1000, page.run(_ZOOM) / 1000
