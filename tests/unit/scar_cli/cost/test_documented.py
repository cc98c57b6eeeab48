"""The prices in the documentation are those of the table, and what it says about the table is true."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from fdl_schemas.prices.offers import WANTED
from fdl_schemas.prices.table import EC2, UNITS, RegionPrices, load
from scar_cli.cost.items import NAMES

DOCS = Path(__file__).parents[4] / "docs"


def us_east_1() -> RegionPrices:
    prices = load().of("us-east-1")
    assert prices is not None
    return prices


def test_the_page_lists_what_is_missing_in_each_region() -> None:
    text = (DOCS / "cost.md").read_text()
    listed = {
        row[1]: set(row[2].split(", "))
        for row in re.finditer(r"^\| ([a-z]+-[a-z]+-\d) \| (.+) \|$", text, re.MULTILINE)
    }
    groups = {
        "Fargate on arm64": ("fargate_arm_vcpu_hour", "fargate_arm_gb_hour"),
        "Fargate Spot on arm64": ("fargate_arm_spot_vcpu_hour", "fargate_arm_spot_gb_hour"),
        "claims of `once`": ("dynamodb_write", "dynamodb_gb_month"),
        "storage of claims": ("dynamodb_gb_month",),
    }
    found: dict[str, set[str]] = {}
    for region, prices in load().regions.items():
        missing = {key for key in UNITS if key not in prices}
        names = found.setdefault(region, set())
        for name, keys in groups.items():
            if missing.issuperset(keys):
                names.add(name)
                missing.difference_update(keys)
        names |= {NAMES[key] for key in missing}
        types = {key.removeprefix(EC2).partition(".")[0] for key in prices if key.startswith(EC2)}
        if region == "us-east-1":
            assert types == {"c6g", "c6i", "g4dn", "g5g", "m6g", "m6i", "r6g", "r6i"}
            assert names == set()
        else:
            names.add("EC2" if not types else "EC2 except m6i")
            assert types <= {"m6i"}
    del found["us-east-1"], listed["us-east-1"]
    assert listed == found
    assert f"each of {len(WANTED)} services" in text


@pytest.mark.parametrize(
    ("page", "key", "million", "text"),
    [
        ("queues", "sqs_request", 0.40, "SQS charges 0.40 USD for a million requests"),
        ("once", "dynamodb_write", 0.625, "0.625 USD per\nmillion write request units"),
        ("once", "dynamodb_gb_month", 0.25e6, "0.25 USD per GB and month"),
        ("launch", "lambda_request", 0.20, "A million requests to Lambda cost 0.20 USD"),
        ("launch", "s3_put", 5.00, "listing a million keys costs half a cent"),
    ],
)
def test_prices_of_other_pages(page: str, key: str, million: float, text: str) -> None:
    assert us_east_1().usd(key) * 1e6 == pytest.approx(million)
    assert text in (DOCS / f"{page}.md").read_text()


def test_calculations_of_other_pages() -> None:
    prices = us_east_1()
    # docs/queues.md: "650,000 a month, 0.26 USD"
    assert 650_000 * prices.usd("sqs_request") == pytest.approx(0.26)
    # docs/once.md: "167 USD in Lambda" for a million runs of 10 seconds with 1 GB
    assert 10e6 * prices.usd("lambda_x86_gb_s") == pytest.approx(167, abs=0.5)
    # docs/fdl.md: "10240 MiB add 0.29 USD for a million seconds"
    assert 1e6 * (10240 - 512) / 1024 * prices.usd("lambda_storage_gb_s") == pytest.approx(0.29, abs=0.005)
    # docs/reliability.md: "298,606 s: 2.49 USD with 512 MB"
    assert 298_606 * 0.5 * prices.usd("lambda_x86_gb_s") == pytest.approx(2.49, abs=0.005)
