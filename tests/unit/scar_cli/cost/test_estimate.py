"""Where a function could run: the limits of each place, and the cheapest that meets them."""

from __future__ import annotations

from pathlib import Path

import pytest

from fdl_schemas.load import load_workflow
from fdl_schemas.model import Function
from fdl_schemas.prices.table import RegionPrices, load
from scar_cli.cost.compute import Compute
from scar_cli.cost.estimate import FunctionEstimate, Load, Option, estimate
from scar_cli.cost.idle import idle_cost, idle_in_words, images_of
from scar_cli.cost.items import total


def prices(region: str = "us-east-1") -> RegionPrices:
    found = load().of(region)
    assert found is not None
    return found


def function(tmp_path: Path, body: str = "", beside: str = "") -> Function:
    file = tmp_path / "workflow.yaml"
    file.write_text(
        "functions:\n  aws:\n  - lambda:\n      name: f\n      container: {image: busybox}\n"
        "      input: [{storage_provider: s3, path: bucket/in}]\n"
        "      output: [{storage_provider: s3, path: bucket/out}]\n"
        f"{''.join(f'      {line}{chr(10)}' for line in body.splitlines())}"
        f"{''.join(f'    {line}{chr(10)}' for line in beside.splitlines())}"
    )
    return load_workflow(file).functions[0]


def by_kind(found: FunctionEstimate) -> dict[str, Option]:
    return {
        f"{one.compute.kind} {one.compute.architecture}" if one.compute.on_lambda else one.compute.kind: one
        for one in found.options
    }


def test_all_places_are_compared_and_the_cheapest_is_found(tmp_path: Path) -> None:
    found = estimate(function(tmp_path, "memory: 1769"), Load(1000, 100, 1_000_000), prices())
    options = by_kind(found)
    assert set(options) == {"lambda x86_64", "lambda arm64", "FARGATE", "FARGATE_SPOT", "EC2", "SPOT"}
    assert options["lambda x86_64"].is_current
    assert [one.problem for one in found.options] == [""] * 6
    assert options["lambda arm64"].usd < options["lambda x86_64"].usd
    assert options["FARGATE_SPOT"].usd < options["FARGATE"].usd
    assert options["SPOT"].usd < options["EC2"].usd
    assert found.cheapest is options["SPOT"]
    assert total(found.items) == options["lambda x86_64"].usd


def test_other_sizes_have_at_least_as_much_memory_and_cpu(tmp_path: Path) -> None:
    # 3008 MB of Lambda are 1.7 vCPUs.
    found = by_kind(estimate(function(tmp_path, "memory: 3008"), Load(1, 10, 1), prices()))
    assert found["FARGATE"].compute.described() == "FARGATE, 2 vCPUs, 4,096 MB"
    assert found["EC2"].compute.described() == "EC2, 2 vCPUs, 3,008 MB"
    # 2 vCPUs need 3538 MB in Lambda, although the job has less memory.
    job = "batch: {vcpus: 2, memory: 2048, compute_resources: {type: EC2, max_v_cpus: 2}}"
    found = by_kind(estimate(function(tmp_path, "execution_mode: batch", job), Load(1, 10, 1), prices()))
    assert found["lambda x86_64"].compute.memory_mib == 3538
    assert found["FARGATE"].compute.memory_mib == 4096
    assert found["EC2"].is_current


GPU = "batch: {vcpus: 4, memory: 8192, enable_gpu: true, compute_resources: {type: SPOT, max_v_cpus: 8}}"
NODES = (
    "batch: {vcpus: 2, memory: 2048, multi_node_parallel: {enabled: true, number_nodes: 2}, "
    "compute_resources: {type: EC2, max_v_cpus: 4}}"
)
LARGE = "batch: {vcpus: 16, memory: 200000, compute_resources: {type: EC2, max_v_cpus: 16}}"


@pytest.mark.parametrize(
    ("beside", "load_", "place", "problem"),
    [
        (GPU, Load(1, 1, 1), "lambda x86_64", "Lambda has no GPUs"),
        (GPU, Load(1, 1, 1), "FARGATE", "Fargate has no GPUs"),
        (NODES, Load(1, 1, 1), "lambda x86_64", "Lambda has no jobs on several nodes"),
        (NODES, Load(1, 1, 1), "FARGATE_SPOT", "Fargate has no jobs on several nodes"),
        (LARGE, Load(1, 1, 1), "lambda arm64", "Lambda has at most 10,240 MB of memory"),
        (LARGE, Load(1, 1, 1), "FARGATE", "Fargate has at most 16 vCPUs with 122,880 MB"),
        ("", Load(1, 891, 1), "lambda x86_64", "Lambda runs for at most 890 s before the upload"),
        ("", Load(1, 890, 1), "lambda x86_64", ""),
        ("", Load(1, 1, 6 * 10**9), "lambda arm64", "Lambda has at most 10 GB for input and output"),
        ("", Load(1, 1, 120 * 10**9), "FARGATE", "Fargate has at most 200 GB for input and output"),
    ],
)
def test_a_place_that_cannot_serve_has_a_reason(
    beside: str, load_: Load, place: str, problem: str, tmp_path: Path
) -> None:
    job = "batch: {vcpus: 1, memory: 2048, compute_resources: {max_v_cpus: 1}}"
    found = estimate(function(tmp_path, "execution_mode: batch", beside or job), load_, prices())
    assert by_kind(found)[place].problem == problem
    assert found.cheapest is not None
    assert found.cheapest.problem == ""


def test_a_job_with_gpus_is_on_an_instance_with_as_many() -> None:
    """Four of the smallest type cost less than the type with four GPUs, but a job cannot be on several."""
    job = Compute("EC2", 16_384, vcpus=4, gpus=4, instance_types=("g4dn",))
    assert job.instance(prices())[0] == "ec2:g4dn.12xlarge"


