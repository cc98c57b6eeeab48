"""What runs have cost, priced by hand: us-east-1, prices of October 2026."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fdl_schemas.prices.table import RegionPrices, load
from scar_cli.cost.compute import Compute
from scar_cli.cost.items import total
from scar_cli.cost.runs import RunCosts, Sizes, cost_of_run
from scar_cli.runs.model import Run

GB = 2**30
LOG = 4096 / GB * 0.50
LAMBDA = Sizes(Compute("lambda", 512))
DONE = Run(
    "f", "us-east-1", "lambda", "done", 0, 2000, "r", "s", total_ms=1990.5, billed_ms=2500,
    memory_given_bytes=1024**3, input_bytes=1_000_000, output_bytes=2_000_000, output_files=2,
)  # fmt: skip
JOB = DONE._replace(mode="batch", total_ms=600_000, billed_ms=None, memory_given_bytes=2 * 1024**3)
FARGATE = replace(LAMBDA, on_batch=Compute("FARGATE", 2048, vcpus=1, public_address=True))


def prices(region: str = "us-east-1") -> RegionPrices:
    found = load().of(region)
    assert found is not None
    return found


def test_a_run_of_lambda_is_billed_for_the_time_and_the_memory_that_lambda_reports() -> None:
    expected = 0.0000002 + 2.5 * 1.0 * 0.0000166667 + 0.0000004 + 2 * 0.000005 + LOG
    assert cost_of_run(DONE, LAMBDA, prices()) == pytest.approx(expected, rel=1e-6)
    arm = Sizes(Compute("lambda", 512, "arm64", storage_mib=1536))
    more = -2.5 * 0.0000166667 + 2.5 * 0.0000133334 + 2.5 * 1.0 * 0.0000000309
    assert cost_of_run(DONE, arm, prices()) == pytest.approx(expected + more, rel=1e-6)


def test_a_run_without_a_report_of_lambda_is_billed_for_its_duration() -> None:
    run = DONE._replace(billed_ms=None, memory_given_bytes=None, output_files=0, input_bytes=None)
    # 1990.5 ms are billed as 1991 ms.
    expected = 0.0000002 + 1.991 * 0.5 * 0.0000166667 + LOG
    assert cost_of_run(run, LAMBDA, prices()) == pytest.approx(expected, rel=1e-6)


def test_queues_and_claims_count() -> None:
    plain = cost_of_run(DONE, LAMBDA, prices())
    assert plain is not None
    queued = cost_of_run(DONE, replace(LAMBDA, queued=True), prices())
    assert queued == pytest.approx(plain + 3 * 0.0000004, rel=1e-6)
    long = DONE._replace(total_ms=12_000)
    once = cost_of_run(long, replace(LAMBDA, once=True), prices())
    assert once == pytest.approx(plain + 5 * 0.000000625, rel=1e-6)
    skipped = long._replace(status="skipped")
    assert cost_of_run(skipped, replace(LAMBDA, once=True), prices()) == pytest.approx(plain, rel=1e-9)


def test_a_job_is_billed_for_its_size_and_the_start_of_fargate() -> None:
    hours = 620 / 3600
    expected = hours * (0.04048 + 2 * 0.004445 + 0.005) + 0.0000004 + 2 * 0.000005 + LOG
    assert cost_of_run(JOB, FARGATE, prices()) == pytest.approx(expected, rel=1e-6)


def test_a_further_try_has_a_larger_size() -> None:
    # 12 GB are offered with 2 vCPUs or more.
    run = JOB._replace(memory_given_bytes=12 * 1024**3)
    hours = 620 / 3600
    expected = hours * (2 * 0.04048 + 12 * 0.004445 + 0.005) + 0.0000004 + 2 * 0.000005 + LOG
    assert cost_of_run(run, FARGATE, prices()) == pytest.approx(expected, rel=1e-6)


def test_a_job_on_an_instance_is_billed_for_its_part() -> None:
    sizes = replace(LAMBDA, on_batch=Compute("EC2", 8192, vcpus=2, instance_types=("m6i",)))
    hours = 600 / 3600
    expected = hours * (0.096 + 30 * 0.08 / 730) + 0.0000004 + 2 * 0.000005 + LOG
    assert cost_of_run(JOB, sizes, prices()) == pytest.approx(expected, rel=1e-6)
    unknown = replace(sizes, on_batch=Compute("EC2", 8192, vcpus=2, instance_types=("x9z",)))
    assert cost_of_run(JOB, unknown, prices()) is None
    costs = RunCosts({"f": unknown}, {"us-east-1": prices()})
    assert costs.add(JOB) is None
    assert costs.functions["f"].unknown == 1


def test_each_node_of_a_job_is_billed_for_an_instance_of_its_own() -> None:
    """Half of the instance would be enough for a job on one node."""
    half = Compute("EC2", 4096, vcpus=1, instance_types=("m6i.large",))
    run = JOB._replace(output_files=0, input_bytes=None)
    alone, node = (
        cost_of_run(run, replace(LAMBDA, on_batch=replace(half, nodes=nodes)), prices()) for nodes in (1, 4)
    )
    hour = 0.096 + 30 * 0.08 / 730
    assert node == pytest.approx(hour * 600 / 3600 + LOG, rel=1e-6)
    assert alone == pytest.approx(hour / 2 * 600 / 3600 + LOG, rel=1e-6)


def test_costs_are_added_up_by_function() -> None:
    costs = RunCosts({"f": LAMBDA, "g": FARGATE}, {"us-east-1": prices()})
    one = costs.add(DONE)
    assert one == pytest.approx(cost_of_run(DONE, LAMBDA, prices()), rel=1e-9)
    costs.add(DONE._replace(status="failed"))
    assert costs.add(JOB._replace(function="g")) is not None
    assert costs.add(DONE._replace(region="eu-north-1")) is None, "no prices of this region"
    found = costs.functions["f"]
    assert (found.runs, found.files, found.unknown) == (3, 2, 1)
    assert one is not None
    assert total(found.items(prices())) == pytest.approx(2 * one)
    told = costs.functions["g"].as_json(prices(), "2026-10-01")
    assert told["usd"] == pytest.approx(sum(told["items"].values()))
    assert told["per_file_usd"] == told["usd"]
    assert (told["missing"], told["priced"]) == ([], "2026-10-01")


def test_many_runs_cost_what_each_of_them_costs() -> None:
    """`RunCosts` prices sizes and not runs."""
    sizes = {"f": replace(LAMBDA, queued=True, once=True), "g": FARGATE, "h": LAMBDA}
    costs = RunCosts(sizes, {"us-east-1": prices()})
    runs = [
        DONE._replace(
            billed_ms=billed, memory_given_bytes=memory, input_bytes=size, output_files=files, status=status
        )
        for billed in (None, 1, 2500.3)
        for memory in (None, 2**30)
        for size, files in ((None, None), (10**8, 3), (5, 1))
        for status in ("done", "failed", "submitted")
    ]
    runs += [one._replace(function="g", mode="batch", total_ms=90_000.5) for one in runs]
    runs += [one._replace(function="h", mode="batch") for one in runs]
    expected: dict[str, float] = {}
    for run in runs:
        alone = cost_of_run(run, sizes[run.function], prices())
        assert alone is not None
        assert costs.add(run) == pytest.approx(alone, rel=1e-9)
        expected[run.function] = expected.get(run.function, 0.0) + alone
    for name, cost in costs.functions.items():
        assert total(cost.items(prices())) == pytest.approx(expected[name], rel=1e-9)
