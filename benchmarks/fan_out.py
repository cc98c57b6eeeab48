"""How fast the events of many files are sent: `scar-launch` against SCAR and against a bare client.

All three send to the endpoint of `fan_out_endpoint`, in turns, each run to an endpoint of its own:

- `fanout_vs_bare`: events accepted a second, against the bare signed client of `fan_out_bare`
- `fanout_vs_scar`: the same, against `scar run` of SCAR 4.3.1
- `fanout_cpu_vs_bare`: processor time for 1000 events
- `fanout_peak_rss_mb`: memory at the peak, against the 150 MB allowed
- `fanout_peak_rss_vs_scar`: the same, against SCAR
- `fanout_distinct_keys`: keys that arrived at least once, against SCAR
- `fanout_calls_per_key`: the largest number of events for one key, against SCAR

These names are for 10 000 keys. Names with `_1k` are for 1000 keys, names with `_1m` for a million. Only
`scar-launch` sends a million: its rate is compared with that of the bare client with 10 000 keys, its memory
with the 150 MB and (`fanout_peak_rss_1m_vs_10k`) with its own for 10 000 keys, its keys with the million.

The rate is measured where the events arrive, from the first to the last. It does not include the start of
Python, nor the listing that SCAR does before it sends. It includes the listing of `scar-launch`, which runs
meanwhile.
"""

from __future__ import annotations

import itertools
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path

from benchmarks import fan_out_scar
from benchmarks.fan_out_endpoint import Counted
from benchmarks.measure import Comparison, UnavailableError

