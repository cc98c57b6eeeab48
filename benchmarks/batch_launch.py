"""How long it takes to submit the jobs of 50 000 files, at AWS's limit of 50 calls of SubmitJob per second.

- `batch_launch_s`: from the first request until the last file has a job or has failed
- `batch_launch_calls`: calls of SubmitJob
- `batch_launch_throttled`: calls that Batch rejected
- `batch_launch_jobs`: files that have a job

`scar-launch` submits array jobs to the loopback endpoint of `batch_endpoint`, in real time. The other way is
simulated, in virtual time: one event for each file to a Lambda function that submits one job, as uploads to
the input folder do. It has the limits and retries that AWS and botocore document:

- Events are sent at 5 000 per second. Lambda runs at most 1 000 at once; the others wait.
- A call takes 25 to 75 ms. botocore (mode `standard`) repeats a throttled call up to five times, after a
  random part of 1, 2, 4, 8 and 16 seconds, until its retry quota is used up. Each execution environment has a
  quota.
- Lambda repeats a failed invocation after one minute, and again after two. After that, the event is in the
  failure queue.
"""

from __future__ import annotations

import heapq
import itertools
import os
import random
import subprocess
import sys
import tempfile
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.batch_endpoint import BUCKET, CALLS_PER_S, FUNCTION, TokenBucket, running
from benchmarks.measure import Comparison

_FILES = 50_000
_LONGEST_S = 600
_EVENTS_PER_S = 5_000
_CONCURRENCY = 1_000
_CALL_S = 0.05
_PAUSES_S = (1.0, 2.0, 4.0, 8.0, 16.0)
_QUOTA, _COST = 500, 5
_LAMBDA_PAUSES_S = (60.0, 120.0)
_FDL = f"""functions:
  aws:
    - lambda:
        name: {FUNCTION}
        execution_mode: batch
        container:
          image: busybox
        input:
          - storage_provider: s3
            path: {BUCKET}/input
"""


@dataclass
class _Launch:
    seconds: float = 0.0
    calls: int = 0
    throttled: int = 0
    jobs: int = 0
    billed_s: float = 0.0
    """Time in Lambda; only of the simulation. `make chaos` prints it."""


@dataclass
class _Environment:
    """An execution environment of Lambda, with botocore's retry quota."""

    quota: int = _QUOTA

    def may_repeat(self) -> bool:
        """Use a part of the quota to repeat a call."""
        if self.quota < _COST:
            return False
        self.quota -= _COST
        return True

    def succeeded(self, repeated: int) -> None:
        """Give back a part of the quota after a call."""
        self.quota = min(_QUOTA, self.quota + (_COST if repeated else 1))


@dataclass
class _Event:
    failed: int = 0
    """Invocations that failed."""
    repeated: int = 0
    """Calls that were repeated in the current invocation."""
    environment: _Environment | None = None
    """None: not yet running."""
    started: float = 0.0


def compare() -> Iterator[Comparison]:
    """Compare `scar-launch` with one call for each file."""
    ours, other = _in_arrays(_FILES), one_by_one(_FILES)
    yield Comparison.of("batch_launch_s", ours.seconds, other.seconds, "s")
    yield Comparison.of("batch_launch_calls", ours.calls, other.calls, "calls")
    yield Comparison.of("batch_launch_throttled", ours.throttled, other.throttled, "calls")
    yield Comparison.of("batch_launch_jobs", ours.jobs, other.jobs, "files")


def _in_arrays(files: int) -> _Launch:
    program = Path(sys.executable).with_name("scar-launch")
    with tempfile.TemporaryDirectory() as name, running(files) as (endpoint, url):
        (Path(name) / "bench.yaml").write_text(_FDL)
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": name,
            "AWS_ENDPOINT_URL": url,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
        }
        subprocess.run(
            [program, "-f", "bench.yaml"],
            cwd=name,
            env=environment,
            check=True,
            stdout=subprocess.DEVNULL,
            timeout=_LONGEST_S,
        )
        seconds = endpoint.last - endpoint.first
        return _Launch(seconds, endpoint.calls, endpoint.throttled, endpoint.jobs)


def one_by_one(files: int, events_per_s: float = _EVENTS_PER_S) -> _Launch:
    """The simulation: one invocation of a Lambda function, and one call of SubmitJob, for each file."""
    chance = random.Random(0)
    limit = TokenBucket(CALLS_PER_S, CALLS_PER_S)
    launch = _Launch()
    free = [_Environment() for _ in range(_CONCURRENCY)]
    waiting: deque[_Event] = deque()
    agenda: list[tuple[float, int, _Event]] = []
    order = itertools.count()

    def call_s() -> float:
        return _CALL_S * chance.uniform(0.5, 1.5)

    def later(moment: float, event: _Event) -> None:
        heapq.heappush(agenda, (moment, next(order), event))

    for number in range(files):
        later(number / events_per_s, _Event())
    while agenda:
        now, _, event = heapq.heappop(agenda)
        if event.environment is None:
            waiting.append(event)
        else:
            launch.calls += 1
            launch.seconds = now
            if limit.take(now):
                launch.jobs += 1
                event.environment.succeeded(event.repeated)
                free.append(event.environment)
                launch.billed_s += now - event.started
            else:
                launch.throttled += 1
                if event.repeated < len(_PAUSES_S) and event.environment.may_repeat():
                    later(now + chance.random() * _PAUSES_S[event.repeated] + call_s(), event)
                    event.repeated += 1
                else:
                    free.append(event.environment)
                    launch.billed_s += now - event.started
                    if event.failed < len(_LAMBDA_PAUSES_S):
                        later(now + _LAMBDA_PAUSES_S[event.failed], _Event(event.failed + 1))
        while waiting and free:
            event = waiting.popleft()
            event.environment = free.pop()
            event.started = now
            later(now + call_s(), event)
    return launch
