"""Files go through three functions while faults are injected.

in ─► chaos-first (Lambda) ─► a ─► chaos-middle (Batch) ─► b ─► chaos-last (Lambda) ─► out
launch ─► chaos-launched (Lambda) ─► launched ◄─ chaos-arrays (array jobs) ◄─ arrays
"""

from __future__ import annotations

import threading
import time
from pathlib import Path

from local_cloud.cloud import Cloud
from tests.chaos.launches import Launches
from tests.chaos.sequence import Event, Planned, Sequence, plan
from tests.chaos.workload import UNREACHABLE, Workload
from tests.faults.injected.clock import Clock
from tests.faults.injected.proxy import Proxy

_BUCKET = "chaos-files"
_STAGES = ("a", "b", "out")
_FUNCTIONS = (
    ("chaos-first", "in", "a", "lambda"),
    ("chaos-middle", "a", "b", "batch"),
    ("chaos-last", "b", "out", "lambda"),
    ("chaos-launched", "launch", "launched", "lambda"),
    ("chaos-arrays", "arrays", "launched", "batch"),
)
_LAST_FAULT_WITHIN_S = 60.0
_RESULTS = 0.8
"""Share of the files that have to succeed in spite of all faults."""


class Chain:
    """The chain, and the faults that are planned for it."""

    def __init__(
        self, cloud: Cloud, proxy: Proxy, folder: Path, seed: int, *, at_once: int = 30, launched: int = 20
    ) -> None:
        """`at_once`: so many files are on their way; `launched`: files of each launch."""
        self.workload = Workload(cloud, folder, "chaos", _BUCKET)
        self._at_once = at_once
        self._proxy = proxy
        self._launches = Launches(self.workload, folder, launched)
        self._seed = seed
        self._planned: list[Planned] = []

    def deploy(self, faults: int, *, once: bool) -> None:
        """Start the cloud, deploy the chain and plan its faults."""
        self._planned = plan(faults, self._seed)
        self.workload.start()
        s3 = self.workload.client("s3")
        s3.create_bucket(Bucket=_BUCKET)
        s3.put_bucket_versioning(Bucket=_BUCKET, VersioningConfiguration={"Status": "Enabled"})
        self._launches.prepare(sum(fault.kind is Event.LAUNCHER for fault in self._planned))
        functions = "".join(_function(*entry, once=once) for entry in _FUNCTIONS)
        self.workload.deploy(f"functions:\n  aws:{functions}")

    def run(self, disk: Path | None, clock: Clock | None) -> int:
        """Inject the faults, and wait until all files have ended: how many were lost, doubled or otherwise
        wrong. One line for each count."""
        started = time.monotonic()
        feeder = Feeder(self.workload, self._at_once)
        sequence = Sequence(self.workload, self._proxy, self._launches, disk, clock)
        sequence.run(self._planned, self._so_far)
        until = time.monotonic() + _LAST_FAULT_WITHIN_S
        while self._proxy.pending and time.monotonic() < until:
            time.sleep(0.1)
        names = feeder.stop()
        launched = self._launches.finish()
        self.workload.until_idle()
        for kind, count in [*self._proxy.injected.items(), *sequence.done.items()]:
            print(f"{count:5} times {kind.value}")
        faults = self._proxy.injected.total() + sequence.done.total()
        print(f"{faults} faults ({sequence.instead.total()} of them cuts because no process could be killed)")
        return self._count(names, launched, sequence, faults, time.monotonic() - started)

    def _so_far(self) -> str:
        written = {stage: self.workload.versions(stage) for stage in _STAGES}
        doubled = sum(count > 1 for versions in written.values() for count in versions.values())
        return (
            f"{len(written['out'])} files are through, {self.workload.failed()} messages in failure queues, "
            f"{doubled} outputs written more than once"
        )

    def _count(
        self, names: set[str], launched: set[str], sequence: Sequence, faults: int, seconds: float
    ) -> int:
        workload = self.workload
        written = {stage: workload.versions(stage) for stage in (*_STAGES, "launched")}
        failed = workload.given_up()
        results = set(written["out"]) | set(written["launched"])
        lost = (names | launched) - results - failed
        doubled = {
            f"{stage}/{name}": count
            for stage, versions in written.items()
            for name, count in versions.items()
            if count > 1 and not (stage == "launched" and name in self._launches.anew)
        }
        print(
            f"{len(names)} files in a chain of three, {len(launched)} in killed launches, {faults} faults "
            f"in {seconds / 60:.0f} minutes:\n"
            f"  {len(results)} results, {len(failed)} in failure queues ({len(results & failed)} in both), "
            f"{len(lost)} lost, {len(doubled)} written more than once, "
            f"{sequence.lines_lost.total()} log lines lost"
        )
        if len(results) < _RESULTS * len(names | launched):
            print("  WRONG: most files have to succeed: three attempts hardly ever fail")
            lost |= failed
        some = [*sorted(lost)[:10], *sorted(doubled)[:10], *sorted(sequence.lines_lost)[:10]]
        for told in (*some, *self._launches.wrong):
            print(f"  WRONG: {told}")
        return len(lost) + len(doubled) + sequence.lines_lost.total() + len(self._launches.wrong)


def _function(name: str, source: str, target: str, mode: str, *, once: bool) -> str:
    return f"""
  - lambda:
      name: {name}
      init_script: copy.sh
      execution_mode: {mode}
      timeout: 120
      {"once: true" if once else ""}
      container: {{image_file: busybox.tar}}
      input: [{{storage_provider: s3, path: {_BUCKET}/{source}}}]
      output: [{{storage_provider: s3, path: {_BUCKET}/{target}}}]"""


class Feeder:
    """Uploads files in a thread, so that a few are always on their way."""

    def __init__(self, workload: Workload, at_once: int) -> None:
        self._workload = workload
        self._at_once = at_once
        self._names: set[str] = set()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._feed, daemon=True)
        self._thread.start()

    def stop(self) -> set[str]:
        """Upload no more: the names of all files."""
        self._stopping.set()
        self._thread.join()
        return self._names

    def _feed(self) -> None:
        while not self._stopping.wait(0.2):
            try:
                ended = len(self._workload.versions("out")) + self._workload.failed()
            except UNREACHABLE:
                continue
            if (missing := self._at_once - (len(self._names) - ended)) > 0:
                names = [f"file-{len(self._names) + more:05}.txt" for more in range(missing)]
                self._workload.upload(f"in/{name}" for name in names)
                self._names.update(names)
