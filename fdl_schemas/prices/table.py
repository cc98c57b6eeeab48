"""The table of prices.

A price that no source states is not in the table: reading it raises `NoPriceError`. Prices are never copied
from one region to another.

Prices are those of the first paid tier, in USD, without the free tier, taxes and discounts.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

TABLE: Final = Path(__file__).with_name("table.json")

UNITS: Final[Mapping[str, str]] = {
    "lambda_request": "request",
    "lambda_x86_gb_s": "GB-second",
    "lambda_arm_gb_s": "GB-second",
    "lambda_storage_gb_s": "GB-second",
    "fargate_vcpu_hour": "vCPU-hour",
    "fargate_gb_hour": "GB-hour",
    "fargate_arm_vcpu_hour": "vCPU-hour",
    "fargate_arm_gb_hour": "GB-hour",
    "fargate_spot_vcpu_hour": "vCPU-hour",
    "fargate_spot_gb_hour": "GB-hour",
    "fargate_arm_spot_vcpu_hour": "vCPU-hour",
    "fargate_arm_spot_gb_hour": "GB-hour",
    "fargate_storage_gb_hour": "GB-hour",
    "ebs_gb_month": "GB-month",
    "ipv4_hour": "hour",
    "s3_put": "request",
    "s3_get": "request",
    "s3_gb_month": "GB-month",
    "ecr_gb_month": "GB-month",
    "logs_gb": "GB",
    "logs_gb_month": "GB-month",
    "sqs_request": "request",
    "dynamodb_write": "write",
    "dynamodb_gb_month": "GB-month",
    "metric_month": "metric-month",
    "alarm_month": "metric-month",
    "dashboard_month": "month",
    "transfer_gb": "GB",
    "api_request": "request",
}
"""The keys of prices, and what one unit is. A GB has 2^30 bytes."""
EC2: Final = "ec2:"
SPOT: Final = "spot:"
"""Beginning of the keys of EC2 instances, on demand and as Spot: `ec2:m6i.xlarge`, USD an hour."""


def lambda_compute(architecture: str) -> str:
    """The key of a Lambda function's compute on `x86_64` or `arm64`."""
    return f"lambda_{'arm' if architecture == 'arm64' else 'x86'}_gb_s"


def fargate_compute(architecture: str, type_of_resources: str) -> tuple[str, str]:
    """The keys of the vCPUs and of the memory of a job on `FARGATE` or `FARGATE_SPOT`."""
    arm = "_arm" if architecture == "arm64" else ""
    spot = "_spot" if type_of_resources == "FARGATE_SPOT" else ""
    return f"fargate{arm}{spot}_vcpu_hour", f"fargate{arm}{spot}_gb_hour"


class NoPriceError(Exception):
    """No source states the price of `key` in `region`."""

    def __init__(self, key: str, region: str) -> None:
        super().__init__(f"no price of {key} in {region}")
        self.key = key
        self.region = region


@dataclass(frozen=True, slots=True)
class Source:
    """Where a price is from."""

    date: str
    """When AWS stated it: `2026-10-01`, or less precise, such as `2026`."""
    text: str


@dataclass(frozen=True, slots=True)
class Price:
    """One price, in USD per unit."""

    usd: float
    source: str
    """A key of `Prices.sources`."""


@dataclass(frozen=True, slots=True)
class Instance:
    """The size of an EC2 instance type."""

    vcpus: int
    memory_gib: float
    gpus: int = 0


@dataclass(frozen=True, slots=True)
class RegionPrices:
    """The prices of one region."""

    region: str
    prices: Mapping[str, Price]
    instances: Mapping[str, Instance]
    """All instance types of the table, whether or not they have a price here."""

    def usd(self, key: str) -> float:
        """
        Raises:
            NoPriceError: the table has none.
        """
        price = self.prices.get(key)
        if price is None:
            raise NoPriceError(key, self.region)
        return price.usd

    def usd_or_none(self, key: str) -> float | None:
        """The price; None: the table has none."""
        price = self.prices.get(key)
        return None if price is None else price.usd


@dataclass(frozen=True, slots=True)
class Prices:
    """All prices of the table."""

    sources: Mapping[str, Source]
    instances: Mapping[str, Instance]
    regions: Mapping[str, Mapping[str, Price]]

    def of(self, region: str) -> RegionPrices | None:
        """The prices of a region; None: the table has none."""
        prices = self.regions.get(region)
        return None if prices is None else RegionPrices(region, prices, self.instances)

    def sources_of(self, region: str, keys: Iterable[str]) -> list[Source]:
        """The sources of some prices of a region, oldest first."""
        prices = self.regions.get(region, {})
        used = {prices[key].source for key in keys if key in prices}
        return sorted((self.sources[name] for name in used), key=lambda source: source.date)


def load(path: Path = TABLE) -> Prices:
    """Read a table.

    Raises:
        OSError: it cannot be read.
        ValueError: it is not a table of prices.
    """
    try:
        return _prices(json.loads(path.read_text(encoding="utf-8")))
    except (KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"{path} is not a table of prices") from error


def _prices(content: Any) -> Prices:
    sources = {name: Source(str(one["date"]), str(one["text"])) for name, one in content["sources"].items()}
    instances = {
        name: Instance(int(one["vcpus"]), float(one["memory_gib"]), int(one.get("gpus", 0)))
        for name, one in content["instances"].items()
    }
    regions = {
        region: {key: Price(float(usd), str(source)) for key, (usd, source) in prices.items()}
        for region, prices in content["regions"].items()
    }
    for region, prices in regions.items():
        for key, price in prices.items():
            kind, colon, name = key.partition(":")
            known = name in instances and f"{kind}:" in (EC2, SPOT) if colon else key in UNITS
            if not known or price.source not in sources or not 0 < price.usd < 1e6:  # noqa: PLR2004 (nonsense)
                raise ValueError(f"{region}: {key} is not a price")
    return Prices(sources, instances, regions)


def as_text(prices: Prices) -> str:
    """A table as text for `load`, one price a line."""
    sources = [
        f"  {json.dumps(name)}: {json.dumps({'date': one.date, 'text': one.text})}"
        for name, one in prices.sources.items()
    ]
    instances = [
        f"  {json.dumps(name)}: {json.dumps(_instance_as_json(one))}"
        for name, one in sorted(prices.instances.items())
    ]
    regions = []
    for region, table in prices.regions.items():
        lines = [
            f"   {json.dumps(key)}: {json.dumps([one.usd, one.source])}" for key, one in sorted(table.items())
        ]
        regions.append(f"  {json.dumps(region)}: {{\n" + ",\n".join(lines) + "\n  }")
    parts = {"sources": sources, "instances": instances, "regions": regions}
    body = ",\n".join(f' "{name}": {{\n' + ",\n".join(lines) + "\n }" for name, lines in parts.items())
    return '{\n "currency": "USD",\n' + body + "\n}\n"


def _instance_as_json(instance: Instance) -> dict[str, float]:
    content: dict[str, float] = {"vcpus": instance.vcpus, "memory_gib": instance.memory_gib}
    return {**content, "gpus": instance.gpus} if instance.gpus else content
