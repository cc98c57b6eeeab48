"""Inject faults into the embedded cloud during its work, and count what is left."""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.chaos.assemblies import kill_assemblers
from tests.chaos.chain import Chain
from tests.chaos.duplicates import double_events
from tests.chaos.reports import compare_reports
from tests.chaos.uploads import upload_many
from tests.faults.injected.clock import Clock
from tests.faults.injected.cloud import behind_proxy

_DISK_MB = 3000


def main() -> int:
    """Run all parts; exit code 1 if anything was lost or doubled, or if the report was wrong."""
    parser = argparse.ArgumentParser(prog="make chaos", description="Inject faults into the embedded cloud.")
    parser.add_argument("--faults", type=int, default=1000, help="kills, cuts, … (default: 1000)")
    parser.add_argument(
        "--events", type=int, default=100_000, help="events, of which 10 %% are doubled (default: 100000)"
    )
    parser.add_argument("--uploads", type=int, default=50_000, help="to a queue (default: 50000)")
    parser.add_argument(
        "--slower", type=float, default=2.0, help="how much slower than in a minute they are (default: 2)"
    )
    parser.add_argument(
        "--assemblies", type=int, default=10, help="killed assemblies of images (default: 10)"
    )
    parser.add_argument(
        "--reported", type=int, default=300, help="files that the report is checked for (default: 300)"
    )
    parser.add_argument("--seed", type=int, default=random.randrange(1_000_000), help="of all decisions")
    parser.add_argument("--without-once", action="store_true", help="count what is doubled without `once`")
    parser.add_argument("--disk", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    if options.disk is not None:
        return _run(options.disk, options.disk, options)
    print(f"seed {options.seed}", flush=True)
    with tempfile.TemporaryDirectory(prefix="scar-chaos-") as name:
        if os.geteuid() == 0:
            return _on_small_disk(Path(name), options.seed)
        print("not root: no small disk that could be full", flush=True)
        return _run(Path(name), None, options)


def _on_small_disk(folder: Path, seed: int) -> int:
    """Run this program again, in a mount namespace in which `folder` is a small disk."""
    mount = f'mount -t tmpfs -o size={_DISK_MB}m none {folder} && exec "$0" "$@"'
    words = [sys.executable, "-m", "tests.chaos", *sys.argv[1:], "--seed", str(seed), "--disk", str(folder)]
    unshare = ["unshare", "--mount", "--fork", "--kill-child=TERM", "sh", "-c", mount]
    return subprocess.call([*unshare, *words])


def _run(folder: Path, disk: Path | None, options: argparse.Namespace) -> int:
    os.environ["SCAR_STORE"] = str(folder / "store")
    wrong = 0
    if options.faults or options.assemblies:
        clock = Clock.make(folder)
        moved = clock.variables if clock is not None else {}
        with behind_proxy(folder / "cloud", options.seed, **moved) as (cloud, proxy):
            chain = Chain(cloud, proxy, folder, options.seed)
            chain.deploy(options.faults, once=not options.without_once)
            wrong += chain.run(disk, clock)
            wrong += sum(kill_assemblers(chain.workload, folder, options.assemblies, options.seed))
    if options.events:
        wrong += double_events(folder, options.events, options.seed, once=not options.without_once)
    if options.uploads:
        wrong += upload_many(folder, options.uploads, options.seed, options.slower)
    if options.reported:
        wrong += compare_reports(folder, options.reported)
    print("all as promised" if not wrong else f"{wrong} WRONG", flush=True)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
