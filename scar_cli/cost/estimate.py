"""What a workflow would cost, and where each of its functions could run.

Each function is estimated with the same number of files, seconds and bytes. A run takes the same time
wherever it gets at least as much CPU and memory as the function has now: other sizes are chosen accordingly.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final

from fdl_schemas.fargate import OFFERED, nearest
from fdl_schemas.graph import edges
from fdl_schemas.instances import default_types
from fdl_schemas.model import ExecutionMode, Function, Workflow
from fdl_schemas.prices.table import EC2, SPOT, NoPriceError, RegionPrices
from scar_cli.cost import requests
from scar_cli.cost.compute import HOURS_PER_MONTH, LAMBDA, MIB_PER_VCPU, Compute, computes_of
from scar_cli.cost.items import NAMES, Item, added, priced, times, total

JOB_START_S: Final = 20.0
"""Billed time before a job on Fargate runs: it pulls its image and starts the runner. An assumption; measure
it with `scar cost --since`."""
_MOST_LAMBDA_MIB: Final = 10_240
_MOST_LAMBDA_S: Final = 900
_MOST_LAMBDA_STORAGE_MIB: Final = 10_240
_MOST_FARGATE_STORAGE_GIB: Final = 200
_MINOR: Final = ("ebs_gb_month", "ipv4_hour", "fargate_storage_gb_hour", "lambda_storage_gb_s")
"""Parts of the price of a run without which a comparison is still useful."""
_LAMBDA_CONCURRENCY: Final = 1000
"""Default quota of an account."""


@dataclass(frozen=True, slots=True)
class Load:
    """What a function has to do."""

    files: int
    seconds: float
    """Duration of a run: download, script and upload."""
    size: int
    """Bytes of an input, and of each output."""
    uploaded: bool = True
    """Whether inputs come from outside the workflow."""
    metrics: bool = True
    """Whether runs write custom metrics."""


@dataclass(frozen=True, slots=True)
class Option:
    """A place where a function could run."""

    compute: Compute
    items: tuple[Item, ...] = ()
    """Of all files."""
    problem: str = ""
    """Why it cannot run there, or why the price is unknown."""
    is_current: bool = False

    @property
    def usd(self) -> float:
        """The price of all files, as far as it is known."""
        return total(self.items)


@dataclass(frozen=True, slots=True)
class FunctionEstimate:
    """A function as it is, and its options."""

    function: Function
    prices: RegionPrices
    items: tuple[Item, ...]
    """Of all files, as the function is."""
    options: tuple[Option, ...]
    """The current one first."""
    notes: tuple[str, ...] = ()

    @property
    def cheapest(self) -> Option | None:
        """The cheapest option without a problem."""
        possible = [option for option in self.options if not option.problem]
        return min(possible, key=lambda option: option.usd) if possible else None


def estimates(
    workflow: Workflow, load: Load, prices_of: Mapping[str | None, RegionPrices]
) -> list[FunctionEstimate]:
    """An estimate for each function of a workflow.

    :param prices_of: the prices of each function's region; `None` is that of the deployment.
    """
    fed = {target for _source, target in edges((*workflow.functions, *workflow.oscar_services))}
    return [
        estimate(function, replace(load, uploaded=function.name not in fed), prices_of[function.region])
        for function in workflow.functions
    ]


def estimate(function: Function, load: Load, prices: RegionPrices) -> FunctionEstimate:
    """Estimate one function."""
    current = _current(function, load)
    options = [Option(current, is_current=True), *(Option(one) for one in _others(function, current))]
    done = tuple(_with_items(function, option, load, prices) for option in options)
    return FunctionEstimate(function, prices, done[0].items, done, tuple(_notes(function, load)))


def lambda_limit_s(function: Function) -> float:
    """How long a run of a Lambda function may take: the rest of its timeout is for uploads."""
    return max(1.0, function.timeout_s - function.container.timeout_threshold_s)


def _current(function: Function, load: Load) -> Compute:
    """Where most of the time of a run is spent as the function is."""
    computes = computes_of(function)
    if function.execution_mode is ExecutionMode.LAMBDA_BATCH and load.seconds <= lambda_limit_s(function):
        return computes[0]
    return computes[-1]


def _others(function: Function, current: Compute) -> Iterator[Compute]:
    """The other places, with at least as much CPU and memory."""
    vcpus = current.memory_mib / MIB_PER_VCPU if current.on_lambda else current.vcpus
    memory = current.memory_mib if current.on_lambda else max(current.memory_mib, round(vcpus * MIB_PER_VCPU))
    for architecture in ("x86_64", "arm64"):
        on_lambda = Compute(
            LAMBDA,
            memory,
            architecture,
            storage_mib=function.ephemeral_storage_mib,
            gpus=current.gpus,
            nodes=current.nodes,
        )
        if not (current.on_lambda and architecture == current.architecture):
            yield on_lambda
    fargate_vcpus, fargate_mib = nearest(vcpus, current.memory_mib)
    types = current.instance_types or default_types(current.architecture, gpu=current.gpus > 0)
    public = current.public_address or current.on_lambda
    for kind in ("FARGATE", "FARGATE_SPOT", "EC2", "SPOT"):
        if kind == current.kind:
            continue
        of_fargate = kind.startswith("FARGATE")
        yield Compute(
            kind,
            fargate_mib if of_fargate else current.memory_mib,
            current.architecture,
            fargate_vcpus if of_fargate else max(1.0, math.ceil(vcpus)),
            0 if current.on_lambda else current.storage_mib,
            current.gpus,
            current.nodes,
            () if of_fargate else types,
            public,
        )


def _with_items(function: Function, option: Option, load: Load, prices: RegionPrices) -> Option:
    compute = _with_storage(option.compute, load)
    problem = _problem(function, compute, load, is_current=option.is_current)
    try:
        run = _usage_of_run(function, compute, load, prices)
        compute_keys = _usage_of_compute(compute, load, prices)
    except NoPriceError as error:
        return replace(option, compute=compute, problem=problem or _unknown(error.key))
    usage = times(added(run, requests.of_storage(function, load.size, uploaded=load.uploaded)), load.files)
    if load.metrics:
        months = _hours(function, compute, load) / HOURS_PER_MONTH
        usage = added(usage, {"metric_month": requests.METRICS * months})
    unknown = [key for key in compute_keys if key not in _MINOR and prices.usd_or_none(key) is None]
    if unknown and not problem:
        problem = _unknown(unknown[0])
    return replace(option, compute=compute, items=priced(usage, prices), problem=problem)


def _unknown(key: str) -> str:
    name = NAMES.get(key) or key.replace(SPOT, "EC2 Spot ").replace(EC2, "EC2 ")
    return f"no price in the table: {name}"


def _usage_of_run(function: Function, compute: Compute, load: Load, prices: RegionPrices) -> dict[str, float]:
    usages = [
        _usage_of_compute(compute, load, prices),
        requests.of_invocation(function, compute),
        requests.of_queue(function, compute),
        requests.of_once(function, load.seconds),
        requests.of_logs(function),
    ]
    if not compute.on_lambda and function.execution_mode is ExecutionMode.LAMBDA_BATCH:
        # Lambda tries first, until its time is up.
        usages += [Compute.of_lambda(function).usage(lambda_limit_s(function), prices)]
    return added(*usages)


def _usage_of_compute(compute: Compute, load: Load, prices: RegionPrices) -> dict[str, float]:
    start_s = JOB_START_S if compute.kind.startswith("FARGATE") else 0.0
    usage = compute.usage(load.seconds + start_s, prices)
    return {key: quantity for key, quantity in usage.items() if quantity}


def _with_storage(compute: Compute, load: Load) -> Compute:
    """A Lambda function needs room for the input and the output."""
    needed_mib = math.ceil(2 * load.size / requests.MIB)
    if compute.on_lambda and compute.storage_mib < needed_mib <= _MOST_LAMBDA_STORAGE_MIB:
        return replace(compute, storage_mib=needed_mib)
    return compute


def _problem(function: Function, compute: Compute, load: Load, *, is_current: bool) -> str:
    """Why a function cannot run there; empty if it can."""
    place = "Lambda" if compute.on_lambda else "Fargate"
    needed_gib = 2 * load.size / requests.GIB
    if not compute.on_lambda and not compute.kind.startswith("FARGATE"):
        return ""
    limits = [
        (compute.gpus > 0, f"{place} has no GPUs"),
        (compute.nodes > 1, f"{place} has no jobs on several nodes"),
    ]
    if compute.on_lambda:
        most_s = _MOST_LAMBDA_S - function.container.timeout_threshold_s
        limits += [
            (compute.memory_mib > _MOST_LAMBDA_MIB, f"Lambda has at most {_MOST_LAMBDA_MIB:,} MB of memory"),
            (load.seconds > most_s, f"Lambda runs for at most {most_s:,} s before the upload"),
            (needed_gib > _MOST_LAMBDA_STORAGE_MIB / 1024, "Lambda has at most 10 GB for input and output"),
        ]
    else:
        largest = max(OFFERED)
        most_gib = _MOST_FARGATE_STORAGE_GIB
        limits += [
            (
                not is_current and not _is_offered(compute, function),
                f"Fargate has at most {largest:g} vCPUs with {OFFERED[largest][-1]:,} MB",
            ),
            (needed_gib > most_gib, f"Fargate has at most {most_gib} GB for input and output"),
        ]
    return next((text for holds, text in limits if holds), "")


def _is_offered(compute: Compute, function: Function) -> bool:
    """Whether Fargate's size has at least the memory and CPU of the function."""
    current = computes_of(function)[-1]
    vcpus = current.memory_mib / MIB_PER_VCPU if current.on_lambda else current.vcpus
    return compute.memory_mib >= current.memory_mib and compute.vcpus >= vcpus


def _hours(function: Function, compute: Compute, load: Load) -> int:
    """Hours in which runs end, if all files arrive at once: custom metrics are billed for each of them."""
    at_once = float(function.reserved_concurrency or _LAMBDA_CONCURRENCY)
    if not compute.on_lambda and function.batch is not None:
        at_once = max(1.0, function.batch.compute_resources.max_v_cpus / (compute.vcpus * compute.nodes))
    return max(1, math.ceil(load.files * load.seconds / at_once / 3600))


def _notes(function: Function, load: Load) -> Iterator[str]:
    if function.execution_mode is ExecutionMode.LAMBDA and load.seconds > lambda_limit_s(function):
        needed = math.ceil(load.seconds) + function.container.timeout_threshold_s
        if needed <= _MOST_LAMBDA_S:
            yield f"Runs of {load.seconds:g} s need a `timeout` of {needed} s; it is {function.timeout_s} s"
    if function.batch is not None and load.seconds > function.batch.timeout_s:
        yield f"Runs of {load.seconds:g} s exceed the `timeout` of a job, {function.batch.timeout_s} s"
