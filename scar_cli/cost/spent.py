"""What the runs have cost, as far as prices and sizes are known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fdl_schemas.prices.table import RegionPrices
from scar_cli.aws.deployed import DeployedFunction
from scar_cli.cost.deployed import sizes_of
from scar_cli.cost.known import known_prices
from scar_cli.cost.runs import RunCosts
from scar_cli.errors import UserError


@dataclass(frozen=True)
class Costs:
    """Adds up what runs have cost."""

    runs: RunCosts
    regions: Mapping[str, str]
    """Of the functions, by name."""
    prices: Mapping[str, RegionPrices]
    """By region."""
    date: str
    """Of the newest price in the table."""

    @classmethod
    def of(cls, functions: Sequence[DeployedFunction]) -> Costs | None:
        """None: no prices of their regions are known, or these credentials cannot read the functions' sizes.

        Raises:
            UserError: a downloaded table of prices is damaged.
        """
        table = known_prices()
        regions = {one.name: one.region for one in functions}
        found = {region: table.of(region) for region in set(regions.values())}
        prices = {region: own for region, own in found.items() if own is not None}
        if not prices:
            return None
        try:
            sizes = sizes_of([one for one in functions if one.region in prices])
        except UserError:
            return None
        return cls(RunCosts(sizes, prices), regions, prices, max(one.date for one in table.sources.values()))

    def in_report(self) -> dict[str, Any]:
        """The arguments `costs` and `prices` of a report's document."""
        costs = {
            name: cost.as_json(self.prices[self.regions[name]], self.date)
            for name, cost in self.runs.functions.items()
            if self.regions[name] in self.prices
        }
        return {"costs": costs, "prices": {"date": self.date, "regions": sorted(self.prices)}}