def test_a_large_file_needs_and_pays_for_room(tmp_path: Path) -> None:
    found = estimate(function(tmp_path), Load(1, 100, 2 * 1024**3), prices())
    keys = {item.key: item.quantity for item in found.items}
    assert keys["lambda_storage_gb_s"] == pytest.approx(100 * (4096 - 512) / 1024)


def test_a_place_without_a_price_is_not_the_cheapest(tmp_path: Path) -> None:
    found = estimate(function(tmp_path), Load(1, 100, 1), prices("sa-east-1"))
    assert by_kind(found)["SPOT"].problem == "no price in the table: EC2 Spot optimal"
    assert found.cheapest is by_kind(found)["FARGATE_SPOT"]
    assert [item.name for item in found.items if item.usd is None] == ["Custom metrics"]


def test_a_timeout_that_is_too_short_is_noted(tmp_path: Path) -> None:
    found = estimate(function(tmp_path, "timeout: 60"), Load(1, 100, 1), prices())
    assert found.notes == ("Runs of 100 s need a `timeout` of 110 s; it is 60 s",)
    job = "batch: {vcpus: 1, memory: 2048, timeout: 90, compute_resources: {max_v_cpus: 1}}"
    found = estimate(function(tmp_path, "execution_mode: batch", job), Load(1, 100, 1), prices())
    assert found.notes == ("Runs of 100 s exceed the `timeout` of a job, 90 s",)


def idle(tmp_path: Path, body: str, **more: object) -> dict[str, float | None]:
    file = tmp_path / "idle.yaml"
    file.write_text(f"functions:\n  aws:\n{body}")
    workflow = load_workflow(file)
    return {item.key: item.usd for item in idle_cost(workflow, prices(), **more)}  # type: ignore[arg-type]


ONE = "  - lambda:\n      name: {}\n      container: {{image: {}}}\n"


def test_a_workflow_costs_nothing_while_idle_except_for_its_images(tmp_path: Path) -> None:
    body = ONE.format("a", "busybox") + ONE.format("b", "busybox") + ONE.format("c", "alpine")
    assert idle(tmp_path, body) == {}
    assert idle(tmp_path, body, image_bytes=2**30) == {"ecr_gb_month": pytest.approx(0.20)}
    assert images_of(load_workflow(tmp_path / "idle.yaml")) == (2, 0)


def test_each_metric_of_an_alarm_costs_while_idle(tmp_path: Path) -> None:
    inputs = (
        "      input:\n"
        "        - {storage_provider: s3, path: bucket/one, queue: {}}\n"
        "        - {storage_provider: s3, path: bucket/two, queue: {}}\n"
    )
    direct = "      input: [{storage_provider: s3, path: bucket/three}]\n"
    body = ONE.format("a", "busybox") + inputs + ONE.format("b", "busybox")
    body += ONE.format("c", "busybox") + direct
    found = idle(tmp_path, body, context={"alarm_email": "me@example.org"})
    # 4 of each function, and the oldest event: of a in its queue for both inputs, of c in Lambda.
    assert found == {"alarm_month": pytest.approx(1.40), "sqs_request": pytest.approx(0.2628)}


def test_queues_vcpus_and_a_dashboard_cost_while_idle(tmp_path: Path) -> None:
    queue = "      input: [{storage_provider: s3, path: bucket/in, queue: {}}]\n"
    found = idle(tmp_path, ONE.format("a", "busybox") + queue, context={"dashboard": "true"})
    # 5 connections, each polls every 20 s: 657,000 requests in 730 hours. docs/queues.md
    assert found == {"sqs_request": pytest.approx(0.2628), "dashboard_month": 3.0}
    batch = (
        "    batch: {vcpus: 1, memory: 2048, compute_resources: {type: EC2, min_v_cpus: 4, max_v_cpus: 8}}\n"
    )
    found = idle(tmp_path, ONE.format("a", "busybox") + "      execution_mode: batch\n" + batch)
    # 2 c6i.large with 2 vCPUs and 4 GB each, for 730 hours.
    assert found["ec2:c6i.large"] == pytest.approx(2 * 0.085 * 730)
    assert found["ebs_gb_month"] == pytest.approx(2 * 30 * 0.08)
    assert found["ipv4_hour"] == pytest.approx(2 * 0.005 * 730)


@pytest.mark.parametrize(
    ("body", "context", "told"),
    [
        (
            ONE.format("a", "busybox"),
            {},
            "the storage of its images in ECR: 0.10 USD a month for each GB.",
        ),
        (
            ONE.format("a", "busybox")
            + "      input: [{storage_provider: s3, path: bucket/in, queue: {}}]\n",
            {"dashboard": "true"},
            "3.26 USD a month, and the storage of its images in ECR: 0.10 USD a month for each GB.",
        ),
        (ONE.format("a", "busybox") + "      runtime: python3.13\n", {}, "nothing."),
        (
            ONE.format("a", "busybox")
            + "      region: sa-east-1\n      input: [{storage_provider: s3, path: bucket/in, queue: {}}]\n",
            {},
            "the storage of its images in ECR; the price of Queue requests is unknown.",
        ),
        (ONE.format("a", "busybox") + "      region: eu-north-1\n", {}, None),
    ],
)
def test_a_deployment_tells_what_it_costs_while_idle(
    body: str, context: dict[str, str], told: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    file = tmp_path / "idle.yaml"
    file.write_text(f"functions:\n  aws:\n{body}")
    found = idle_in_words(load_workflow(file), "us-east-1", context)
    assert found == (None if told is None else f"While nothing runs, this costs {told}")
