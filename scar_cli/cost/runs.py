"""What runs have cost.

Lambda reports the billed time of each invocation. AWS Batch does not: a job is billed for its size and its
duration, on Fargate also for the time in which it starts. Requests to S3, queues and the log are counted for
each run; storage is not, because it does not depend on runs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from fdl_schemas.fargate import OFFERED
from fdl_schemas.prices.table import NoPriceError, RegionPrices
from scar_cli.cost.compute import Compute
from scar_cli.cost.estimate import JOB_START_S
from scar_cli.cost.items import NAMES, Item, added, priced, total
from scar_cli.cost.requests import BEAT_S, GIB, LOG_BYTES, WRITES_OF_A_CLAIM, reads, writes
from scar_cli.runs.model import Run

_MIB = 1024**2


@dataclass(frozen=True, slots=True)
class Sizes:
    """What the runs of a deployed function are billed for."""

    on_lambda: Compute
    on_batch: Compute | None = None
    queued: bool = False
    """Whether its files wait in an SQS queue."""
    once: bool = False


def usage_of_run(run: Run, sizes: Sizes, prices: RegionPrices) -> dict[str, float]:
    """What AWS bills for a run.

    Raises:
        NoPriceError: it is unknown which EC2 instance is the cheapest.
    """
    usages = [_compute_usage(run, sizes, prices), {"logs_gb": LOG_BYTES / GIB}]
    if run.mode == "lambda":
        usages.append({"lambda_request": 1.0, "sqs_request": 3.0 if sizes.queued else 0.0})
    if run.input_bytes is not None:
        usages.append({"s3_get": float(reads(run.input_bytes))})
    if run.output_files:
        each = (run.output_bytes or 0) // run.output_files
        usages.append({"s3_put": float(run.output_files * writes(each))})
    if sizes.once and run.status in ("done", "failed"):
        beats = (run.total_ms or 0.0) / 1000 // BEAT_S
        usages.append({"dynamodb_write": WRITES_OF_A_CLAIM + beats})
    return added(*usages)


def cost_of_run(run: Run, sizes: Sizes, prices: RegionPrices) -> float | None:
    """What a run has cost in USD; None: the price of its compute time is unknown."""
    try:
        usage = usage_of_run(run, sizes, prices)
    except NoPriceError:
        return None
    if any(prices.usd_or_none(key) is None for key in usage if key.startswith(("lambda_", "fargate"))):
        return None
    return total(priced(usage, prices))


def _compute_usage(run: Run, sizes: Sizes, prices: RegionPrices) -> dict[str, float]:
    if run.mode == "lambda":
        compute = sizes.on_lambda
        if run.memory_given_bytes:
            compute = replace(compute, memory_mib=round(run.memory_given_bytes / _MIB))
        milliseconds = run.billed_ms if run.billed_ms is not None else run.total_ms
        return compute.usage((milliseconds or 0.0) / 1000, prices)
    if sizes.on_batch is None:
        return {}
    compute = _with_memory(sizes.on_batch, run.memory_given_bytes)
    start_s = JOB_START_S if compute.kind.startswith("FARGATE") else 0.0
    # Each node of a job on several nodes is a run.
    return replace(compute, nodes=1).usage((run.total_ms or 0.0) / 1000 + start_s, prices)


def _with_memory(compute: Compute, given: int | None) -> Compute:
    """The size of a further try (`batch.retry`), of which the log has the memory: with it, Fargate offers a
    certain number of vCPUs, or more."""
    memory = round((given or 0) / _MIB)
    if memory <= compute.memory_mib:
        return compute
    vcpus = compute.vcpus
    if compute.kind.startswith("FARGATE"):
        fitting = (option for option, sizes in OFFERED.items() if option >= vcpus and memory in sizes)
        vcpus = next(fitting, vcpus)
    return replace(compute, memory_mib=memory, vcpus=vcpus)


@dataclass
class FunctionCost:
    """What the runs of a function have cost."""

    function: str
    runs: int = 0
    files: int = 0
    """Runs that were done."""
    usage: dict[str, float] = field(default_factory=dict)
    unknown: int = 0
    """Runs without a price."""

    def items(self, prices: RegionPrices) -> tuple[Item, ...]:
        """The items of all runs."""
        return priced(self.usage, prices)

    def as_json(self, prices: RegionPrices, date: str | None) -> dict[str, Any]:
        """As in a report (`functions[].cost`)."""
        items = self.items(prices)
        usd = total(items)
        return {
            "usd": usd,
            "per_file_usd": usd / self.files if self.files else None,
            "items": {item.name: item.usd for item in items if item.usd is not None},
            "missing": [NAMES.get(item.key, item.key) for item in items if item.usd is None],
            "runs_without_price": self.unknown,
            "priced": date,
        }


class RunCosts:
    """Adds up what runs have cost, by function."""

    def __init__(self, sizes: Mapping[str, Sizes], prices: Mapping[str, RegionPrices]) -> None:
        """`sizes` by function, `prices` by region."""
        self._sizes = sizes
        self._prices = prices
        self.functions = {name: FunctionCost(name) for name in sizes}

    def of(self, run: Run) -> float | None:
        """What a run has cost in USD; None: unknown."""
        sizes, prices = self._sizes.get(run.function), self._prices.get(run.region)
        return None if sizes is None or prices is None else cost_of_run(run, sizes, prices)

    def add(self, run: Run) -> float | None:
        """Add a run; returns what it has cost in USD."""
        cost = self.functions.setdefault(run.function, FunctionCost(run.function))
        cost.runs += 1
        cost.files += run.status == "done"
        usd = self.of(run)
        if usd is None:
            cost.unknown += 1
        else:
            usage = usage_of_run(run, self._sizes[run.function], self._prices[run.region])
            cost.usage = added(cost.usage, usage)
        return usd
