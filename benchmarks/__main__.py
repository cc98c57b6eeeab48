"""Run all benchmarks, print the ratios, write `build/bench.json`."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path

from benchmarks import command_line, runner
from benchmarks.measure import Comparison

RESULTS = Path(__file__).resolve().parents[1] / "build" / "bench.json"


def main() -> int:
    """Measure, print, write."""
    comparisons: list[Comparison] = []
    print(f"{'benchmark':<32} {'ours':>12} {'other':>12} {'ratio':>8}")
    for benchmark in (command_line.compare, runner.compare):
        for comparison in benchmark():
            comparisons.append(comparison)
            print(comparison, flush=True)
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps([asdict(comparison) for comparison in comparisons], indent=2) + "\n")
    print(f"written to {RESULTS.relative_to(Path.cwd()) if RESULTS.is_relative_to(Path.cwd()) else RESULTS}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
