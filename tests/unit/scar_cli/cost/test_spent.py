"""What the runs have cost, as far as it is known."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from scar_cli.cost import spent as module
from scar_cli.cost.compute import LAMBDA, Compute
from scar_cli.cost.runs import Sizes
from scar_cli.cost.spent import Costs
from scar_cli.errors import UserError
from scar_cli.report.document import Asked
from scar_cli.watch.document import LiveDocument
from scar_cli.watch.state import State
from tests.unit.scar_cli.watch.aws_of_a_workflow import refusal
from tests.unit.scar_cli.watch.runs_of_a_workflow import DETECT, MERGE, NOW_MS, run


@pytest.fixture(autouse=True)
def sizes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(
        module,
        "sizes_of",
        lambda functions: {one.name: Sizes(Compute(LAMBDA, 1024, "x86_64")) for one in functions},
    )


def test_the_same_costs_are_in_the_view_and_in_the_page() -> None:
    costs = Costs([DETECT, MERGE])
    state = State([DETECT, MERGE], 0, cost=costs.add)
    live = LiveDocument([DETECT, MERGE], Asked("video", "scar report"), costs)
    for _number in range(1000):
        one = run("detect", subject="s3://video/frames/1", billed_ms=60_000.0, memory_used_bytes=2**20)
        state.take(one)
        live.add(one)
    found = state.snapshot(NOW_MS)
    assert found.cost_usd is not None
    assert 1.0 < found.cost_usd < 1.1, "1,000 minutes of 1 GiB, at 0.0000166667 USD a second"
    written = live.written(found)
    assert written is not None
    assert written["totals"]["cost_usd"] == pytest.approx(found.cost_usd)
    assert written["prices"]["regions"] == ["us-east-1"]
    assert [one["cost"] is None for one in written["functions"]] == [False, True]


def test_a_region_without_prices_has_no_costs() -> None:
    costs = Costs([replace(DETECT, region="mars-north-1")])
    assert costs.add(run("detect")) is None
    assert costs.in_report() == {}


@pytest.mark.parametrize(("code", "calls"), [("AccessDeniedException", 1), ("ThrottlingException", 3)])
def test_without_the_size_of_a_function_its_costs_are_unknown(
    monkeypatch: pytest.MonkeyPatch, code: str, calls: int
) -> None:
    asked = []

    def rejected(functions: object) -> None:
        asked.append(functions)
        raise UserError("GetFunctionConfiguration failed") from refusal(code)

    monkeypatch.setattr(module, "sizes_of", rejected)
    costs = Costs([DETECT, MERGE])
    assert [costs.add(run("detect")) for _number in range(3)] == [None] * 3
    assert len(asked) == calls
    assert costs.in_report()["costs"] == {}
