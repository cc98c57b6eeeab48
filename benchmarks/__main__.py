"""Run the benchmarks, print the ratios, write `build/bench.json`."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

from benchmarks import (
    assembly,
    batch_launch,
    command_line,
    fan_out,
    image_function,
    many_functions,
    numbers,
    report,
    runner,
)
from benchmarks.measure import Comparison

RESULTS = Path(__file__).resolve().parents[1] / "build" / "bench.json"
PARTS: dict[str, Callable[[], Iterator[Comparison]]] = {
    "command_line": command_line.compare,
    "runner": runner.compare,
    "assembly": assembly.compare,
    "image_function": image_function.compare,
    "fanout": fan_out.compare,
    "batch_launch": batch_launch.compare,
    "many_functions": many_functions.compare,
    "numbers": numbers.compare,
    "report": report.compare,
}


def main() -> int:
    """Measure, print, write. `SCAR_BENCH_PARTS=runner,fanout` runs these parts only and keeps earlier
    results of the others."""
    chosen = [part for part in os.environ.get("SCAR_BENCH_PARTS", "").split(",") if part] or list(PARTS)
    if unknown := [part for part in chosen if part not in PARTS]:
        print(
            f"SCAR_BENCH_PARTS: there is no {', '.join(unknown)}; choose of {', '.join(PARTS)}",
            file=sys.stderr,
        )
        return 2
    known = json.loads(RESULTS.read_text()) if len(chosen) < len(PARTS) and RESULTS.exists() else []
    results = {result["name"]: result for result in known}
    print(f"{'benchmark':<32} {'ours':>20} {'other':>20} {'ratio':>8}")
    for part in chosen:
        for comparison in PARTS[part]():
            results[comparison.name] = asdict(comparison)
            print(comparison, flush=True)
        RESULTS.parent.mkdir(exist_ok=True)
        RESULTS.write_text(json.dumps(list(results.values()), indent=2) + "\n")
    print(f"written to {RESULTS.relative_to(Path.cwd()) if RESULTS.is_relative_to(Path.cwd()) else RESULTS}")
    return 0


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the servers that it started end, too
    sys.exit(main())
