"""Reads AWS's public price list.

AWS publishes one offer file for each service and region, as CSV
(https://docs.aws.amazon.com/awsaccountbilling/latest/aboutv2/using-the-aws-price-list-bulk-api.html). The one
of EC2 has several hundred megabytes: files are read line by line, and only lines that may matter are parsed.

Prices of Spot capacity are not in the price list. AWS's own pricing pages read them from two JSON feeds.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from fdl_schemas.prices.table import EC2, SPOT, Instance

ENDPOINT: Final = "https://pricing.us-east-1.amazonaws.com"
SPOT_FEED: Final = "https://spot-price.s3.amazonaws.com/spot.js"
FARGATE_SPOT_FEED: Final = "https://dftu77xade0tc.cloudfront.net/fargate-spot-prices.json"

WANTED: Final[Mapping[str, Mapping[str, str]]] = {
    "AWSLambda": {
        "Request": "lambda_request",
        "Lambda-GB-Second": "lambda_x86_gb_s",
        "Lambda-GB-Second-ARM": "lambda_arm_gb_s",
        "Lambda-Storage-GB-Second": "lambda_storage_gb_s",
    },
    "AmazonECS": {
        "Fargate-vCPU-Hours:perCPU": "fargate_vcpu_hour",
        "Fargate-GB-Hours": "fargate_gb_hour",
        "Fargate-ARM-vCPU-Hours:perCPU": "fargate_arm_vcpu_hour",
        "Fargate-ARM-GB-Hours": "fargate_arm_gb_hour",
        "Fargate-EphemeralStorage-GB-Hours": "fargate_storage_gb_hour",
    },
    "AmazonS3": {
        "Requests-Tier1": "s3_put",
        "Requests-Tier2": "s3_get",
        "TimedStorage-ByteHrs": "s3_gb_month",
    },
    "AmazonECR": {"TimedStorage-ByteHrs": "ecr_gb_month"},
    "AmazonCloudWatch": {
        "DataProcessing-Bytes": "logs_gb",
        "TimedStorage-ByteHrs": "logs_gb_month",
        "CW:MetricMonitorUsage": "metric_month",
        "CW:AlarmMonitorUsage": "alarm_month",
    },
    "AWSQueueService": {"Requests-Tier1": "sqs_request"},
    "AmazonDynamoDB": {
        "WriteRequestUnits": "dynamodb_write",
        "TimedStorage-ByteHrs": "dynamodb_gb_month",
    },
    "AWSDataTransfer": {"DataTransfer-Out-Bytes": "transfer_gb"},
    "AmazonApiGateway": {"ApiGatewayRequest": "api_request"},
    "AmazonVPC": {"PublicIPv4:InUseAddress": "ipv4_hour"},
    "AmazonEC2": {"EBS:VolumeUsage.gp3": "ebs_gb_month"},
}
"""For each offer: its usage types, without the prefix of the region, to keys of the table. Those of EC2
instances are added."""

_BOX: Final = "BoxUsage:"
_PREFIX: Final = re.compile(r"(?:[A-Z]{2,4}[0-9]?-)?(.+)")
"""`EU-`, `USE1-`, or nothing in us-east-1. `Global-` is the free tier."""
_OPERATIONS: Final[Mapping[str, str]] = {"logs_gb": "PutLogEvents"}
"""Other operations have the same usage type."""
_QUEUE_TYPES: Final = ("", "Standard")
_PLAIN: Final = {
    "operatingsystem": "Linux",
    "tenancy": "Shared",
    "preinstalledsw": "NA",
    "capacitystatus": "Used",
    "operation": "RunInstances",
    "unit": "Hrs",
}
"""An instance on demand, without another price in it."""
_ASSUMED: Final = {"capacitystatus": "Used"}
"""Of columns that older files do not have."""
_SPOT_REGIONS: Final = {
    "us-east": "us-east-1",
    "us-west": "us-west-1",
    "eu-ireland": "eu-west-1",
    "apac-sin": "ap-southeast-1",
    "apac-syd": "ap-southeast-2",
    "apac-tokyo": "ap-northeast-1",
}
"""Names of the feed that differ from those of AWS."""
_FARGATE_UNITS: Final = {
    "vCPU-Hours": "fargate_spot_vcpu_hour",
    "GB-Hours": "fargate_spot_gb_hour",
    "ARM-vCPU-Hours": "fargate_arm_spot_vcpu_hour",
    "ARM-GB-Hours": "fargate_arm_spot_gb_hour",
}


class OfferError(Exception):
    """A file is not one of AWS's, or has another form than before."""


@dataclass
class Offer:
    """What an offer file contains of the wanted prices."""

    code: str
    published: str = ""
    """Date of the file, `2026-10-01`."""
    prices: dict[str, float] = field(default_factory=dict)
    instances: dict[str, Instance] = field(default_factory=dict)
    unclear: set[str] = field(default_factory=set)
    """Keys with several prices: none is taken."""


def url_of(offer: str, region: str) -> str:
    """The address of an offer file."""
    return f"{ENDPOINT}/offers/v1.0/aws/{offer}/current/{region}/index.csv"


