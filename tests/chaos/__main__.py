"""Stop and kill the embedded cloud in the middle of its work, and count what is left."""

from __future__ import annotations

import argparse
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from local_cloud.cloud import Cloud
from tests.chaos.assemblies import kill_assemblers
from tests.chaos.workload import Workload

_NO_PROGRESS_FOR_S = 60.0
_STAGES = ("a", "b", "out")


def main() -> int:
    """Run all parts; exit code 1 if anything was lost."""
    parser = argparse.ArgumentParser(prog="make chaos", description="Stop and kill the embedded cloud.")
    parser.add_argument("--stops", type=int, default=10, help="stops in the middle of 24 jobs (default: 10)")
    parser.add_argument("--kills", type=int, default=30, help="kills at random moments (default: 30)")
    parser.add_argument("--files", type=int, default=300, help="files in the chain (default: 300)")
    parser.add_argument(
        "--assemblies", type=int, default=10, help="killed assemblies of images (default: 10)"
    )
    parser.add_argument("--seed", type=int, default=random.randrange(1_000_000), help="of the moments")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with tempfile.TemporaryDirectory(prefix="scar-chaos-") as name:
        os.environ["SCAR_STORE"] = str(Path(name) / "store")
        workload = Workload(Path(name))
        try:
            workload.start()
            workload.deploy()
            lost = [
                *(stop_in_the_middle(workload, number) for number in range(1, options.stops + 1)),
                *kill_at_random(workload, options.kills, options.files, options.seed),
                *kill_assemblers(workload, Path(name), options.assemblies, options.seed),
            ]
        finally:
            workload.cloud.stop()
    print(f"{len(lost)} rounds, {sum(map(bool, lost))} of them with losses", flush=True)
    return 1 if any(lost) else 0


def stop_in_the_middle(workload: Workload, number: int, jobs: int = 24) -> int:
    """Upload a file for each job, stop and start the cloud after the first results: how many are missing."""
    expected = {f"stop{number:02}-{job:02}.txt" for job in range(jobs)}
    workload.upload(f"jobs/{name}" for name in sorted(expected))
    until_steady(lambda: len(expected & workload.names("jobs-out")), lambda done: done >= jobs // 8)
    before = time.monotonic()
    workload.cloud.stop()
    stopped_s = time.monotonic() - before
    workload.start()
    until_steady(lambda: len(expected & workload.names("jobs-out")), lambda done: done == jobs)
    done = len(expected & workload.names("jobs-out"))
    kept = len((expected & workload.given_up(r"stop\d\d-\d\d\.txt")) - workload.names("jobs-out"))
    print(
        f"stop {number:2}: {done} of {jobs} results, {kept} in the failure queue, "
        f"stopped in {stopped_s:.1f} s"
    )
    sys.stdout.flush()
    return jobs - done


def kill_at_random(workload: Workload, kills: int, files: int, seed: int) -> list[int]:
    """Send files through the chain and kill the emulator meanwhile: log lines lost by each kill, then files.

    The moments are spread over the whole way of the files, however fast the machine is.
    """
    print(f"seed {seed}", flush=True)
    chance = random.Random(seed)
    expected = {f"file-{number:03}.txt" for number in range(files)}
    steps = sorted(chance.sample(range(len(_STAGES) * files), kills))
    uploads = workload.uploading(f"in/{name}" for name in sorted(expected))
    lost: list[int] = []
    for number, step in enumerate(steps, start=1):
        until_steady(lambda: progress(workload), partial(come_to, step))
        time.sleep(chance.random())
        lines = workload.log_lines()
        kill(workload.cloud)
        workload.start()
        lost.append((lines - workload.log_lines()).total())
        print(
            f"kill {number:2}: {progress(workload)} of {files} files so far, {lost[-1]} log lines lost",
            flush=True,
        )
    uploads.join()
    until_steady(lambda: progress(workload), lambda found: found[-1] >= files)
    results = expected & workload.names("out")
    kept = workload.given_up(r"file-\d\d\d\.txt") & expected - results
    lost.append(len(expected - results - kept))
    print(
        f"chain: {len(results)} results + {len(kept)} in failure queues of {files}, {lost[-1]} lost",
        flush=True,
    )
    return lost


def come_to(step: int, found: tuple[int, ...]) -> bool:
    """Whether all stages together have come to a step."""
    return sum(found) >= step


def progress(workload: Workload) -> tuple[int, ...]:
    """How many files have come through each of the chain's functions."""
    return tuple(len(workload.names(folder)) for folder in _STAGES)


def kill(cloud: Cloud) -> None:
    """SIGKILL to the emulator's process, and wait until its supervisor has cleaned up."""
    running = cloud.running()
    assert running is not None
    os.kill(running.emulator_pid, signal.SIGKILL)
    while cloud.running() is not None or not _is_gone(running.pid):
        time.sleep(0.02)


def until_steady(probe: Callable[[], Any], wanted: Callable[[Any], bool]) -> None:
    """Wait until `wanted`, or until nothing has changed for a minute."""
    last, since = probe(), time.monotonic()
    while not wanted(last) and time.monotonic() - since < _NO_PROGRESS_FOR_S:
        time.sleep(0.5)
        if (now := probe()) != last:
            last, since = now, time.monotonic()


def _is_gone(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


if __name__ == "__main__":
    sys.exit(main())
