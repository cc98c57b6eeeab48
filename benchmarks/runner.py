"""The overhead of an invocation: fetching and unpacking the image, starting the container.

For each image of `runner_images`, with a registry on this machine, all on a tmpfs (`SCAR_BENCH_FOLDER` names
another folder):

- `cold_vs_curl_tar`: a process that pulls, unpacks and runs, against `curl | tar xz` of the layers alone
- `cold_vs_udocker`: the same against udocker's pull, create, set-up and run
- `warm_overhead_ms`: a later invocation without transfers, from event to answer, against starting the program
  by `unshare`
- `warm_vs_udocker`: the same against `udocker run`
- `peak_rss_mb`: memory of the process at the peak of a pull, with all libraries loaded, against the 120 MB
  allowed
- `disk_ratio`: disk in use at the peak of a pull, against the unpacked image

Measurements whose tools are not available (udocker's, debootstrap) are skipped with a message.
"""

from __future__ import annotations

import importlib.util
import io
import itertools
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from pathlib import Path

from benchmarks import runner_images
from benchmarks.measure import Comparison, UnavailableError, in_turns
from benchmarks.runner_process import COMMAND
from benchmarks.runner_udocker import Udocker
from runtime import handler
from tests.function_configs import function_config
from tests.registry_server import REGISTRY_PROGRAM, real_registry

_ROOM_BYTES = 4 << 30
_TIMES = int(os.environ.get("SCAR_BENCH_TIMES", "5"))
_REPOSITORY = Path(__file__).resolve().parents[1]
_PEAK_RSS_MB = 120.0


def compare() -> Iterator[Comparison]:
    """Compare the runner with the plain programs and with udocker."""
    if REGISTRY_PROGRAM is None or shutil.which("curl") is None:
        print("runner: skipped; needs a registry server and curl (apt install docker-registry curl)")
        return
    fast = "isal" if importlib.util.find_spec("isal") else "zlib"
    with tempfile.TemporaryDirectory(dir=scratch_folder()) as name:
        folder = Path(name)
        print(f"runner: in {folder}, gzip by {fast}")
        (folder / "registry").mkdir()
        with real_registry(folder / "registry") as registry:
            for image in runner_images.chosen():
                try:
                    layers = runner_images.push(registry, image)
                except UnavailableError as problem:
                    print(f"{image}: skipped; {problem}")
                    continue
                yield from _Subject(folder, registry, image, layers).compare()


def scratch_folder() -> Path | None:
    """The folder for files: on a tmpfs, so that the disk does not affect the results."""
    if chosen := os.environ.get("SCAR_BENCH_FOLDER"):
        return Path(chosen)
    memory = Path("/dev/shm")
    if memory.is_dir() and os.access(memory, os.W_OK) and shutil.disk_usage(memory).free > _ROOM_BYTES:
        return memory
    return None


