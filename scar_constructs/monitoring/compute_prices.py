"""What the time of a function costs, for the dashboard."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from fdl_schemas.model import Function
from fdl_schemas.prices.table import RegionPrices, fargate_compute, lambda_compute, load

DEFAULT_REGION = "us-east-1"
_MS_OF_AN_HOUR = 3_600_000


def prices_for(functions: Sequence[Function], region: str | None) -> RegionPrices:
    """The prices of a region; those of us-east-1 if the region is unknown, or if the table lacks one of them.

    :param functions: those whose prices are needed.
    """
    table = load()
    keys = {key for function in functions for key in (*_of_lambda(function), *_of_jobs(function))}
    found = None if region is None else table.of(region)
    if found is None or any(found.usd_or_none(key) is None for key in keys):
        found = table.of(DEFAULT_REGION)
    if found is None:
        raise ValueError(f"the table of prices lacks {DEFAULT_REGION}")
    return found


def usd_per_invocation(prices: RegionPrices) -> float:
    """The price of an invocation, without its duration."""
    return prices.usd("lambda_request")


def usd_per_ms(function: Function, prices: RegionPrices) -> float:
    """The price of a millisecond of an invocation."""
    _request, second = _of_lambda(function)
    return prices.usd(second) * function.memory_mib / 1024 / 1000


def usd_per_ms_of_jobs(function: Function, prices: RegionPrices) -> float | None:
    """The price of a millisecond of a job on Fargate; None: the function has no such jobs."""
    keys = tuple(_of_jobs(function))
    if function.batch is None or not keys:
        return None
    vcpu, gib = map(prices.usd, keys)
    return (function.batch.vcpus * vcpu + function.batch.memory_mib / 1024 * gib) / _MS_OF_AN_HOUR


def _of_lambda(function: Function) -> tuple[str, str]:
    return "lambda_request", lambda_compute(function.architecture)


def _of_jobs(function: Function) -> Iterable[str]:
    if function.batch is None or not function.batch.on_fargate:
        return ()
    return fargate_compute(function.architecture, function.batch.compute_resources.type)
