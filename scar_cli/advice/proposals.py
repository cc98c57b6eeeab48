"""Memory, timeout, place and architecture of one function, from its measured runs.

The proposals have margins, because the next input may be larger: a fifth of the highest peak of memory, and
half of the longest run, besides the time that is reserved for uploads. Another size must save 5%, another
place or architecture 15%, because such a change is more work.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from fdl_schemas.fargate import OFFERED
from fdl_schemas.model import BatchJob, ExecutionMode, Function
from fdl_schemas.prices.table import NoPriceError, RegionPrices
from scar_cli.advice.measured import Measured
from scar_cli.cost.compute import Compute
from scar_cli.cost.estimate import JOB_START_S, Load, Option, estimate
from scar_cli.runs.summary import Failures, FunctionNumbers
from scar_cli.table import counted

FEWEST_RUNS = 20
_FILES = 1000
"""Costs are of so many files."""
_MEMORY_MARGIN = 1.2
_TIME_MARGIN = 1.5
_STEP_MIB = 64
_LEAST_MIB, _MOST_MIB = 128, 10_240
"""Of Lambda."""
_MOST_S = 900
"""Of Lambda."""
_MUCH_SHORTER = 0.5
_WORTH, _WORTH_MOVING = 0.05, 0.15
_ALIKE = 0.02
"""Sizes whose costs differ by less than this: the fastest one is chosen."""
_MANY_DELEGATED = 0.5
_SHORTEST_JOB_S = 60
"""Jobs take about so long to start, so shorter runs are not moved to them."""


@dataclass(frozen=True)
class Proposal:
    """Another value of one setting."""

    path: tuple[str, ...]
    """Keys below the entry of the function in the FDL file."""
    now: str
    proposed: str
    """Both as in FDL."""
    reason: str
    usd_now: float | None = None
    """Of 1,000 files; None: the setting does not change it, or a price is unknown."""
    usd_then: float | None = None


@dataclass(frozen=True)
class Advice:
    """Proposals for one function."""

    function: str
    runs: int
    proposals: tuple[Proposal, ...]
    note: str = ""
    """Why there are none."""


def advice_of(
    function: Function, numbers: FunctionNumbers, failures: Iterable[Failures], prices: RegionPrices | None
) -> Advice:
    """What to change. `failures` are those of this function; without `prices`, costs are unknown."""
    mode = "lambda" if function.runs_in_lambda else "batch"
    measured = Measured.of(numbers, failures, mode)
    if measured.runs < FEWEST_RUNS and not (
        measured.out_of_memory or measured.timed_out or measured.delegated
    ):
        note = f"{counted(measured.runs, 'successful run')}, but a proposal needs at least {FEWEST_RUNS}."
        return Advice(function.name, measured.runs, (), note)
    found = tuple(_proposals(function, measured, prices))
    note = "" if found else "The settings fit the measured runs."
    return Advice(function.name, measured.runs, found, note)


def sizes_of(
    function: Function, numbers: FunctionNumbers, failures: Iterable[Failures], prices: RegionPrices | None
) -> list[Proposal]:
    """Only memory and vCPUs, where the function runs first."""
    mode = "lambda" if function.runs_in_lambda else "batch"
    return _sizes(function, Measured.of(numbers, failures, mode), prices)


def _sizes(function: Function, measured: Measured, prices: RegionPrices | None) -> list[Proposal]:
    if function.runs_in_lambda:
        return _memory(function, measured, prices)
    return _job_size(function, function.batch, measured, prices) if function.batch is not None else []


def _proposals(function: Function, measured: Measured, prices: RegionPrices | None) -> Iterator[Proposal]:
    sizes = _sizes(function, measured, prices)
    yield from sizes
    if (mode := _mode(function, measured, prices)) is not None:
        yield mode
        return
    if (timeout := _timeout(function, measured)) is not None:
        yield timeout
    if measured.runs >= FEWEST_RUNS and prices is not None:
        yield from _place(_with(function, sizes), measured, prices)


def _memory(function: Function, measured: Measured, prices: RegionPrices | None) -> list[Proposal]:
    """Of Lambda, which gives CPU in proportion to it."""
    now = function.memory_mib
    if measured.out_of_memory:
        needed = min(2 * now, _MOST_MIB)
        if needed == now:
            return []
        reason = f"{_runs(measured.out_of_memory)} ran out of memory."
        return [Proposal(("lambda", "memory"), str(now), str(needed), reason)]
    if not measured.peak_mib or measured.runs < FEWEST_RUNS:
        return []
    needed = math.ceil(measured.peak_mib * _MEMORY_MARGIN / _STEP_MIB) * _STEP_MIB
    needed = min(max(needed, _LEAST_MIB), _MOST_MIB)
    sizes = [*range(needed, _MOST_MIB + 1, _STEP_MIB), *([now] if now > needed else [])]
    cost = {size: size * measured.seconds_with(size, now) for size in sizes}
    cheap = min(cost.values()) * (1 + _ALIKE)
    best = min(
        (size for size in sizes if cost[size] <= cheap),
        key=lambda size: (round(measured.seconds_with(size, now), 2), size),
    )
    then_s = measured.seconds_with(best, now)
    is_enough = now >= needed
    is_worth_it = cost[best] < now * measured.mean_s * (1 - _WORTH) or then_s < measured.mean_s * (1 - _WORTH)
    if best == now or (is_enough and not is_worth_it):
        return []
    peak = f"The highest peak was {measured.peak_mib:,} MB, in 99% of the runs {measured.usual_mib:,} MB"
    change = f" Runs take about {then_s:.1f} s instead of {measured.mean_s:.1f} s."
    reason = (
        f"{peak}, and {_MEMORY_MARGIN - 1:.0%} is added."
        if best <= now or not is_enough
        else f"{peak}. The script waits for the CPU, and Lambda gives more CPU with more memory."
    )
    if abs(then_s / measured.mean_s - 1) > _WORTH:
        reason += change
    current = Compute.of_lambda(function)
    return [
        Proposal(
            ("lambda", "memory"),
            str(now),
            str(best),
            reason,
            _usd(current, measured.mean_s, prices),
            _usd(replace(current, memory_mib=best), then_s, prices),
        )
    ]


def _job_size(
    function: Function, job: BatchJob, measured: Measured, prices: RegionPrices | None
) -> list[Proposal]:
    """vCPUs and memory of a job on one node without a GPU."""
    if job.gpus or job.multi_node is not None:
        return []
    if measured.out_of_memory:
        memory, vcpus = 2 * job.memory_mib, job.vcpus
        peak = f"{_runs(measured.out_of_memory)} ran out of memory."
    elif measured.peak_mib and measured.runs >= FEWEST_RUNS:
        memory = math.ceil(measured.peak_mib * _MEMORY_MARGIN)
        used = (
            measured.cpu_s / measured.script_s if measured.cpu_s is not None and measured.script_s else None
        )
        vcpus = job.vcpus if used is None else min(job.vcpus, used * _MEMORY_MARGIN)
        peak = f"The highest peak was {measured.peak_mib:,} MB, and {_MEMORY_MARGIN - 1:.0%} is added."
        if used is not None:
            peak += f" The script uses {used:.1f} of {job.vcpus:g} vCPUs."
    else:
        return []
    wanted = _fitting(vcpus, memory, on_fargate=job.on_fargate)
    if wanted is None or wanted == (job.vcpus, job.memory_mib):
        return []
    current = Compute.of_batch(function, job)
    usd_now = _usd(current, measured.mean_s, prices)
    usd_then = _usd(replace(current, vcpus=wanted[0], memory_mib=wanted[1]), measured.mean_s, prices)
    is_enough = job.memory_mib >= memory
    if is_enough and usd_now is not None and usd_then is not None and usd_then > usd_now * (1 - _WORTH):
        return []
    found = []
    if wanted[0] != job.vcpus:
        found.append(
            Proposal(("batch", "vcpus"), f"{job.vcpus:g}", f"{wanted[0]:g}", peak, usd_now, usd_then)
        )
    if wanted[1] != job.memory_mib:
        usd = (None, None) if found else (usd_now, usd_then)
        found.append(Proposal(("batch", "memory"), str(job.memory_mib), str(wanted[1]), peak, *usd))
    return found


def _fitting(vcpus: float, memory_mib: int, *, on_fargate: bool) -> tuple[float, int] | None:
    """The smallest size with at least so much of both; None: Fargate offers none."""
    if not on_fargate:
        return math.ceil(vcpus), math.ceil(memory_mib / _STEP_MIB) * _STEP_MIB
    sizes = ((cpus, size) for cpus, memories in OFFERED.items() for size in memories)
    return next(((cpus, size) for cpus, size in sizes if cpus >= vcpus and size >= memory_mib), None)


def _mode(function: Function, measured: Measured, prices: RegionPrices | None) -> Proposal | None:
    """Another execution mode, if Lambda does not fit."""
    path, now = ("lambda", "execution_mode"), function.execution_mode
    if now is ExecutionMode.LAMBDA_BATCH:
        started = measured.delegated + measured.runs
        if measured.delegated <= started * _MANY_DELEGATED:
            return None
        reason = (
            f"Batch had to continue {measured.delegated:,} of {started:,} runs, which Lambda tried in vain."
        )
        tried = _usd(Compute.of_lambda(function), function.timeout_s, prices)
        share = measured.delegated / started
        return Proposal(path, now, ExecutionMode.BATCH, reason, None if tried is None else tried * share, 0.0)
    if now is not ExecutionMode.LAMBDA:
        return None
    most_s = _MOST_S - function.container.timeout_threshold_s
    if measured.timed_out and function.timeout_s >= _MOST_S:
        reason = f"{_runs(measured.timed_out)} took longer than Lambda allows. Batch continues such runs."
    elif measured.out_of_memory and function.memory_mib >= _MOST_MIB:
        reason = (
            f"{_runs(measured.out_of_memory)} needed more memory than Lambda has. Batch continues such runs."
        )
    elif measured.longest_s * _TIME_MARGIN > most_s and measured.longest_s > most_s * 0.9:
        reason = f"The longest run took {measured.longest_s:.0f} s, and Lambda allows {most_s:,} s."
    else:
        return None
    return Proposal(path, now, ExecutionMode.LAMBDA_BATCH, reason)


def _timeout(function: Function, measured: Measured) -> Proposal | None:
    job = function.batch
    if function.runs_in_lambda or job is None:
        path, now, most = ("lambda", "timeout"), function.timeout_s, _MOST_S
    else:
        path, now, most = ("batch", "timeout"), job.timeout_s, None
    reserved = function.container.timeout_threshold_s
    if measured.timed_out:
        needed = 2 * now
        reason = f"{_runs(measured.timed_out)} timed out."
    else:
        needed = _rounded_up(measured.longest_s * _TIME_MARGIN + reserved)
        longest = f"The longest run took {measured.longest_s:.1f} s"
        reason = f"{longest}; half of it and {reserved} s for uploads are added."
        if needed <= now * _MUCH_SHORTER:
            reason += " A run that hangs then costs less."
        elif measured.longest_s + reserved < now * 0.9:
            return None
    needed = needed if most is None else min(needed, most)
    return None if needed == now else Proposal(path, str(now), str(needed), reason)


def _rounded_up(seconds: float) -> int:
    """To 10 s below a minute, to 30 s below five minutes, else to a minute."""
    step = next(step for limit, step in ((60, 10), (300, 30), (math.inf, 60)) if seconds <= limit)
    return math.ceil(seconds / step) * step


def _place(function: Function, measured: Measured, prices: RegionPrices) -> Iterator[Proposal]:
    """The cheapest place with at least the same memory and CPU, and the other architecture."""
    load = Load(_FILES, max(0.001, measured.mean_s), measured.input_bytes)
    current, *others = estimate(function, load, prices).options
    if current.problem or not current.usd:
        return
    possible = [one for one in others if not one.problem and one.usd < current.usd * (1 - _WORTH_MOVING)]
    same = [one for one in possible if one.compute.architecture == function.architecture]
    if measured.mean_s < _SHORTEST_JOB_S:
        same = [one for one in same if one.compute.on_lambda]
    if same:
        yield from _moved(function, current, min(same, key=lambda one: one.usd))
    elif arm := [one for one in possible if one.compute.kind == current.compute.kind]:
        best = min(arm, key=lambda one: one.usd)
        reason = f"The same time costs less on {best.compute.architecture}, if the image exists for it."
        yield Proposal(
            ("lambda", "architectures"),
            f"[{function.architecture}]",
            f"[{best.compute.architecture}]",
            reason,
            current.usd,
            best.usd,
        )


def _moved(function: Function, current: Option, best: Option) -> Iterator[Proposal]:
    """Run the function elsewhere."""
    compute, mode = best.compute, ("lambda", "execution_mode")
    if compute.on_lambda:
        reason = f"{compute.described()} has the same CPU and memory, and starts faster than a job."
        yield Proposal(mode, function.execution_mode, ExecutionMode.LAMBDA, reason, current.usd, best.usd)
        return
    start = f" A job takes about {JOB_START_S:.0f} s to start." if compute.kind.startswith("FARGATE") else ""
    spot = " AWS may interrupt a job, which is then run again." if compute.kind.endswith("SPOT") else ""
    reason = f"{compute.described()} has at least the same CPU and memory.{start}{spot}"
    if not current.compute.on_lambda:
        path = ("batch", "compute_resources", "type")
        yield Proposal(path, current.compute.kind, compute.kind, reason, current.usd, best.usd)
        return
    yield Proposal(mode, function.execution_mode, ExecutionMode.BATCH, reason, current.usd, best.usd)
    size = f"vcpus: {compute.vcpus:g}, memory: {compute.memory_mib}"
    batch = f"{{{size}, compute_resources: {{type: {compute.kind}}}}}"
    yield Proposal(("batch",), "none", batch, "The size of its jobs.")


def _with(function: Function, sizes: Iterable[Proposal]) -> Function:
    """The function with the proposed sizes."""
    for one in sizes:
        if one.path == ("lambda", "memory"):
            function = replace(function, memory_mib=int(one.proposed))
        elif function.batch is not None and one.path == ("batch", "vcpus"):
            function = replace(function, batch=replace(function.batch, vcpus=float(one.proposed)))
        elif function.batch is not None:
            function = replace(function, batch=replace(function.batch, memory_mib=int(one.proposed)))
    return function


def _runs(number: int) -> str:
    return counted(number, "run", comma=True)


def _usd(compute: Compute, seconds: float, prices: RegionPrices | None) -> float | None:
    """The price of the compute of 1,000 runs; None: unknown."""
    if prices is None:
        return None
    start_s = JOB_START_S if compute.kind.startswith("FARGATE") else 0.0
    try:
        return _FILES * compute.usd_of(seconds + start_s, prices)
    except NoPriceError:
        return None
