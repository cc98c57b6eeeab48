"""`scar advise`: proposals for a function from its runs."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from fdl_schemas.model import BatchJob, ComputeResources, Container, ExecutionMode, Function
from fdl_schemas.prices.table import RegionPrices, load
from scar_cli.advice.proposals import Advice, Proposal, advice_of
from scar_cli.advice.reported import advice_in_report
from scar_cli.aws.deployed import DeployedFunction
from scar_cli.runs.model import Run
from scar_cli.runs.summary import Overview

MIB = 1024**2
DEPLOYED = DeployedFunction("f", "s", "us-east-1", "lambda", "/aws/lambda/f", "http://q")


def prices() -> RegionPrices:
    found = load().of("us-east-1")
    assert found is not None
    return found


def run(seconds: float = 5.0, memory_mib: int = 200, **more: Any) -> Run:
    """A run whose script takes all of the time and half of the CPU time of one vCPU."""
    told: dict[str, Any] = {
        "status": "done",
        "mode": "lambda",
        "total_ms": seconds * 1000,
        "run_ms": seconds * 1000,
        "cpu_ms": seconds * 100,
        "memory_used_bytes": memory_mib * MIB,
        "input_bytes": 1000,
        **more,
    }
    return Run("f", "us-east-1", started_ms=0, ended_ms=seconds * 1000, request_id="r", stream="s", **told)


def advice(function: Function, *runs: Run, priced: bool = True) -> Advice:
    overview = Overview([DEPLOYED])
    for one in runs:
        overview.add(one)
    overview.settle()
    return advice_of(
        function, overview.functions[0], overview.failures.values(), prices() if priced else None
    )


def function(**more: Any) -> Function:
    return Function("f", Container("busybox"), **{"timeout_s": 30, **more})


def job(**more: Any) -> Function:
    return function(execution_mode=ExecutionMode.BATCH, batch=BatchJob(**{"timeout_s": 60, **more}))


def by_setting(found: Advice) -> dict[str, Proposal]:
    return {".".join(one.path): one for one in found.proposals}


def test_memory_is_lowered_to_the_highest_peak_and_a_fifth() -> None:
    """Of 1,000 files, the compute costs 5 s at 1,024 or 256 MB: 0.0000166667 USD for a GB-second."""
    runs = [run(memory_mib=150)] * 99 + [run(memory_mib=200)]
    found = by_setting(advice(function(memory_mib=1024), *runs))["lambda.memory"]
    assert (found.now, found.proposed) == ("1024", "256")
    assert "The highest peak was 200 MB, in 99% of the runs 1" in found.reason
    assert found.usd_now == pytest.approx(1000 * 5 * 0.0000166667)
    assert found.usd_then == pytest.approx(1000 * 5 * 0.0000166667 / 4)


def test_memory_is_not_lowered_below_the_cpu_that_the_script_uses() -> None:
    """With 1,769 MB, Lambda gives one vCPU, all of which the script uses: less memory costs the same."""
    runs = [run(cpu_ms=5000)] * 100
    assert "lambda.memory" not in by_setting(advice(function(memory_mib=1769), *runs))
    unknown = [run(cpu_ms=None)] * 100
    assert "lambda.memory" not in by_setting(advice(function(memory_mib=1769), *unknown))


def test_a_script_that_waits_for_the_cpu_gets_one() -> None:
    """With 442 MB, a quarter of a vCPU: four times as much memory makes it four times as fast."""
    found = by_setting(advice(function(memory_mib=442), *[run(cpu_ms=1250)] * 100))["lambda.memory"]
    assert int(found.proposed) == pytest.approx(1769, abs=64)
    assert "waits for the CPU" in found.reason
    assert "Runs take about 1.2 s instead of 5.0 s" in found.reason or "1.3 s instead" in found.reason


def test_memory_is_raised_if_it_hardly_suffices_or_did_not() -> None:
    close = by_setting(advice(function(memory_mib=512), *[run(memory_mib=500)] * 50))["lambda.memory"]
    assert close.proposed == "640"
    failed = run(status="failed", kind="OutOfMemory", error="The container ran out of memory")
    found = by_setting(advice(function(memory_mib=512), failed))["lambda.memory"]
    assert (found.proposed, found.reason) == ("1024", "1 run ran out of memory.")


def test_few_runs_are_no_measurement() -> None:
    found = advice(function(memory_mib=1024), *[run()] * 19)
    assert found.proposals == ()
    assert found.note == "19 successful runs, but a proposal needs at least 20."
    slow = run(30, status="failed", kind="TimedOut", error="It took too long")
    assert set(by_setting(advice(function(memory_mib=1024), *[run()] * 19, slow))) == {"lambda.timeout"}


def test_failures_of_other_functions_change_nothing() -> None:
    overview = Overview([DEPLOYED, replace(DEPLOYED, name="g")])
    for _ in range(30):
        overview.add(run(memory_given_bytes=256 * MIB))
    failed = run(status="failed", kind="OutOfMemory", error="It ran out of memory")
    overview.add(failed._replace(function="g", memory_given_bytes=512 * MIB))
    overview.settle()
    found = advice_in_report(overview, {}, load())
    assert found["f"] == {"sentences": []}
    assert found["g"]["memory"] == 1024


def test_settings_that_fit_are_left_alone() -> None:
    found = advice(function(memory_mib=256), *[run(10.0)] * 50, priced=False)
    assert (found.proposals, found.note) == ((), "The settings fit the measured runs.")


@pytest.mark.parametrize(
    ("seconds", "timeout", "proposed"),
    [(5, 300, "20"), (5, 30, None), (25, 30, "50"), (400, 410, "660"), (3, 16, None)],
)
def test_timeouts_follow_the_longest_run(seconds: float, timeout: int, proposed: str | None) -> None:
    """Half of it and 10 s for uploads are added."""
    found = by_setting(advice(function(timeout_s=timeout, memory_mib=256), *[run(seconds)] * 30)).get(
        "lambda.timeout"
    )
    assert (found.proposed if found else None) == proposed


def test_a_timeout_that_was_too_short_is_doubled_and_beyond_lambdas_limit_batch_continues() -> None:
    failed = run(30, status="failed", kind="TimedOut", error="It took too long")
    assert by_setting(advice(function(), failed))["lambda.timeout"].proposed == "60"
    found = by_setting(advice(function(timeout_s=900), failed))
    assert found["lambda.execution_mode"].proposed == "lambda-batch"
    assert "lambda.timeout" not in found


def test_a_function_that_lambda_mostly_gives_up_runs_in_batch_only() -> None:
    runs = [run(20)] * 20 + [run(20, status="delegated", error=None)] * 30
    one = function(execution_mode=ExecutionMode.LAMBDA_BATCH, batch=BatchJob())
    found = by_setting(advice(one, *runs))["lambda.execution_mode"]
    assert found.proposed == "batch"
    assert "Batch had to continue 30 of 50 runs" in found.reason
    assert found.usd_now is not None
    assert found.usd_now == pytest.approx(1000 * 0.6 * 30 * 0.5 * 0.0000166667)
    few = advice(one, *[run(20)] * 30, *[run(20, status="delegated", error=None)] * 20)
    assert "lambda.execution_mode" not in by_setting(few)


def test_a_job_gets_the_smallest_size_of_fargate_with_its_memory_and_cpu() -> None:
    """Peak of 800 MB and a fifth: 960 MB. A tenth of one vCPU is used."""
    found = by_setting(
        advice(job(vcpus=2, memory_mib=8192), *[run(100, mode="batch", memory_mib=800)] * 30, priced=True)
    )
    assert (found["batch.vcpus"].proposed, found["batch.memory"].proposed) == ("0.25", "1024")
    assert found["batch.vcpus"].usd_then is not None
    assert found["batch.vcpus"].usd_now is not None
    assert found["batch.vcpus"].usd_then < found["batch.vcpus"].usd_now / 4


def test_the_cheapest_place_is_proposed_if_it_saves_much() -> None:
    """A short job on Fargate pays for a whole minute; on Lambda, the same work costs less."""
    short = by_setting(advice(job(vcpus=0.25, memory_mib=512), *[run(2, mode="batch", memory_mib=100)] * 30))
    assert short["lambda.execution_mode"].proposed == "lambda"
    long = by_setting(
        advice(function(memory_mib=3538, timeout_s=900), *[run(500, memory_mib=2900, cpu_ms=900_000)] * 30)
    )
    assert long["lambda.execution_mode"].proposed == "batch"
    assert "FARGATE" in long["batch"].proposed or "SPOT" in long["batch"].proposed
    then, now = long["lambda.execution_mode"].usd_then, long["lambda.execution_mode"].usd_now
    assert then is not None
    assert now is not None
    assert then < now


def test_jobs_on_demand_may_run_on_spot() -> None:
    one = job(vcpus=1, memory_mib=2048, timeout_s=4000, compute_resources=ComputeResources(type="FARGATE"))
    found = by_setting(advice(one, *[run(2000, mode="batch", memory_mib=1500, cpu_ms=1_900_000)] * 30))
    assert "SPOT" in found["batch.compute_resources.type"].proposed
