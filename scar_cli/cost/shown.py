"""Estimates and bills, for people and for programs."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import click

from fdl_schemas.prices.table import Prices, RegionPrices
from scar_cli.cost.estimate import FunctionEstimate, Load, Option
from scar_cli.cost.items import Item, total
from scar_cli.cost.runs import FunctionCost
from scar_cli.table import counted, printable, table, takes_colours


def usd(amount: float) -> str:
    """`1,234.50`, and small amounts with more digits: `0.0123`."""
    if not amount:
        return "0.00"
    if abs(amount) < 0.00005:  # noqa: PLR2004 (not shown as zero)
        return "<0.0001"
    return f"{amount:,.2f}" if abs(amount) >= 1 else f"{amount:.4f}"


def print_estimate(file: str, found: Sequence[FunctionEstimate], load: Load, prices: Prices) -> None:
    """Print the options of each function, and the items of the function as it is."""
    click.echo(
        f"{printable(file)}: {counted(load.files, 'file', comma=True)} of {_size(load.size)}, "
        f"{load.seconds:g} s each. USD, list prices without the free tier."
    )
    for one in found:
        click.echo()
        head = (f"{one.function.name} ({one.prices.region})", "1,000 FILES", f"{load.files:,} FILES", "")
        rows = [_row(option, option is one.cheapest, load) for option in one.options]
        green = {number for number, option in enumerate(one.options) if option is one.cheapest}
        _print_table(head, rows, right=(1, 2), green=green)
        if one.items:
            click.echo()
            print_items("AS IT IS", one.items)
        for note in one.notes:
            click.echo(f"{one.function.name}: {note}.", err=True)
    click.echo()
    for region in dict.fromkeys(one.prices.region for one in found):
        items = [item for one in found if one.prices.region == region for item in one.items]
        for line in sources_in_words(prices, region, items):
            click.echo(line)


def print_bills(bills: Sequence[tuple[FunctionCost, RegionPrices]]) -> None:
    """Print what the runs of each function have cost."""
    head = ("FUNCTION", "RUNS", "FILES DONE", "USD", "1,000 FILES")
    rows = []
    for cost, prices in bills:
        amount = total(cost.items(prices))
        each = usd(amount / cost.files * 1000) if cost.files else "-"
        rows.append((cost.function, f"{cost.runs:,}", f"{cost.files:,}", usd(amount), each))
    _print_table(head, rows, right=(1, 2, 3, 4))


def bill_as_json(cost: FunctionCost, prices: Prices, region: RegionPrices) -> dict[str, Any]:
    """What the runs of a function have cost, as an object."""
    items = cost.items(region)
    return {
        "usd": total(items),
        "usd_per_1000_files": total(items) / cost.files * 1000 if cost.files else None,
        "items": items_as_json(items, prices, region),
        "runs_without_price": cost.unknown,
    }


def print_items(title: str, items: Sequence[Item]) -> None:
    """Print items as a table with their sum."""
    rows = [(item.name, f"{_quantity(item.quantity)} {item.unit}", _of(item)) for item in items]
    _print_table((title, "QUANTITY", "USD"), [*rows, ("Total", "", usd(total(items)))], right=(1, 2))


def sources_in_words(prices: Prices, region: str, items: Iterable[Item]) -> Iterator[str]:
    """A line about the dates of the prices that were used."""
    sources = prices.sources_of(region, [item.key for item in items])
    if sources:
        dates = dict.fromkeys((sources[0].date, sources[-1].date))
        yield f"Prices of {region}: {' to '.join(dates)}; --json names the sources."


def missing_in_words(items: Iterable[Item], region: str) -> Iterator[str]:
    """A line about the items without a price."""
    names = list(dict.fromkeys(item.name for item in items if item.usd is None))
    if names:
        yield (
            f"Not included, because the table has no price for {region}: {', '.join(names)}. "
            f"To download the prices: scar cost --prices --region {region}"
        )


def items_as_json(items: Iterable[Item], prices: Prices, region: RegionPrices) -> list[dict[str, Any]]:
    """Items, each with the source of its price and its date."""
    shown = []
    for item in items:
        price = region.prices.get(item.key)
        source = prices.sources[price.source] if price is not None else None
        shown.append(
            {
                **item.as_json(),
                "price": price.usd if price is not None else None,
                "date": source.date if source is not None else None,
                "source": source.text if source is not None else None,
            }
        )
    return shown


def estimate_as_json(one: FunctionEstimate, load: Load, prices: Prices) -> dict[str, Any]:
    """The estimate of a function as an object."""
    options = [
        {
            "where": option.compute.described(),
            "usd": None if option.problem else option.usd,
            "problem": option.problem or None,
            "current": option.is_current,
            "cheapest": option is one.cheapest,
        }
        for option in one.options
    ]
    return {
        "function": one.function.name,
        "region": one.prices.region,
        "usd": total(one.items) if one.items else None,
        "usd_per_1000_files": total(one.items) / load.files * 1000 if one.items else None,
        "items": items_as_json(one.items, prices, one.prices),
        "options": options,
        "notes": list(one.notes),
    }


def _row(option: Option, cheapest: bool, load: Load) -> tuple[str, str, str, str]:
    remark = ", ".join(["as it is"] * option.is_current + ["cheapest"] * cheapest)
    if option.problem:
        return option.compute.described(), "-", "-", "; ".join(filter(None, (remark, option.problem)))
    return option.compute.described(), usd(option.usd / load.files * 1000), usd(option.usd), remark


def _print_table(
    head: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[int], green: Iterable[int] = ()
) -> None:
    colours = takes_colours(sys.stdout)
    first, *lines = table(head, rows, right=right)
    click.echo(click.style(first, bold=True) if colours else first)
    for number, line in enumerate(lines):
        click.echo(click.style(line, fg="green") if colours and number in green else line)


def _quantity(quantity: float) -> str:
    return f"{quantity:,.0f}" if quantity >= 100 else f"{quantity:,.4g}"  # noqa: PLR2004 (digits)


def _of(item: Item) -> str:
    return "?" if item.usd is None else usd(item.usd)


def _size(size: int) -> str:
    for unit, number in (("GB", 1000**3), ("MB", 1000**2), ("KB", 1000)):
        if size >= number:
            return f"{size / number:g} {unit}"
    return f"{size} bytes"
