"""Quantities that AWS bills, and their price."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from fdl_schemas.prices.table import EC2, SPOT, UNITS, RegionPrices

Usage = Mapping[str, float]
"""Quantities by the key of their price (`fdl_schemas.prices.table.UNITS`)."""

NAMES: Final[Mapping[str, str]] = {
    "lambda_request": "Lambda requests",
    "lambda_x86_gb_s": "Lambda compute (x86)",
    "lambda_arm_gb_s": "Lambda compute (arm64)",
    "lambda_storage_gb_s": "Lambda storage (/tmp)",
    "fargate_vcpu_hour": "Fargate vCPUs",
    "fargate_gb_hour": "Fargate memory",
    "fargate_arm_vcpu_hour": "Fargate vCPUs (arm64)",
    "fargate_arm_gb_hour": "Fargate memory (arm64)",
    "fargate_spot_vcpu_hour": "Fargate Spot vCPUs",
    "fargate_spot_gb_hour": "Fargate Spot memory",
    "fargate_arm_spot_vcpu_hour": "Fargate Spot vCPUs (arm64)",
    "fargate_arm_spot_gb_hour": "Fargate Spot memory (arm64)",
    "fargate_storage_gb_hour": "Fargate storage",
    "ebs_gb_month": "EBS volumes",
    "ipv4_hour": "Public IPv4 addresses",
    "s3_put": "S3 writes",
    "s3_get": "S3 reads",
    "s3_gb_month": "S3 storage",
    "ecr_gb_month": "ECR storage",
    "logs_gb": "Logs",
    "logs_gb_month": "Log storage",
    "sqs_request": "Queue requests",
    "dynamodb_write": "Claims (once)",
    "dynamodb_gb_month": "Storage of claims (once)",
    "metric_month": "Custom metrics",
    "alarm_month": "Alarms",
    "dashboard_month": "Dashboard",
    "transfer_gb": "Transfer to the internet",
    "api_request": "API requests",
}


@dataclass(frozen=True, slots=True)
class Item:
    """One line of a bill."""

    key: str
    name: str
    quantity: float
    unit: str
    usd: float | None
    """None: the table has no price for this region."""

    def as_json(self) -> dict[str, Any]:
        """The item as an object."""
        return {"item": self.name, "quantity": self.quantity, "unit": self.unit, "usd": self.usd}


def priced(usage: Usage, prices: RegionPrices) -> tuple[Item, ...]:
    """One item for each quantity that is not zero, in the order of `NAMES`."""
    order = {key: number for number, key in enumerate(NAMES)}
    return tuple(
        _item(key, usage[key], prices)
        for key in sorted(usage, key=lambda key: (order.get(key, -1), key))
        if usage[key]
    )


def total(items: Iterable[Item]) -> float:
    """The sum in USD, without the items that have no price."""
    return sum(item.usd or 0.0 for item in items)


def added(*usages: Usage) -> dict[str, float]:
    """The sum of several usages."""
    result: dict[str, float] = {}
    for usage in usages:
        for key, quantity in usage.items():
            result[key] = result.get(key, 0.0) + quantity
    return result


def times(usage: Usage, factor: float) -> dict[str, float]:
    """A usage, `factor` times."""
    return {key: quantity * factor for key, quantity in usage.items()}


def _item(key: str, quantity: float, prices: RegionPrices) -> Item:
    usd = prices.usd_or_none(key)
    kind, _colon, instance = key.partition(":")
    if f"{kind}:" in (EC2, SPOT):
        name, unit = f"{'EC2 Spot' if f'{kind}:' == SPOT else 'EC2'} {instance}", "hour"
    else:
        name, unit = NAMES[key], UNITS[key]
    return Item(key, name, quantity, unit, None if usd is None else usd * quantity)
