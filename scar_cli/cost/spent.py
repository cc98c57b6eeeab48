"""What the runs have cost, as far as prices and sizes are known."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from scar_cli.aws.deployed import DeployedFunction
from scar_cli.aws.session import is_passing
from scar_cli.cost.deployed import sizes_of
from scar_cli.cost.known import known_prices
from scar_cli.cost.runs import RunCosts, Sizes
from scar_cli.errors import UserError
from scar_cli.runs.model import Run


class Costs:
    """Adds up what runs have cost. The size of a function is read when its first run ends."""

    def __init__(self, functions: Sequence[DeployedFunction]) -> None:
        """
        Raises:
            UserError: a downloaded table of prices is damaged.
        """
        table = known_prices()
        found = {one.region: table.of(one.region) for one in functions}
        self._prices = {region: prices for region, prices in found.items() if prices is not None}
        self._unread = {one.name: one for one in functions if one.region in self._prices}
        self._regions = {name: one.region for name, one in self._unread.items()}
        self._sizes: dict[str, Sizes] = {}
        self._runs = RunCosts(self._sizes, self._prices)
        self._date = max(one.date for one in table.sources.values())
        self._latest: tuple[Run | None, float | None] = (None, None)

    def add(self, run: Run) -> float | None:
        """Add a run; returns what it has cost in USD.

        None: there are no prices of its region, or these credentials cannot read the size of the function.
        """
        if run.function in self._unread:
            self._read_size(self._unread[run.function])
        usd = self._runs.add(run)
        self._latest = (run, usd)
        return usd

    def of(self, run: Run) -> float | None:
        """What a run has cost in USD, which was added before. It is fast for the latest one."""
        latest, usd = self._latest
        return usd if latest is run else self._runs.of(run)

    def in_report(self) -> dict[str, Any]:
        """The arguments `costs` and `prices` of a report's document."""
        if not self._prices:
            return {}
        functions = self._runs.functions
        costs = {
            name: functions[name].as_json(self._prices[self._regions[name]], self._date)
            for name in self._sizes
        }
        return {"costs": costs, "prices": {"date": self._date, "regions": sorted(self._prices)}}

    def _read_size(self, function: DeployedFunction) -> None:
        try:
            self._sizes |= sizes_of([function])
        except UserError as error:
            if is_passing(error.__cause__ or error):
                return
        del self._unread[function.name]
