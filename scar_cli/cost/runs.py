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
from scar_cli.cost.items import NAMES, Item, added, priced, times, total
from scar_cli.cost.requests import GIB, LOG_BYTES, reads, writes, writes_of_claim
from scar_cli.runs.model import Run

_MIB = 1024**2
_REQUESTS = ("s3_get", "s3_put", "dynamodb_write")
_COMPUTE = ("lambda_", "fargate")
"""Beginning of the keys without which the price of a run is unknown."""


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
    requests = zip(_REQUESTS, _requests_of(run, claims=sizes.once), strict=True)
    usages.append({key: number for key, number in requests if number})
    return added(*usages)


def _requests_of(run: Run, *, claims: bool) -> tuple[float, float, float]:
    """Reads and writes of S3, and writes to the table of claims (`_REQUESTS`)."""
    read = reads(run.input_bytes) if run.input_bytes is not None else 0
    written = 0
    if run.output_files:
        written = run.output_files * writes((run.output_bytes or 0) // run.output_files)
    has_claim = claims and run.status in ("done", "failed")
    return read, written, writes_of_claim((run.total_ms or 0.0) / 1000) if has_claim else 0.0


def cost_of_run(run: Run, sizes: Sizes, prices: RegionPrices) -> float | None:
    """What a run has cost in USD; None: the price of its compute time is unknown."""
    try:
        usage = usage_of_run(run, sizes, prices)
    except NoPriceError:
        return None
    if any(prices.usd_or_none(key) is None for key in usage if key.startswith(_COMPUTE)):
        return None
    return total(priced(usage, prices))


def _compute_usage(run: Run, sizes: Sizes, prices: RegionPrices) -> dict[str, float]:
    compute = _compute_of(run, sizes)
    return {} if compute is None else _of_a_node(compute, _seconds(run, compute), prices)


def _of_a_node(compute: Compute, seconds: float, prices: RegionPrices) -> dict[str, float]:
    """Each node of a job on several nodes is a run, and has an instance of its own."""
    return times(compute.usage(seconds, prices), 1 / compute.nodes)


def _compute_of(run: Run, sizes: Sizes) -> Compute | None:
    """What a run is billed for; None: a job whose size is unknown."""
    if run.mode == "lambda":
        if run.memory_given_bytes:
            return replace(sizes.on_lambda, memory_mib=round(run.memory_given_bytes / _MIB))
        return sizes.on_lambda
    if sizes.on_batch is None:
        return None
    return _with_memory(sizes.on_batch, run.memory_given_bytes)


def _seconds(run: Run, compute: Compute) -> float:
    """For how long compute is used, before rounding."""
    if compute.on_lambda:
        return ((run.billed_ms if run.billed_ms is not None else run.total_ms) or 0.0) / 1000
    start_s = JOB_START_S if compute.kind.startswith("FARGATE") else 0.0
    return (run.total_ms or 0.0) / 1000 + start_s


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


@dataclass(slots=True)
class _Rate:
    """The price of runs in the same place with the same memory, and what they have used."""

    compute: Compute | None
    per_second: dict[str, float]
    per_run: dict[str, float]
    usd_per_second: float
    usd_per_run: float
    is_known: bool
    """Whether the compute has a price."""
    seconds: float = 0.0
    """Billed time of all runs."""
    runs: int = 0

    @classmethod
    def of(cls, run: Run, sizes: Sizes, prices: RegionPrices) -> _Rate:
        compute = _compute_of(run, sizes)
        none = run._replace(input_bytes=None, output_files=None, status="")
        per_run = usage_of_run(none, replace(sizes, on_batch=None), prices)
        per_run = {key: per_run.get(key, 0.0) for key in ("logs_gb", "lambda_request", "sqs_request")}
        try:
            per_second = {} if compute is None else _of_a_node(compute, 3600, prices)
        except NoPriceError:
            return cls(None, {}, per_run, 0.0, 0.0, is_known=False)
        per_second = {key: quantity / 3600 for key, quantity in per_second.items()}
        is_known = all(prices.usd_or_none(key) is not None for key in per_second if key.startswith(_COMPUTE))
        usd_per_second, usd_per_run = total(priced(per_second, prices)), total(priced(per_run, prices))
        return cls(compute, per_second, per_run, usd_per_second, usd_per_run, is_known)

    def add(self, run: Run) -> float:
        """Add a run. Returns the price of its compute, invocation and log in USD."""
        seconds = self.compute.billed_s(_seconds(run, self.compute)) if self.compute is not None else 0.0
        self.seconds += seconds
        self.runs += 1
        return seconds * self.usd_per_second + self.usd_per_run

    def usage(self) -> dict[str, float]:
        """Of all runs."""
        return added(times(self.per_second, self.seconds), times(self.per_run, self.runs))


@dataclass(slots=True)
class _Requests:
    """Requests of the runs of a function to S3 and to the table of claims."""

    claims: bool
    usd_read: float
    usd_write: float
    usd_claim: float
    reads: float = 0.0
    writes: float = 0.0
    claimed: float = 0.0

    def add(self, run: Run) -> float:
        """Add a run. Returns the price of its requests in USD."""
        read, written, claimed = _requests_of(run, claims=self.claims)
        self.reads += read
        self.writes += written
        self.claimed += claimed
        return read * self.usd_read + written * self.usd_write + claimed * self.usd_claim

    def usage(self) -> dict[str, float]:
        """Of all runs."""
        return dict(zip(_REQUESTS, (self.reads, self.writes, self.claimed), strict=True))


class RunCosts:
    """Adds up what runs have cost, by function. There may be millions of runs, so prices of the same size are
    looked up once."""

    def __init__(self, sizes: Mapping[str, Sizes], prices: Mapping[str, RegionPrices]) -> None:
        """`sizes` by function, `prices` by region."""
        self._sizes = sizes
        self._prices = prices
        self._functions = {name: FunctionCost(name) for name in sizes}
        self._rates: dict[tuple[str, str, str, int | None], _Rate] = {}
        self._requests: dict[tuple[str, str], _Requests] = {}

    @property
    def functions(self) -> dict[str, FunctionCost]:
        """The costs of each function so far."""
        found = {name: replace(cost) for name, cost in self._functions.items()}
        for (name, *_rest), rate in self._rates.items():
            found[name].usage = added(found[name].usage, rate.usage())
        for (name, _region), requests in self._requests.items():
            found[name].usage = added(found[name].usage, requests.usage())
        return found

    def of(self, run: Run) -> float | None:
        """What a run has cost in USD; None: a price is unknown. Does not add it."""
        sizes, prices = self._sizes.get(run.function), self._prices.get(run.region)
        return None if sizes is None or prices is None else cost_of_run(run, sizes, prices)

    def add(self, run: Run) -> float | None:
        """Add a run; returns what it has cost in USD, None if a price is unknown."""
        cost = self._functions.setdefault(run.function, FunctionCost(run.function))
        cost.runs += 1
        cost.files += run.status == "done"
        rate = self._rates.get((run.function, run.region, run.mode, run.memory_given_bytes))
        if rate is None:
            sizes, prices = self._sizes.get(run.function), self._prices.get(run.region)
            if sizes is None or prices is None:
                cost.unknown += 1
                return None
            rate = _Rate.of(run, sizes, prices)
            self._rates[run.function, run.region, run.mode, run.memory_given_bytes] = rate
            read, write, claim = (prices.usd_or_none(key) or 0.0 for key in _REQUESTS)
            self._requests.setdefault((run.function, run.region), _Requests(sizes.once, read, write, claim))
        if not rate.is_known:
            cost.unknown += 1
            return None
        return rate.add(run) + self._requests[run.function, run.region].add(run)
