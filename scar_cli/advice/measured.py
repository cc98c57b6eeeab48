"""What the runs of a function tell about its settings."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from scar_cli.cost.compute import MIB_PER_VCPU
from scar_cli.runs.histogram import Histogram
from scar_cli.runs.model import STAGES
from scar_cli.runs.summary import Failures, FunctionNumbers

_MIB = 1024**2
_OUT_OF_MEMORY = ("OutOfMemory", "signal: killed")
_TIMED_OUT = ("TimedOut", "Task timed out")
_USES_ALL = 0.95
"""A script that uses more than this part of its CPU time would be faster with more CPU."""


@dataclass(frozen=True)
class Measured:
    """Numbers of the runs in one place, on Lambda or in Batch. Sizes in MiB; 0: unknown."""

    runs: int
    """That were done."""
    mean_s: float
    """Of their total time."""
    longest_s: float
    script_s: float
    """Mean time of the script."""
    cpu_s: float | None
    """Mean CPU time of the script; None: unknown."""
    peak_mib: int
    usual_mib: int
    """Peak of 99% of the runs."""
    input_bytes: int
    """Mean size of an input."""
    out_of_memory: int
    """Failed runs that needed more memory."""
    timed_out: int
    delegated: int
    """Runs on Lambda that Batch continued."""

    @classmethod
    def of(cls, numbers: FunctionNumbers, failures: Iterable[Failures], mode: str) -> Measured:
        """The numbers of a function for `lambda` or `batch`; `failures` are those of the function."""
        done = numbers.durations.get(mode, Histogram())
        memory = numbers.memory.get(mode)
        used = memory.used if memory is not None else Histogram()
        script = numbers.stages[STAGES.index("run")]
        reasons = [(one.reason, one.runs) for one in failures]
        return cls(
            done.count,
            _mean(done) / 1000,
            done.maximum / 1000,
            _mean(script) / 1000,
            _mean(numbers.cpu) / 1000 if numbers.cpu.count else None,
            math.ceil(used.maximum / _MIB),
            math.ceil(used.percentile(99) / _MIB),
            numbers.input_bytes // max(1, numbers.runs),
            sum(count for reason, count in reasons if any(words in reason for words in _OUT_OF_MEMORY)),
            sum(count for reason, count in reasons if any(words in reason for words in _TIMED_OUT)),
            numbers.by_status["delegated"],
        )

    def seconds_with(self, memory_mib: int, now_mib: int) -> float:
        """How long a run takes on Lambda with another memory, which changes its CPU.

        The script runs for at least its CPU time divided by the vCPUs. It becomes faster only if it now waits
        for a part of one vCPU. If its CPU time is unknown, it may need all of its CPU.
        """
        now, then = now_mib / MIB_PER_VCPU, memory_mib / MIB_PER_VCPU
        if self.cpu_s is None:
            script = self.script_s * max(1.0, now / then)
        elif now < 1 and self.cpu_s > _USES_ALL * now * self.script_s:
            script = self.script_s * now / min(then, 1.0)
        else:
            script = max(self.script_s, self.cpu_s / then)
        return self.mean_s - self.script_s + script


def _mean(histogram: Histogram) -> float:
    return histogram.sum / histogram.count if histogram.count else 0.0
