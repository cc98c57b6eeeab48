"""The cost of assembling a user's image for Lambda, between two registries on this machine.

- `assembly_vs_skopeo_middle`: a function's first image in a repository that already has the runner's layer
  (all functions of a stack share it), against `skopeo copy` of the user's image; whole processes
- `assembly_first_vs_skopeo_middle`: the same in an empty repository, so that the runner's layer is
  packed and uploaded, too
- `assembly_bytes_middle`: bytes sent into an empty repository, against the compressed image
- `assembly_peak_rss_mb_middle`: memory of the process at its peak, against the 150 MB allowed
- `assembly_again_ms`: only the script has changed, against the first assembly in an empty repository
- `runner_layer_mb`: the runner's layer as gzip, against the 15 MB allowed
"""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks import runner_images
from benchmarks.measure import Comparison, UnavailableError, milliseconds, process
from benchmarks.runner import scratch_folder
from containers.assembly import this_runner
from tests.registry_server import REGISTRY_PROGRAM, real_registry

_TIMES = int(os.environ.get("SCAR_BENCH_TIMES", "5"))
_PEAK_RSS_MB = 150.0
_RUNNER_LAYER_MB = 15.0


def compare() -> Iterator[Comparison]:
    """Compare the assembly with a plain copy."""
    size = round(this_runner().pack().descriptor.size / 1e6, 2)
    yield Comparison.of("runner_layer_mb", size, _RUNNER_LAYER_MB, "MB")
    if REGISTRY_PROGRAM is None or shutil.which("skopeo") is None:
        print("assembly: skipped; needs a registry server and skopeo (apt install docker-registry skopeo)")
        return
    with tempfile.TemporaryDirectory(dir=scratch_folder()) as name:
        source_folder = Path(name, "source")
        source_folder.mkdir()
        with real_registry(source_folder) as source:
            try:
                runner_images.push(source, "middle")
            except UnavailableError as problem:
                print(f"middle: skipped; {problem}")
                return
            runner_images.push(source, "small")
            yield from _Subject(source, Path(name)).compare()


class _Subject:
    """The middle image and its measurements.

    Each run pushes to a new registry: skopeo remembers where a registry has a blob, and uploads nothing the
    second time.
    """

    def __init__(self, source: str, folder: Path) -> None:
        self._source = source
        self._folder = folder
        self._numbers = itertools.count()
        self._bytes = sum(path.stat().st_size for path in runner_images.layers_of("middle"))

    def compare(self) -> Iterator[Comparison]:
        """Run all measurements."""
        warm: list[_Run] = []
        first: list[_Run] = []
        again: list[_Run] = []
        copies: list[float] = []
        for _ in range(_TIMES):
            with self._target() as target:
                self._assemble("small", target)  # brings the runner's layer
                warm.append(self._assemble("middle", target))
            with self._target() as target:
                copies.append(self._copy(target))
            with self._target() as target:
                first.append(self._assemble("middle", target))
                again.append(self._assemble("middle", target))
        copied, whole = statistics.median(copies), _milliseconds(first)
        for name, runs in (("assembly_vs_skopeo_middle", warm), ("assembly_first_vs_skopeo_middle", first)):
            yield Comparison.of(name, _milliseconds(runs), copied, "ms")
        sent = max(run.bytes_sent for run in first)
        yield Comparison.of("assembly_bytes_middle", sent / 1e6, self._bytes / 1e6, "MB")
        peak = max(run.peak_kib for run in (*warm, *first)) / 1024
        yield Comparison.of("assembly_peak_rss_mb_middle", peak, _PEAK_RSS_MB, "MB")
        yield Comparison.of("assembly_again_ms", _milliseconds(again), whole, "ms")

    @contextlib.contextmanager
    def _target(self) -> Iterator[str]:
        folder = self._folder / f"target{next(self._numbers)}"
        folder.mkdir()
        with real_registry(folder) as address:
            yield address
        shutil.rmtree(folder)

    def _assemble(self, image: str, target: str) -> _Run:
        command = [
            sys.executable,
            "-m",
            "benchmarks.assembly_process",
            f"{self._source.removeprefix('http://')}/bench/{image}:1",
            target,
            "bench",
            f"#!/bin/sh\n# {next(self._numbers)}\n",
        ]
        started = time.perf_counter()
        done = subprocess.run(
            command, stdout=subprocess.PIPE, text=True, check=True, cwd=Path(__file__).parents[1]
        )
        took = (time.perf_counter() - started) * 1000
        sent, peak = done.stdout.split()
        return _Run(took, int(sent), int(peak))

    def _copy(self, target: str) -> float:
        """Duration of a copy in milliseconds."""
        here, there = (address.removeprefix("http://") for address in (self._source, target))
        command = [
            "skopeo", "copy", "-q", "--src-tls-verify=false", "--dest-tls-verify=false",
            f"docker://{here}/bench/middle:1", f"docker://{there}/bench:1",
        ]  # fmt: skip
        return milliseconds(process(command))


@dataclass(frozen=True)
class _Run:
    milliseconds: float
    bytes_sent: int
    peak_kib: int


def _milliseconds(runs: list[_Run]) -> float:
    return statistics.median(run.milliseconds for run in runs)
