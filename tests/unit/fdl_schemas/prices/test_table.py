"""The table of prices: each price has a source and a date, and none is invented."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from fdl_schemas.prices.table import TABLE, UNITS, NoPriceError, as_text, load

REGIONS = {
    "us-east-1", "us-east-2", "us-west-2", "eu-west-1", "eu-west-2", "eu-central-1", "ap-southeast-1",
    "ap-northeast-1", "ap-south-1", "sa-east-1",
}  # fmt: skip


def test_each_price_has_a_source_with_a_date() -> None:
    prices = load()
    assert set(prices.regions) == REGIONS
    for region, table in prices.regions.items():
        for key, price in table.items():
            source = prices.sources[price.source]
            assert re.fullmatch(r"20\d\d(-\d\d(-\d\d)?)?", source.date), (region, key)
            assert len(source.text) > 20, (region, key)
    used = {price.source for table in prices.regions.values() for price in table.values()}
    assert used == set(prices.sources), "no source without a price"


def test_every_region_has_the_prices_of_runs() -> None:
    prices = load()
    for region in REGIONS:
        of_region = prices.of(region)
        assert of_region is not None
        for key in ("lambda_request", "lambda_x86_gb_s", "lambda_arm_gb_s", "fargate_vcpu_hour", "s3_put"):
            assert of_region.usd(key) > 0
        assert of_region.usd("fargate_spot_vcpu_hour") < of_region.usd("fargate_vcpu_hour")
        assert of_region.usd("lambda_arm_gb_s") < of_region.usd("lambda_x86_gb_s")


def test_a_price_without_a_source_is_an_error_not_that_of_another_region() -> None:
    prices = load().of("sa-east-1")
    assert prices is not None
    assert prices.usd_or_none("dynamodb_write") is None
    with pytest.raises(NoPriceError, match="no price of dynamodb_write in sa-east-1"):
        prices.usd("dynamodb_write")
    assert load().of("eu-north-1") is None


def test_the_table_is_written_as_it_is_read(tmp_path: Path) -> None:
    assert as_text(load()) == TABLE.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("key", "price"),
    [
        ("unheard_of", [1.0, "s3"]),
        ("ec2:m99.large", [1.0, "s3"]),
        ("s3_put", [0.0, "s3"]),
        ("s3_put", [-1.0, "s3"]),
        ("s3_put", ["many", "s3"]),
        ("s3_put", [1.0, "nowhere"]),
        ("s3_put", 1.0),
    ],
)
def test_a_damaged_table_is_not_read(key: str, price: object, tmp_path: Path) -> None:
    content = json.loads(TABLE.read_text(encoding="utf-8"))
    content["regions"]["us-east-1"][key] = price
    damaged = tmp_path / "table.json"
    damaged.write_text(json.dumps(content))
    with pytest.raises(ValueError):
        load(damaged)


def test_sources_are_named_oldest_first() -> None:
    dates = [source.date for source in load().sources_of("us-east-1", UNITS)]
    assert dates == sorted(dates)
    assert len(dates) > 3
    assert load().sources_of("us-east-1", []) == []