_CONCURRENCY = 32
_TIMES = int(os.environ.get("SCAR_BENCH_TIMES", "5"))
_MOST = int(os.environ.get("SCAR_BENCH_KEYS", "1000000"))
_PEAK_RSS_MB = 150.0
_LONGEST_S = 3600
_SUFFIXES = {1_000: "_1k", 10_000: ""}
_MILLION = 1_000_000
_HERE = Path(__file__).resolve().parent
_FDL = """functions:
  aws:
    - lambda:
        name: bench
        container:
          image: busybox
        input:
          - storage_provider: s3
            path: bench-bucket/input
"""
_ENVIRONMENT = {
    "PATH": os.environ["PATH"],
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_REGION": "us-east-1",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}


class _LaunchError(Exception):
    """A launcher failed or sent nothing; the text is its output."""


@dataclass(frozen=True)
class _Run:
    """A launch: the events that arrived, and the measurements of its process."""

    counted: Counted
    seconds: float
    cpu_s: float
    peak_rss_mb: float

    @property
    def rate(self) -> float:
        """Events a second, where they arrive."""
        return (self.counted.calls - 1) / self.counted.seconds if self.counted.seconds else 0.0

    @property
    def cpu_ms(self) -> float:
        """Processor time for 1000 events, in milliseconds."""
        return 1e6 * self.cpu_s / max(self.counted.calls, 1)


def compare() -> Iterator[Comparison]:
    """Compare `scar-launch` with SCAR and the bare client, and run it alone for a million keys."""
    launchers: dict[str, _Launcher] = {"ours": _ours, "bare": _bare}
    try:
        fan_out_scar.program()
        launchers["scar"] = _scar
    except UnavailableError as problem:
        print(f"SCAR: skipped; {problem}")
    with tempfile.TemporaryDirectory() as name:
        places = (Path(name) / str(number) for number in itertools.count())
        runs: dict[str, list[_Run]] = {}
        for keys, suffix in _SUFFIXES.items():
            runs = {launcher: [] for launcher in launchers}
            for _ in range(_TIMES):
                for launcher, launch in list(launchers.items()):
                    try:
                        runs[launcher].append(_measured(launch, next(places), keys))
                    except _LaunchError as problem:
                        if launcher != "scar":
                            raise
                        print(f"SCAR: left out from now on; {problem}")
                        del launchers[launcher], runs[launcher]
            yield from _compared(suffix, runs)
        if _MOST >= _MILLION:
            yield from _of_a_million(_measured(_ours, next(places), _MILLION), runs)


def _compared(suffix: str, runs: dict[str, list[_Run]]) -> Iterator[Comparison]:
    def ratio(name: str, other: str, what: str, unit: str) -> Comparison:
        return Comparison.of(f"{name}{suffix}", _median(runs["ours"], what), _median(runs[other], what), unit)

    yield ratio("fanout_vs_bare", "bare", "rate", "events/s")
    yield ratio("fanout_cpu_vs_bare", "bare", "cpu_ms", "ms")
    yield Comparison.of(
        f"fanout_peak_rss_mb{suffix}", _median(runs["ours"], "peak_rss_mb"), _PEAK_RSS_MB, "MB"
    )
    if "scar" in runs:
        yield ratio("fanout_vs_scar", "scar", "rate", "events/s")
        yield ratio("fanout_peak_rss_vs_scar", "scar", "peak_rss_mb", "MB")
        yield ratio("fanout_distinct_keys", "scar", "counted.distinct", "keys")
        yield ratio("fanout_calls_per_key", "scar", "counted.most_for_one_key", "calls")


def _of_a_million(run: _Run, before: dict[str, list[_Run]]) -> Iterator[Comparison]:
    yield Comparison.of("fanout_vs_bare_1m", run.rate, _median(before["bare"], "rate"), "events/s")
    yield Comparison.of("fanout_peak_rss_mb_1m", run.peak_rss_mb, _PEAK_RSS_MB, "MB")
    less = _median(before["ours"], "peak_rss_mb")
    yield Comparison.of("fanout_peak_rss_1m_vs_10k", run.peak_rss_mb, less, "MB")
    yield Comparison.of("fanout_distinct_keys_1m", run.counted.distinct, _MILLION, "keys")
    yield Comparison.of("fanout_calls_per_key_1m", run.counted.most_for_one_key, 1, "calls")


def _median(runs: Sequence[_Run], what: str) -> float:
    return float(statistics.median(map(attrgetter(what), runs)))


# -- the three launchers: a command, its environment, and what is typed

_Command = tuple[list[str], dict[str, str], bytes]
_Launcher = Callable[[Path, str, int], _Command]


def _ours(place: Path, endpoint: str, _keys: int) -> _Command:
    program = str(Path(sys.executable).with_name("scar-launch"))
    command = [program, "-f", str(place / "bench.yaml"), "--concurrency", str(_CONCURRENCY)]
    return command, {**_ENVIRONMENT, "HOME": str(place), "AWS_ENDPOINT_URL": endpoint}, b""


def _bare(place: Path, endpoint: str, keys: int) -> _Command:
    command = [sys.executable, "-m", "benchmarks.fan_out_bare", endpoint, str(keys), str(_CONCURRENCY)]
    return command, {**_ENVIRONMENT, "HOME": str(place), "PYTHONPATH": str(_HERE.parent)}, b""


def _scar(place: Path, endpoint: str, _keys: int) -> _Command:
    environment = fan_out_scar.make_home(place, {**_ENVIRONMENT, "AWS_ENDPOINT_URL": endpoint})
    command = [str(fan_out_scar.program()), "run", "-f", str(place / "bench.yaml")]
    return command, environment, fan_out_scar.ANSWER


def _measured(launcher: _Launcher, place: Path, keys: int) -> _Run:
    """Run one launcher in a new folder, to a new endpoint."""
    place.mkdir()
    (place / "bench.yaml").write_text(_FDL)
    start_endpoint = [sys.executable, "-m", "benchmarks.fan_out_endpoint", str(keys)]
    with subprocess.Popen(
        start_endpoint, cwd=_HERE.parent, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as endpoint:
        assert endpoint.stdout is not None
        command, environment, typed = launcher(
            place, f"http://127.0.0.1:{endpoint.stdout.readline().strip()}", keys
        )
        took = place / "took.json"
        measure = [sys.executable, "-I", "-S", str(_HERE / "fan_out_process.py"), str(took), *command]
        with (
            (place / "output").open("wb") as output,
            subprocess.Popen(
                measure,
                cwd=place,
                env=environment,
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            ) as process,
        ):
            try:
                process.communicate(typed, timeout=_LONGEST_S)
            except BaseException:
                os.killpg(process.pid, signal.SIGKILL)  # the launcher too
                raise
        counted = Counted(**json.loads(endpoint.communicate()[0]))
    measured = json.loads(took.read_text())
    if measured.pop("status") or not counted.calls:
        raise _LaunchError(f"{command}: {(place / 'output').read_text()[-2000:]}")
    return _Run(counted, **measured)