class _Subject:
    """An image and its measurements."""

    def __init__(self, folder: Path, registry: str, image: str, layers: list[str]) -> None:
        self._folder = folder
        self._registry = registry
        self._image = image
        self._layers = layers
        self._reference = f"{registry.removeprefix('http://')}/bench/{image}:1"
        self._numbers = itertools.count()

    def compare(self) -> Iterator[Comparison]:
        """Measure all ratios of this image."""
        yield self._in_turns("cold_vs_curl_tar", self._cold, self._curl_tar)
        try:
            udocker, _folder = self._udocker()
        except UnavailableError as problem:
            print(f"udocker: skipped; {problem}")
            udocker = None
        if udocker is not None:
            yield self._in_turns("cold_vs_udocker", self._cold, lambda: self._remove(self._udocker()[1]))
        yield from self._warm(udocker)
        yield from self._memory_and_disk()

    def _in_turns(self, name: str, ours: Callable[[], object], other: Callable[[], object]) -> Comparison:
        return in_turns(f"{name}_{self._image}", ours, other, _TIMES)

    # -- cold

    def _cold(self) -> None:
        self._remove(self._pull()[0])

    def _pull(self, *options: str) -> tuple[Path, int]:
        """Run a first invocation; returns its store and its peak memory in KiB."""
        store = self._new_folder("store")
        command = [sys.executable, "-m", "benchmarks.runner_process", *options, self._reference, str(store)]
        done = subprocess.run(command, cwd=_REPOSITORY, stdout=subprocess.PIPE, text=True, check=True)
        return store, int(done.stdout)

    def _curl_tar(self) -> None:
        target = self._new_folder("plain")
        self._unpack_plainly(target)
        self._remove(target)

    def _unpack_plainly(self, target: Path) -> None:
        target.mkdir()
        for digest in self._layers:
            url = f"{self._registry}/v2/bench/{self._image}/blobs/{digest}"
            pipe = 'curl -sf "$1" | tar xz -C "$2"'
            subprocess.run(["sh", "-c", pipe, "sh", url, str(target)], check=True)

    def _udocker(self) -> tuple[Udocker, Path]:
        """Run a first invocation with udocker; returns udocker and its folder."""
        folder = self._new_folder("udocker")
        udocker = Udocker(folder, self._registry)
        udocker.prepare(f"bench/{self._image}:1")
        udocker.run(*COMMAND)
        return udocker, folder

    # -- warm

    def _warm(self, udocker: Udocker | None) -> Iterator[Comparison]:
        store = self._new_folder("store")
        self._deploy(store)
        self._invoke()
        name = f"warm_overhead_ms_{self._image}"
        # With a pause, as events come one by one.
        yield in_turns(name, self._invoke, lambda: self._start_in_namespace(store), 3 * _TIMES, pause_s=0.1)
        if udocker is not None:
            yield self._in_turns("warm_vs_udocker", self._invoke, lambda: udocker.run(*COMMAND))
        self._remove(store)

    def _invoke(self) -> None:
        """A whole invocation without a file: event, configuration, image, container, log lines, answer.

        For a registry on this machine, this includes the request whether the image has changed.
        """
        with redirect_stdout(io.StringIO()):
            answer = handler.handle({"cmd_args": list(COMMAND)}, _Context())
        if answer["results"][0]["status"] != "done":
            raise SystemExit(f"the invocation ended with {answer}")

    def _deploy(self, store: Path) -> None:
        """Set up this process as a template would: the function's folder and variables."""
        function = self._new_folder("function")
        function.mkdir()
        config = function_config("bench", self._reference, timeout_s=300)
        (function / "function_config.json").write_text(json.dumps(config))
        os.environ |= {
            "LAMBDA_TASK_ROOT": str(function),
            "SCAR_STORE": str(store),
            "AWS_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": "bench",
            "AWS_SECRET_ACCESS_KEY": "bench",
        }

    @staticmethod
    def _start_in_namespace(store: Path) -> None:
        """Start the program with nothing else."""
        root = next(store.glob("images/*/root"))
        command = ["unshare", "--mount", "--pid", "--fork", "--root", str(root), *COMMAND]
        subprocess.run(command, check=True)

    # -- memory and disk

    def _memory_and_disk(self) -> Iterator[Comparison]:
        store, memory = self._pull("--whole")
        self._remove(store)
        yield Comparison.of(f"peak_rss_mb_{self._image}", memory / 1024, _PEAK_RSS_MB, "MB")
        plain = self._new_folder("plain")
        with _DiskPeak(self._folder) as peak:
            self._unpack_plainly(plain)
        unpacked = peak.used_mb()
        self._remove(plain)
        with _DiskPeak(self._folder) as peak:
            store, _ = self._pull()
        ours = peak.peak_mb
        self._remove(store)
        yield Comparison.of(f"disk_ratio_{self._image}", ours, unpacked, "MB")

    def _new_folder(self, name: str) -> Path:
        return self._folder / f"{self._image}-{name}-{next(self._numbers)}"

    @staticmethod
    def _remove(folder: Path) -> None:
        subprocess.run(["rm", "-rf", str(folder)], check=True)


class _Context:
    """The context object of Lambda."""

    aws_request_id = "bench"

    @staticmethod
    def get_remaining_time_in_millis() -> int:
        return 300_000


class _DiskPeak:
    """Watches the disk usage of a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._before = self._used()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self.peak_mb = 0.0

    def used_mb(self) -> float:
        """Usage above that at the start."""
        return (self._used() - self._before) / 1e6

    def __enter__(self) -> _DiskPeak:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._ended.wait(0.005):
            self.peak_mb = max(self.peak_mb, self.used_mb())

    def _used(self) -> int:
        status = os.statvfs(self._folder)
        return (status.f_blocks - status.f_bfree) * status.f_frsize
