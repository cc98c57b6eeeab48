"""What a workflow costs in a month in which nothing runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from fdl_schemas.model import Function, Workflow
from fdl_schemas.prices.table import NoPriceError, RegionPrices
from scar_cli.cost.compute import HOURS_PER_MONTH, Compute
from scar_cli.cost.items import Item, added, priced, times, total
from scar_cli.cost.known import known_prices
from scar_cli.cost.requests import GIB

_CENT: Final = 0.005
_POLLS: Final = 5 * 3 * 60 * HOURS_PER_MONTH
"""Lambda polls an empty queue over five connections, for 20 seconds each
(https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-scaling.html)."""


def idle_cost(
    workflow: Workflow,
    prices: RegionPrices,
    *,
    image_bytes: int | None = None,
    context: Mapping[str, str] | None = None,
) -> tuple[Item, ...]:
    """The items of a month.

    :param image_bytes: compressed size of an image in a registry, which is unknown before it is assembled;
        None: such images are left out. Image files have their own size.
    :param context: values of `-c`: `dashboard`, `alarm_email`, `alarm_topic`.
    """
    usages: list[dict[str, float]] = [_of_function(function, prices) for function in workflow.functions]
    number, known_bytes = images_of(workflow)
    usages.append({"ecr_gb_month": (known_bytes + number * (image_bytes or 0)) / GIB})
    context = context or {}
    if context.get("dashboard") == "true":
        usages.append({"dashboard_month": 1.0})
    if context.get("alarm_email") or context.get("alarm_topic"):
        usages.append({"alarm_month": float(sum(map(_alarm_metrics, workflow.functions)))})
    return priced(added(*usages), prices)


def idle_by_region(
    workflow: Workflow,
    prices_of: Mapping[str | None, RegionPrices],
    *,
    image_bytes: int | None = None,
    context: Mapping[str, str] | None = None,
) -> list[tuple[RegionPrices, tuple[Item, ...]]]:
    """The items of a month for each region of a workflow.

    :param prices_of: the prices of each function's region; `None` is that of the deployment.
    """
    found: list[tuple[RegionPrices, tuple[Item, ...]]] = []
    regions = {prices.region: prices for prices in prices_of.values()}
    for prices in regions.values():
        here = tuple(one for one in workflow.functions if prices_of[one.region].region == prices.region)
        # The stack has one dashboard.
        own = {key: value for key, value in (context or {}).items() if not found or key != "dashboard"}
        part = replace(workflow, functions=here)
        found.append((prices, idle_cost(part, prices, image_bytes=image_bytes, context=own)))
    return found


def idle_in_words(workflow: Workflow, region: str, context: Mapping[str, str]) -> str | None:
    """One sentence about a workflow that is about to be deployed; None: there are no prices.

    :param region: of the deployment.
    """
    table = known_prices()
    prices_of = {one.region: table.of(one.region or region) for one in workflow.functions}
    known = {place: prices for place, prices in prices_of.items() if prices is not None}
    if len(known) < len(prices_of):
        return None
    items = [item for _, some in idle_by_region(workflow, known, context=context) for item in some]
    per_gb = next(iter(known.values())).usd_or_none("ecr_gb_month")
    costs = [f"{total(items):,.2f} USD a month"] if total(items) >= _CENT else []
    if images_of(workflow)[0]:
        price = f": {per_gb:.2f} USD a month for each GB" if per_gb is not None else ""
        costs.append(f"the storage of its images in ECR{price}")
    missing = "".join(f"; the price of {item.name} is unknown" for item in items if item.usd is None)
    return f"While nothing runs, this costs {', and '.join(costs) or 'nothing'}{missing}."


def images_of(workflow: Workflow) -> tuple[int, int]:
    """How many images of registries are stored in ECR, counted by region, and the bytes of image files."""
    files, references = set(), set()
    for function in workflow.functions:
        if not function.needs_assembled_image:
            continue
        if function.container.image_file is not None:
            files.add(function.container.image_file)
        else:
            references.add((function.container.image, function.architecture, function.region))
    return len(references), sum(file.stat().st_size for file in files if file.is_file())


def _alarm_metrics(function: Function) -> int:
    """Metrics of the alarms on a function; AWS charges for each of them, even if functions share an alarm.

    Failed events, throttled invocations, the error rate (two), and the age of the oldest event in each queue
    and in Lambda.
    """
    return 4 + len({entry.queue for entry in function.inputs})


def _of_function(function: Function, prices: RegionPrices) -> dict[str, float]:
    usage: dict[str, float] = {}
    queues = {entry.queue for entry in function.inputs if entry.queue is not None}
    if queues:
        usage["sqs_request"] = float(len(queues) * _POLLS)
    job = function.batch
    if job is not None and not job.on_fargate and job.compute_resources.min_v_cpus:
        compute = Compute.of_batch(function, job)
        try:
            key, _share = compute.instance(prices)
        except NoPriceError as error:
            return {**usage, error.key: float(HOURS_PER_MONTH)}
        vcpus = prices.instances[key.partition(":")[2]].vcpus
        instances = job.compute_resources.min_v_cpus / vcpus
        usage = added(usage, times(compute.of_instance(key), instances * HOURS_PER_MONTH))
    return usage
