"""What it takes to make the user's image ready for Lambda: from one registry on this machine to another
one.

- `assembly_vs_skopeo_middle`: a function's first image in a repository that has the runner's layer
  already (it is one for all functions of a stack), against `skopeo copy` of the user's image; processes
  from start to end
- `assembly_first_vs_skopeo_middle`: the same in an empty repository, so that the runner's layer is
packed and sent
- `assembly_bytes_middle`: bytes sent into an empty repository, against the compressed image
- `assembly_peak_rss_mb_middle`: memory of the process at its peak, against the 150 MB allowed
- `assembly_again_ms`: only the script has changed, against the first assembly in an empty repository
- `runner_layer_mb`: the runner's layer as gzip, against the 15 MB allowed
"""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks import runner_images
from benchmarks.measure import Comparison, in_turns
from benchmarks.runner import scratch_folder
from containers.assembly import this_runner
from tests.registry_server import REGISTRY_PROGRAM, real_registry

_TIMES = int(os.environ.get("SCAR_BENCH_TIMES", "5"))
_PEAK_RSS_MB = 150.0
_RUNNER_LAYER_MB = 15.0


def compare() -> Iterator[Comparison]:
    """Our assembly against a plain copy."""
    size = round(this_runner().pack().descriptor.size / 1e6, 2)
    yield Comparison("runner_layer_mb", size, _RUNNER_LAYER_MB, round(size / _RUNNER_LAYER_MB, 3), "MB")
    if REGISTRY_PROGRAM is None or shutil.which("skopeo") is None:
        print("assembly: skipped; needs a registry server and skopeo (apt install docker-registry skopeo)")
        return
    with tempfile.TemporaryDirectory(dir=scratch_folder()) as name:
        folders = [Path(name, kind) for kind in ("source", "target")]
        for folder in folders:
            folder.mkdir()
        with real_registry(folders[0]) as source, real_registry(folders[1]) as target:
            try:
                runner_images.push(source, "middle")
            except runner_images.NotToBeHadError as problem:
                print(f"middle: skipped; {problem}")
                return
            runner_images.push(source, "small")
            yield from _Subject(source, target).compare()


class _Subject:
    """The middle image, and everything that is measured of it."""

    def __init__(self, source: str, target: str) -> None:
        self._source = source
        self._target = target
        self._numbers = itertools.count()
        self._sent: list[int] = []
        self._peaks: list[int] = []
        self._bytes = sum(path.stat().st_size for path in runner_images.layers_of("middle"))

    def compare(self) -> Iterator[Comparison]:
        """All of it."""
        prepared = [self._repository() for _ in range(_TIMES)]
        for repository in prepared:
            self._assemble("small", repository)
        # Blobs that the registry has from another repository would be sent all the same: none is mounted.
        waiting = iter(prepared)
        yield in_turns(
            "assembly_vs_skopeo_middle", lambda: self._assemble("middle", next(waiting)), self._copy, _TIMES
        )
        self._sent.clear()
        first = in_turns(
            "assembly_first_vs_skopeo_middle",
            lambda: self._assemble("middle", self._repository()),
            self._copy,
            _TIMES,
        )
        yield first
        sent = max(self._sent)
        yield Comparison(
            "assembly_bytes_middle", sent / 1e6, self._bytes / 1e6, round(sent / self._bytes, 3), "MB"
        )
        peak = round(max(self._peaks) / 1024, 1)
        yield Comparison(
            "assembly_peak_rss_mb_middle", peak, _PEAK_RSS_MB, round(peak / _PEAK_RSS_MB, 3), "MB"
        )
        again = in_turns("", lambda: self._assemble("middle", prepared[0]), lambda: None, _TIMES)
        yield Comparison("assembly_again_ms", again.ours, first.ours, round(again.ours / first.ours, 3))

    def _repository(self) -> str:
        return f"bench/{next(self._numbers)}"

    def _assemble(self, image: str, repository: str) -> None:
        command = [
            sys.executable,
            "-m",
            "benchmarks.assembly_process",
            f"{self._source.removeprefix('http://')}/bench/{image}:1",
            self._target,
            repository,
            f"#!/bin/sh\n# {next(self._numbers)}\n",
        ]
        done = subprocess.run(
            command, stdout=subprocess.PIPE, text=True, check=True, cwd=Path(__file__).parents[1]
        )
        sent, peak = done.stdout.split()
        self._sent.append(int(sent))
        self._peaks.append(int(peak))

    def _copy(self) -> None:
        here, there = (address.removeprefix("http://") for address in (self._source, self._target))
        command = [
            "skopeo", "copy", "-q", "--src-tls-verify=false", "--dest-tls-verify=false",
            f"docker://{here}/bench/middle:1", f"docker://{there}/{self._repository()}:1",
        ]  # fmt: skip
        subprocess.run(command, check=True)
