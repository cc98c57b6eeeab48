"""Events that are doubled and reordered: each output is written once."""

from __future__ import annotations

import time
from pathlib import Path

from tests.chaos.workload import Workload
from tests.faults.injected.cloud import FaultyCloud
from tests.faults.injected.events import VARIABLE

SHARE = 0.1
"""Of the events: so many are doubled, and as many reordered."""
_TOLD_EVERY_S = 60.0
_STACK, _BUCKET = "doubled", "doubled-files"
_FDL = """functions:
  aws:
  - lambda:
      name: doubled-copy
      init_script: copy.sh
      timeout: 60
      {once}container: {{image_file: busybox.tar}}
      input: [{{storage_provider: s3, path: {bucket}/in}}]
      output: [{{storage_provider: s3, path: {bucket}/out}}]
"""


def double_events(folder: Path, events: int, seed: int, *, once: bool) -> int:
    """Upload so many files to a function, and double and reorder their events: how many results are missing
    or were written more than once."""
    cloud = FaultyCloud(folder / "doubled", **{VARIABLE: f"{seed} {SHARE}"})
    workload = Workload(cloud, folder, _STACK, _BUCKET)
    try:
        workload.start()
        s3 = workload.client("s3")
        s3.create_bucket(Bucket=_BUCKET)
        s3.put_bucket_versioning(Bucket=_BUCKET, VersioningConfiguration={"Status": "Enabled"})
        workload.deploy(_FDL.format(once="once: true\n      " if once else "", bucket=_BUCKET))
        started = time.monotonic()
        names = {f"file-{number:06}.txt" for number in range(events)}
        workload.upload(f"in/{name}" for name in sorted(names))
        while left := workload.events():
            print(f"{left} events are waiting after {time.monotonic() - started:.0f} s", flush=True)
            time.sleep(min(_TOLD_EVERY_S, 1 + left / 100))
        seconds = time.monotonic() - started
        written, failed = workload.versions("out"), workload.given_up()
    finally:
        cloud.stop()
    missing = names - set(written) - failed
    doubled = {name for name, count in written.items() if count > 1}
    print(
        f"{events} files, {SHARE:.0%} of their events doubled and {SHARE:.0%} reordered, "
        f"in {seconds:.0f} s:\n  {len(written)} results, {len(failed)} in the failure queue "
        f"({len(failed & set(written))} in both), {len(missing)} lost, {len(doubled)} written more than once",
        flush=True,
    )
    return len(missing) + len(doubled) + len(failed)
