"""`scar cost --prices`: download AWS's public price list, without credentials.

The prices of a region are added to the table that is used from then on, in the user's cache folder. A price
that the list does not contain keeps its value and its date.
"""

from __future__ import annotations

import io
import os
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, cast

from fdl_schemas.prices.offers import (
    FARGATE_SPOT_FEED,
    SPOT_FEED,
    WANTED,
    OfferError,
    read_fargate_spot,
    read_offer,
    read_spot,
    url_of,
)
from fdl_schemas.prices.table import SPOT, Instance, Price, Prices, Source, as_text
from scar_cli.cost.known import known_prices, refreshed_table
from scar_cli.errors import UserError
from scar_cli.progress import activity

_ANSWER_S = 60
_LARGEST_FEED = 64 * 1024**2


@dataclass(frozen=True)
class Addresses:
    """Where the files are; different in tests."""

    offers: str = "https://pricing.us-east-1.amazonaws.com"
    spot: str = SPOT_FEED
    fargate_spot: str = FARGATE_SPOT_FEED

    def of_offer(self, offer: str, region: str) -> str:
        """The address of an offer file."""
        return url_of(offer, region).replace(Addresses.offers, self.offers)


@dataclass(frozen=True)
class Refreshed:
    """What was downloaded."""

    table: Path
    number: int
    """Prices."""
    missing: tuple[str, ...] = ()
    """Wanted prices that are not in AWS's files: their old values stay."""


def refresh_prices(region: str, addresses: Addresses | None = None) -> Refreshed:
    """Download the prices of a region, and write the table.

    Raises:
        UserError: a file cannot be read. The table is unchanged.
    """
    addresses, before = addresses or Addresses(), known_prices()
    found: dict[str, Price] = {}
    sources, instances = dict(before.sources), dict(before.instances)
    with activity("Downloading prices") as tell:
        for offer in WANTED:
            tell(f"Downloading prices: {offer}")
            url = addresses.of_offer(offer, region)
            with _lines(url) as lines, _explained(url):
                content = read_offer(lines, offer, region)
            name = f"{offer} {region}"
            sources[name] = Source(content.published, f"AWS Price List: {url}")
            found |= {key: Price(usd, name) for key, usd in content.prices.items()}
            instances |= content.instances
        today = datetime.now(UTC).date().isoformat()
        for name, url, read in (
            ("EC2 Spot", addresses.spot, read_spot),
            ("Fargate Spot", addresses.fargate_spot, read_fargate_spot),
        ):
            tell(f"Downloading prices: {name}")
            with _lines(url) as lines, _explained(url):
                prices = read("".join(_bounded(lines)), region)
            source = f"{name} {region}"
            sources[source] = Source(today, f"AWS's feed for its pricing pages: {url}")
            found |= {key: Price(usd, source) for key, usd in prices.items() if _is_known(key, instances)}
    old = before.regions.get(region, {})
    after = replace(
        before, sources=sources, instances=instances, regions={**before.regions, region: {**old, **found}}
    )
    _write(_tidy(after))
    wanted = {key for keys in WANTED.values() for key in keys.values()}
    return Refreshed(refreshed_table(), len(found), tuple(sorted(wanted - set(found))))


def _is_known(key: str, instances: Mapping[str, Instance]) -> bool:
    """Whether the size of a Spot Instance is known, so that a job can be priced."""
    return not key.startswith(SPOT) or key.removeprefix(SPOT) in instances


def _tidy(prices: Prices) -> Prices:
    """The table without sources that no price uses any longer."""
    used = {price.source for table in prices.regions.values() for price in table.values()}
    return replace(prices, sources={name: one for name, one in prices.sources.items() if name in used})


@contextmanager
def _lines(url: str) -> Iterator[IO[str]]:
    """The lines of a file, as they arrive.

    Raises:
        UserError: it cannot be downloaded.
    """
    with _explained(url), urllib.request.urlopen(url, timeout=_ANSWER_S) as answer:  # noqa: S310 (AWS's address)
        yield io.TextIOWrapper(cast("IO[bytes]", answer), encoding="utf-8", newline="")


@contextmanager
def _explained(url: str) -> Iterator[None]:
    try:
        yield
    except urllib.error.HTTPError as error:
        advice = "Check the name of the region" if error.code in (403, 404) else "Try again later"
        raise UserError(f"{url} cannot be downloaded: HTTP {error.code} {error.reason}", advice) from error
    except OfferError as error:
        raise UserError(
            f"{url} cannot be read: {error}",
            "AWS may have changed its files; the prices in use stay the same",
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or error
        raise UserError(f"{url} cannot be downloaded: {reason}", "Check the network connection") from error


def _bounded(lines: IO[str]) -> Iterator[str]:
    size = 0
    while text := lines.read(1024**2):
        size += len(text)
        if size > _LARGEST_FEED:
            raise OfferError("the file is too large")
        yield text


def _write(prices: Prices) -> None:
    """Replace the table at once, so that another process reads the old or the new one.

    Raises:
        UserError: it cannot be written.
    """
    path = refreshed_table()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=".prices-")
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(as_text(prices))
            Path(name).replace(path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise UserError(
            f"{path} cannot be written: {error.strerror or error}", "Set XDG_CACHE_HOME to a writable folder"
        ) from error
