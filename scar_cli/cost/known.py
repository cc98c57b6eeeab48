"""The table of prices: the packaged one, or a newer one that `scar cost --prices` has downloaded."""

from __future__ import annotations

import os
from pathlib import Path

from fdl_schemas.prices.table import Prices, RegionPrices, load
from scar_cli.errors import UserError


def refreshed_table() -> Path:
    """Where `scar cost --prices` writes the table."""
    base = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
    return base / "scar-cdk" / "prices.json"


def known_prices() -> Prices:
    """The newest table.

    Raises:
        UserError: the downloaded table is damaged.
    """
    path = refreshed_table()
    try:
        return load(path)
    except FileNotFoundError:
        return load()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it is damaged"
        raise UserError(
            f"The prices in {path} cannot be read: {reason}", "Delete the file, or run: scar cost --prices"
        ) from error


def prices_of(region: str, prices: Prices | None = None) -> RegionPrices:
    """The prices of a region.

    Raises:
        UserError: there are none.
    """
    prices = known_prices() if prices is None else prices
    found = prices.of(region)
    if found is None:
        raise UserError(
            f"The table has no prices for the region {region}. It has {', '.join(sorted(prices.regions))}",
            f"Download them from AWS's public price list: scar cost --prices --region {region}",
        )
    return found


def configured_region() -> str:
    """The region of the environment; `us-east-1` without one. Does not read the files of the AWS CLI."""
    return os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or "us-east-1"