def read_offer(lines: Iterable[str], offer: str, region: str) -> Offer:
    """Read an offer file.

    Raises:
        OfferError: it is not the file of this offer.
    """
    found = Offer(offer)
    tiers: dict[str, tuple[float, float]] = {}
    for row in _rows(lines, found):
        if row.get("termtype") != "OnDemand" or row.get("currency") != "USD" or not _is_of(row, region):
            continue
        key = _key(row, offer, found)
        if key is None:
            continue
        usd, start = _number(row, "priceperunit"), _number(row, "startingrange")
        if usd <= 0:
            continue  # the free tier
        known = tiers.get(key)
        if known is None or start < known[0]:
            tiers[key] = (start, usd)
            found.unclear.discard(key)
        elif start == known[0] and usd != known[1]:
            found.unclear.add(key)
    found.prices = {key: usd for key, (_start, usd) in tiers.items() if key not in found.unclear}
    if not found.prices:
        raise OfferError(f"the file of {offer} has no price for {region}")
    return found


def read_fargate_spot(text: str, region: str) -> dict[str, float]:
    """The prices of Fargate Spot in a region.

    Raises:
        OfferError: the text is not the feed.
    """
    try:
        return {
            _FARGATE_UNITS[price["unit"]]: float(price["price"]["USD"])
            for price in json.loads(text)["prices"]
            if price["attributes"].get("aws:region") == region and price["unit"] in _FARGATE_UNITS
        }
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise OfferError("the feed of Fargate Spot has another form") from None


def read_spot(text: str, region: str) -> dict[str, float]:
    """The prices of Linux Spot Instances in a region.

    Raises:
        OfferError: the text is not the feed.
    """
    body = text.strip().removeprefix("callback(").removesuffix(";").removesuffix(")")
    try:
        return dict(_spot_prices(json.loads(body), region))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise OfferError("the feed of Spot Instances has another form") from None


def _spot_prices(content: Any, region: str) -> Iterator[tuple[str, float]]:
    for one in content["config"]["regions"]:
        if _SPOT_REGIONS.get(one["region"], one["region"]) != region:
            continue
        for kind in one["instanceTypes"]:
            for size in kind["sizes"]:
                for column in size["valueColumns"]:
                    text = str(column["prices"]["USD"])
                    if column["name"] == "linux" and re.fullmatch(r"[0-9.]+", text):  # else N/A*
                        yield f"{SPOT}{size['size']}", float(text)


def _rows(lines: Iterable[str], found: Offer) -> Iterator[dict[str, str]]:
    """The rows that may be wanted, by the names of their columns in lower case, without other characters."""
    words = [*WANTED[found.code], *([_BOX] if found.code == "AmazonEC2" else [])]
    names: list[str] = []

    def likely() -> Iterator[str]:
        for line in lines:
            if not names or any(word in line for word in words):
                yield line

    for cells in csv.reader(likely()):
        if names:
            yield dict(zip(names, cells, strict=False))
        elif cells[:1] == ["SKU"]:
            names += [re.sub("[^a-z0-9]", "", cell.lower()) for cell in cells]
        elif cells[:1] == ["Publication Date"]:
            found.published = cells[1][:10]
        elif cells[:1] == ["OfferCode"] and cells[1] != found.code:
            raise OfferError(f"the file is that of {cells[1]}, not of {found.code}")
    if not {"termtype", "usagetype", "priceperunit", "startingrange", "currency"} <= set(names):
        raise OfferError(f"the file of {found.code} has other columns")


def _is_of(row: Mapping[str, str], region: str) -> bool:
    """Whether a row is about the region itself, not one of its Local Zones."""
    code = row.get("regioncode") or row.get("fromregioncode") or region
    kind = row.get("locationtype") or row.get("fromlocationtype") or "AWS Region"
    return code == region and kind == "AWS Region"


def _key(row: Mapping[str, str], offer: str, found: Offer) -> str | None:
    match = _PREFIX.fullmatch(row.get("usagetype", ""))
    usage = match[1] if match else ""
    if offer == "AmazonEC2" and usage.startswith(_BOX):
        return _instance(row, usage.removeprefix(_BOX), found)
    key = WANTED[offer].get(usage)
    if key is None or row.get("operation") != _OPERATIONS.get(key, row.get("operation")):
        return None
    return key if row.get("queuetype", "") in _QUEUE_TYPES else None


def _instance(row: Mapping[str, str], name: str, found: Offer) -> str | None:
    if any(row.get(column, _ASSUMED.get(column)) != value for column, value in _PLAIN.items()):
        return None
    memory = re.fullmatch(r"([0-9.,]+) GiB", row.get("memory", ""), re.IGNORECASE)
    vcpus, gpus = row.get("vcpu", ""), row.get("gpu", "")
    if memory is None or not vcpus.isdecimal():
        return None
    found.instances[name] = Instance(
        int(vcpus), float(memory[1].replace(",", "")), int(gpus) if gpus.isdecimal() else 0
    )
    return f"{EC2}{name}"


def _number(row: Mapping[str, str], column: str) -> float:
    try:
        return float(row[column])
    except (KeyError, ValueError):
        raise OfferError(f"{row.get('sku', 'a row')} has no number in the column {column}") from None
