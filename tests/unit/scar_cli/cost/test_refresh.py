"""`scar cost --prices`: files as AWS serves them, from a server on loopback."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from fdl_schemas.prices.offers import WANTED
from fdl_schemas.prices.table import load
from scar_cli.cost.known import known_prices, refreshed_table
from scar_cli.cost.refresh import Addresses, refresh_prices
from scar_cli.errors import UserError
from tests.unit.fdl_schemas.prices.test_offers import COLUMNS, EC2_COLUMNS, FARGATE, SPOT, TOP, ec2, row

REGION = "eu-west-1"


def offer_file(offer: str) -> str:
    """An offer file with a price of 0.5 for each wanted usage type."""
    top = TOP.format(offer=offer)
    if offer == "AmazonEC2":
        place = {"region": REGION}
        return (
            top
            + EC2_COLUMNS
            + ec2("A", "EU-BoxUsage:m6i.xlarge", "0.2140000000", **place)
            + ec2("B", "EU-BoxUsage:x9z.large", "0.1000000000", type="x9z.large", vcpu="2", **place)
            + ec2("C", "EU-EBS:VolumeUsage.gp3", "0.0880000000", vcpu="", memory="NA", operation="", **place)
        )
    operations = {"DataProcessing-Bytes": "PutLogEvents"}
    rows = (
        row(f"S{number}", f"EU-{usage}", "0.5000000000", operation=operations.get(usage, ""))
        for number, usage in enumerate(WANTED[offer])
        if usage != "Requests-Tier2"
    )
    return top + COLUMNS + "".join(rows)


class Prices(BaseHTTPRequestHandler):
    """Serves what AWS serves."""

    def do_GET(self) -> None:
        text = self.server.files.get(self.path)  # type: ignore[attr-defined]
        if text is None:
            self.send_error(403)
            return
        self.send_response(200)
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_words: object) -> None:
        """Quiet."""


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ThreadingHTTPServer]:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    server = ThreadingHTTPServer(("127.0.0.1", 0), Prices)
    server.files = {  # type: ignore[attr-defined]
        f"/offers/v1.0/aws/{offer}/current/{REGION}/index.csv": offer_file(offer) for offer in WANTED
    } | {"/spot.js": f"callback({json.dumps(SPOT)});", "/fargate": json.dumps(FARGATE)}
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def addresses(server: ThreadingHTTPServer) -> Addresses:
    base = f"http://127.0.0.1:{server.server_address[1]}"
    return Addresses(base, f"{base}/spot.js", f"{base}/fargate")


def test_the_prices_of_a_region_are_replaced_and_used(server: ThreadingHTTPServer) -> None:
    done = refresh_prices(REGION, addresses(server))
    assert done.table == refreshed_table()
    assert done.missing == ("s3_get",)
    table = known_prices()
    now, before = table.of(REGION), load().of(REGION)
    assert now is not None
    assert before is not None
    assert now.usd("lambda_request") == 0.5
    assert now.usd("logs_gb") == 0.5
    assert now.usd("ebs_gb_month") == 0.088
    assert now.usd("ec2:x9z.large") == 0.1
    assert now.usd("spot:m6i.xlarge") == 0.1058
    assert now.usd("fargate_arm_spot_gb_hour") == 0.00107649
    assert now.usd("dashboard_month") == before.usd("dashboard_month"), "not in the price list: kept"
    assert table.regions["us-east-1"] == load().regions["us-east-1"]
    (source,) = table.sources_of(REGION, ["lambda_request"])
    assert source.date == "2026-10-01"
    assert source.text.endswith("/offers/v1.0/aws/AWSLambda/current/eu-west-1/index.csv")
    assert done.number == len({key for keys in WANTED.values() for key in keys.values()}) - 1 + 2 + 1 + 4


@pytest.mark.parametrize(
    ("path", "text", "error"),
    [
        (
            f"/offers/v1.0/aws/AmazonS3/current/{REGION}/index.csv",
            None,
            "HTTP 403 Forbidden. Check the name of",
        ),
        (
            f"/offers/v1.0/aws/AmazonECR/current/{REGION}/index.csv",
            "<html>",
            "has other columns. AWS may have",
        ),
        ("/spot.js", "callback(", "cannot be read: the feed of Spot Instances has another form"),
        ("/fargate", "[]", "cannot be read: the feed of Fargate Spot has another form"),
    ],
)
def test_a_file_that_cannot_be_read_changes_nothing(
    path: str, text: str | None, error: str, server: ThreadingHTTPServer
) -> None:
    server.files[path] = text  # type: ignore[attr-defined]
    with pytest.raises(UserError) as refused:
        refresh_prices(REGION, addresses(server))
    assert error in str(refused.value)
    assert not refreshed_table().exists()
    assert known_prices() == load()


def test_without_a_network_there_is_one_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(UserError, match=r"cannot be downloaded: .*Check the network connection"):
        refresh_prices(REGION, Addresses("http://127.0.0.1:9"))
