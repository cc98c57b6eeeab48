"""Workflows that were priced by hand, from the rules and prices that AWS publishes.

Each amount is written out as numbers: quantity x price. Nothing here is calculated by the model. The prices
are those of AWS's pages in October 2026, without the free tier:

    Lambda       0.20 per million requests; 0.0000166667 (x86) and 0.0000133334 (arm64) per GB-second;
                 0.0000000309 per GB-second of /tmp above 512 MB
    Fargate      0.04048 per vCPU-hour and 0.004445 per GB-hour, at least a minute; 0.000111 per GB-hour above
                 20 GB; Spot: 0.01288561 and 0.00141493
    EC2          by the hour, see each case; a volume of 30 GB at 0.08 per GB-month of 730 hours
    IPv4         0.005 per hour
    S3           0.005 per 1000 writes, 0.0004 per 1000 reads, 0.023 per GB-month
    Logs         0.50 per GB, and 0.03 per GB-month for 15 % of it
    SQS          0.40 per million requests
    DynamoDB     0.625 per million writes, 0.25 per GB-month
    Metrics      0.30 a month, for each hour with runs a 730th of that

and the assumptions of docs/cost.md: 4096 bytes of log for a run, 20 seconds until a job on Fargate starts,
13 metrics, 0.2 seconds for submitting a job. 2**30 bytes are a GB.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pytest

from fdl_schemas.load import load_workflow
from fdl_schemas.prices.table import load
from scar_cli.cost.estimate import Load, estimates

GB = 2**30
LOGS = 4096 / GB * 0.50
LOGS_KEPT = 4096 / GB * 0.15 * 0.03
"""For 30 days, the default."""
METRICS = 13 * 0.30 / 730
"""One hour."""


@dataclass(frozen=True)
class Case:
    name: str
    functions: str
    load: Load
    usd: dict[str, float]
    """By key of the price, of all functions."""
    region: str = "us-east-1"
    providers: str = ""
    without: frozenset[str] = field(default_factory=frozenset)
    """Keys without a price in the table."""


def function(body: str, *, name: str = "f", source: str = "in", target: str | None = "out") -> str:
    text = f"""
    - lambda:
        name: {name}
        container: {{image: busybox}}
        input:
          - storage_provider: s3
            path: bucket/{source}
"""
    if target is not None:
        text += f"""        output:
          - storage_provider: s3
            path: bucket/{target}
"""
    beside = ("batch:", "cloudwatch:")
    return text + "".join(
        f"      {line}\n" if line.startswith(beside) else f"        {line}\n" for line in body.splitlines()
    )


CASES = [
    Case(
        "Lambda, 512 MB, x86",
        function("memory: 512"),
        Load(10_000, 12, 1_000_000),
        {
            "lambda_request": 10_000 * 0.0000002,
            "lambda_x86_gb_s": 10_000 * 12 * 0.5 * 0.0000166667,  # 1.00
            "s3_put": 20_000 * 0.000005,
            "s3_get": 10_000 * 0.0000004,
            "s3_gb_month": 2 * 10_000 * 1_000_000 / GB * 0.023,
            "logs_gb": 10_000 * LOGS,
            "logs_gb_month": 10_000 * LOGS_KEPT,
            "metric_month": METRICS,
        },
    ),
    Case(
        "Lambda, 1024 MB, arm64",
        function("memory: 1024\narchitectures: [arm64]"),
        Load(5_000, 30, 2_000_000),
        {
            "lambda_request": 0.001,
            "lambda_arm_gb_s": 5_000 * 30 * 1 * 0.0000133334,  # 2.00
            "s3_put": 10_000 * 0.000005,
            "s3_get": 5_000 * 0.0000004,
            "s3_gb_month": 2 * 5_000 * 2_000_000 / GB * 0.023,
            "logs_gb": 5_000 * LOGS,
            "logs_gb_month": 5_000 * LOGS_KEPT,
            "metric_month": METRICS,
        },
    ),
    Case(
        "a million short runs of Lambda with 128 MB",
        function("memory: 128"),
        Load(1_000_000, 0.2, 10_000),
        {
            "lambda_request": 0.20,
            "lambda_x86_gb_s": 1_000_000 * 0.2 * 0.125 * 0.0000166667,  # 0.42
            "s3_put": 10.0,
            "s3_get": 0.40,
            "s3_gb_month": 2 * 1_000_000 * 10_000 / GB * 0.023,
            "logs_gb": 1_000_000 * LOGS,
            "logs_gb_month": 1_000_000 * LOGS_KEPT,
            "metric_month": METRICS,
        },
    ),
    Case(
        "the largest Lambda function, with 10 GB of /tmp and large files",
        function("memory: 10240\ntimeout: 900\nephemeral_storage: 10240"),
        Load(100, 600, 200_000_000),
        {
            "lambda_request": 100 * 0.0000002,
            "lambda_x86_gb_s": 100 * 600 * 10 * 0.0000166667,  # 10.00
            "lambda_storage_gb_s": 100 * 600 * 9.5 * 0.0000000309,
            # In parts of 8 MiB: 24, and beginning and completion; read as HEAD and 12 ranges.
            "s3_put": 100 * 2 * 26 * 0.000005,
            "s3_get": 100 * 13 * 0.0000004,
            "s3_gb_month": 2 * 100 * 200_000_000 / GB * 0.023,
            "logs_gb": 100 * LOGS,
            "logs_gb_month": 100 * LOGS_KEPT,
            "metric_month": METRICS,
        },
    ),
    Case(
        "a queue before Lambda",
        function("memory: 512").replace("path: bucket/in\n", "path: bucket/in\n            queue: {}\n"),
        Load(1_000_000, 1, 10_000),
        {
            "lambda_request": 0.20,
            "lambda_x86_gb_s": 1_000_000 * 0.5 * 0.0000166667,
            "sqs_request": 3_000_000 * 0.0000004,  # sent, received, deleted
            "s3_put": 10.0,
            "s3_get": 0.40,
            "s3_gb_month": 2 * 1_000_000 * 10_000 / GB * 0.023,
            "logs_gb": 1_000_000 * LOGS,
            "logs_gb_month": 1_000_000 * LOGS_KEPT,
            "metric_month": METRICS,
        },
    ),
    Case(
        "once: three writes, and one every five seconds",
        function("memory: 1024\nonce: true"),
        Load(1_000_000, 10, 10_000),
        {
            "lambda_request": 0.20,
            "lambda_x86_gb_s": 10_000_000 * 0.0000166667,  # 166.67
            "dynamodb_write": 5_000_000 * 0.000000625,  # 3.13
            "dynamodb_gb_month": 1_000_000 * 400 / GB * 0.25,  # 0.09
            "s3_put": 10.0,
            "s3_get": 0.40,
            "s3_gb_month": 2 * 1_000_000 * 10_000 / GB * 0.023,
            "logs_gb": 1_000_000 * LOGS,
            "logs_gb_month": 1_000_000 * LOGS_KEPT,
            "metric_month": 3 * METRICS,  # 10 million seconds, 1000 at once: 2.8 hours
        },
    ),
    Case(
        "two outputs",
        function("memory: 2048").replace(
            "path: bucket/out\n",
            "path: bucket/out\n          - storage_provider: s3\n            path: bucket/more\n",
        ),
        Load(1_000, 60, 5_000_000),
        {
            "lambda_request": 0.0002,
            "lambda_x86_gb_s": 1_000 * 60 * 2 * 0.0000166667,  # 2.00
            "s3_put": 3_000 * 0.000005,
            "s3_get": 1_000 * 0.0000004,
            "s3_gb_month": 3 * 1_000 * 5_000_000 / GB * 0.023,
            "logs_gb": 1_000 * LOGS,
            "logs_gb_month": 1_000 * LOGS_KEPT,
            "metric_month": METRICS,
        },
    ),
    Case(
        "no output, logs for 90 days",
        function("memory: 256\ncloudwatch: {log_retention_policy_in_days: 90}", target=None),
        Load(1_000, 3, 1_000_000),
        {
            "lambda_request": 0.0002,
            "lambda_x86_gb_s": 1_000 * 3 * 0.25 * 0.0000166667,
            "s3_put": 1_000 * 0.000005,
            "s3_get": 1_000 * 0.0000004,
            "s3_gb_month": 1_000 * 1_000_000 / GB * 0.023,
            "logs_gb": 1_000 * LOGS,
            "logs_gb_month": 3 * 1_000 * LOGS_KEPT,
            "metric_month": METRICS,
        },
    ),
    Case(
        "a job on Fargate, 1 vCPU with 2 GB",
        function(
            "execution_mode: batch\nbatch: {vcpus: 1, memory: 2048, compute_resources: {max_v_cpus: 10}}"
        ),
        Load(1_000, 600, 1_000_000),
        {
            # 620 s = 0.172 hours
            "fargate_vcpu_hour": 1_000 * 620 / 3600 * 0.04048,  # 6.97
            "fargate_gb_hour": 1_000 * 620 / 3600 * 2 * 0.004445,  # 1.53
            "ipv4_hour": 1_000 * 620 / 3600 * 0.005,  # 0.86
            "lambda_request": 0.0002,  # that submits the jobs
            "lambda_x86_gb_s": 1_000 * 0.2 * 0.5 * 0.0000166667,
            "s3_put": 2_000 * 0.000005,
            "s3_get": 1_000 * 0.0000004,
            "s3_gb_month": 2 * 1_000 * 1_000_000 / GB * 0.023,
            "logs_gb": 1_000 * LOGS,
            "logs_gb_month": 1_000 * LOGS_KEPT,
            "metric_month": 17 * METRICS,  # ten at once: 16.7 hours
        },
    ),
    Case(
        "short jobs on Fargate are billed for a minute",
        function(
            "execution_mode: batch\nbatch: {vcpus: 0.25, memory: 512, compute_resources: {max_v_cpus: 100}}"
        ),
        Load(10_000, 5, 100_000),
        {
            "fargate_vcpu_hour": 10_000 / 60 * 0.25 * 0.04048,
            "fargate_gb_hour": 10_000 / 60 * 0.5 * 0.004445,
            "ipv4_hour": 10_000 / 60 * 0.005,
            "lambda_request": 0.002,
            "lambda_x86_gb_s": 10_000 * 0.2 * 0.5 * 0.0000166667,
            "s3_put": 20_000 * 0.000005,
            "s3_get": 10_000 * 0.0000004,
            "s3_gb_month": 2 * 10_000 * 100_000 / GB * 0.023,
            "logs_gb": 10_000 * LOGS,
            "logs_gb_month": 10_000 * LOGS_KEPT,
            "metric_month": METRICS,
        },
    ),
    Case(
        "Fargate Spot, 4 vCPUs with 16 GB",
        function(
            "execution_mode: batch\n"
            "batch: {vcpus: 4, memory: 16384, compute_resources: {type: FARGATE_SPOT, max_v_cpus: 400}}"
        ),
        Load(1_000, 3580, 1_000_000),
        {
            "fargate_spot_vcpu_hour": 1_000 * 4 * 0.01288561,  # an hour each: 51.54
            "fargate_spot_gb_hour": 1_000 * 16 * 0.00141493,  # 22.64
            "ipv4_hour": 1_000 * 0.005,
            "lambda_request": 0.0002,
            "lambda_x86_gb_s": 1_000 * 0.2 * 0.5 * 0.0000166667,
            "s3_put": 2_000 * 0.000005,
            "s3_get": 1_000 * 0.0000004,
            "s3_gb_month": 2 * 1_000 * 1_000_000 / GB * 0.023,
            "logs_gb": 1_000 * LOGS,
            "logs_gb_month": 1_000 * LOGS_KEPT,
            "metric_month": 10 * METRICS,
        },
    ),
    Case(
        "Fargate with 100 GB of temporary storage",
        function(
            "execution_mode: batch\nbatch: {vcpus: 2, memory: 4096, ephemeral_storage: 100, "
            "compute_resources: {max_v_cpus: 2}}"
        ),
        Load(10, 3580, 1_000_000),
        {
            "fargate_vcpu_hour": 10 * 2 * 0.04048,
            "fargate_gb_hour": 10 * 4 * 0.004445,
            "fargate_storage_gb_hour": 10 * 80 * 0.000111,
            "ipv4_hour": 10 * 0.005,
            "lambda_request": 10 * 0.0000002,
            "lambda_x86_gb_s": 10 * 0.2 * 0.5 * 0.0000166667,
            "s3_put": 20 * 0.000005,
            "s3_get": 10 * 0.0000004,
            "s3_gb_month": 2 * 10 * 1_000_000 / GB * 0.023,
            "logs_gb": 10 * LOGS,
            "logs_gb_month": 10 * LOGS_KEPT,
            "metric_month": 10 * METRICS,
        },
    ),
    Case(
        "Fargate in private subnets: no public addresses",
        function(
            "execution_mode: batch\nbatch: {vcpus: 1, memory: 2048, compute_resources: "
            "{max_v_cpus: 1, subnets: [subnet-0a1b2c3d], security_group_ids: [sg-0a1b2c3d]}}"
        ),
        Load(1, 3580, 1_000_000),
        {
            "fargate_vcpu_hour": 0.04048,
            "fargate_gb_hour": 2 * 0.004445,
            "lambda_request": 0.0000002,
            "lambda_x86_gb_s": 0.2 * 0.5 * 0.0000166667,
            "s3_put": 2 * 0.000005,
            "s3_get": 0.0000004,
            "s3_gb_month": 2 * 1_000_000 / GB * 0.023,
            "logs_gb": LOGS,
            "logs_gb_month": LOGS_KEPT,
            "metric_month": METRICS,
        },
    ),
    Case(
        "EC2 on demand: an m6i.large",
        function(
            "execution_mode: batch\n"
            "batch: {vcpus: 2, memory: 8192, compute_resources: {type: EC2, max_v_cpus: 20}}"
        ),
        Load(1_000, 1800, 1_000_000),
        {
            # All sizes of m6i cost 0.048 per vCPU-hour (m6i.large 0.096, 2 vCPUs and 8 GB); 500 hours.
            "ec2:m6i.large": 500 * 0.096,  # 48.00
            "ebs_gb_month": 500 * 30 * 0.08 / 730,  # 1.64
            "ipv4_hour": 500 * 0.005,
            "lambda_request": 0.0002,
            "lambda_x86_gb_s": 1_000 * 0.2 * 0.5 * 0.0000166667,
            "s3_put": 2_000 * 0.000005,
            "s3_get": 1_000 * 0.0000004,
            "s3_gb_month": 2 * 1_000 * 1_000_000 / GB * 0.023,
            "logs_gb": 1_000 * LOGS,
            "logs_gb_month": 1_000 * LOGS_KEPT,
            "metric_month": 50 * METRICS,
        },
    ),
    Case(
        "a GPU on Spot",
        function(
            "execution_mode: batch\nbatch: {vcpus: 4, memory: 16384, enable_gpu: true, "
            "compute_resources: {type: SPOT, max_v_cpus: 40, instance_types: [g4dn.xlarge]}}"
        ),
        Load(100, 3600, 1_000_000),
        {
            "spot:g4dn.xlarge": 100 * 0.526 * 0.36,  # 64 % below the price on demand
            "ebs_gb_month": 100 * 30 * 0.08 / 730,
            "ipv4_hour": 100 * 0.005,
            "lambda_request": 100 * 0.0000002,
            "lambda_x86_gb_s": 100 * 0.2 * 0.5 * 0.0000166667,
            "s3_put": 200 * 0.000005,
            "s3_get": 100 * 0.0000004,
            "s3_gb_month": 2 * 100 * 1_000_000 / GB * 0.023,
            "logs_gb": 100 * LOGS,
            "logs_gb_month": 100 * LOGS_KEPT,
            "metric_month": 10 * METRICS,
        },
    ),
    Case(
        "a job on four nodes: four whole instances",
        function(
            "execution_mode: batch\nbatch: {vcpus: 2, memory: 2048, "
            "multi_node_parallel: {enabled: true, number_nodes: 4}, "
            "compute_resources: {type: EC2, max_v_cpus: 16, instance_types: [c6i.xlarge]}}"
        ),
        Load(10, 3600, 1_000_000),
        {
            "ec2:c6i.xlarge": 10 * 4 * 0.17,
            "ebs_gb_month": 40 * 30 * 0.08 / 730,
            "ipv4_hour": 40 * 0.005,
            "lambda_request": 10 * 0.0000002,
            "lambda_x86_gb_s": 10 * 0.2 * 0.5 * 0.0000166667,
            "s3_put": 20 * 0.000005,
            "s3_get": 10 * 0.0000004,
            "s3_gb_month": 2 * 10 * 1_000_000 / GB * 0.023,
            "logs_gb": 10 * LOGS,
            "logs_gb_month": 10 * LOGS_KEPT,
            "metric_month": 5 * METRICS,  # two jobs of 8 vCPUs at once
        },
    ),
    Case(
        "lambda-batch: short runs stay in Lambda",
        function("memory: 1024\ntimeout: 300\nexecution_mode: lambda-batch"),
        Load(1_000, 200, 1_000_000),
        {
            "lambda_request": 0.0002,
            "lambda_x86_gb_s": 1_000 * 200 * 0.0000166667,  # 3.33
            "s3_put": 2_000 * 0.000005,
            "s3_get": 1_000 * 0.0000004,
            "s3_gb_month": 2 * 1_000 * 1_000_000 / GB * 0.023,
            "logs_gb": 1_000 * LOGS,
            "logs_gb_month": 1_000 * LOGS_KEPT,
            "metric_month": METRICS,
        },
    ),
    Case(
        "lambda-batch: long runs are billed twice",
        function(
            "memory: 1024\ntimeout: 300\nexecution_mode: lambda-batch\n"
            "batch: {vcpus: 1, memory: 2048, compute_resources: {max_v_cpus: 100}}"
        ),
        Load(100, 1780, 1_000_000),
        {
            "lambda_request": 100 * 0.0000002,
            "lambda_x86_gb_s": 100 * 290 * 0.0000166667,  # 10 s of the timeout are for uploads
            "fargate_vcpu_hour": 100 * 0.5 * 0.04048,
            "fargate_gb_hour": 100 * 0.5 * 2 * 0.004445,
            "ipv4_hour": 100 * 0.5 * 0.005,
            "s3_put": 200 * 0.000005,
            "s3_get": 100 * 0.0000004,
            "s3_gb_month": 2 * 100 * 1_000_000 / GB * 0.023,
            "logs_gb": 100 * LOGS,
            "logs_gb_month": 100 * LOGS_KEPT,
            "metric_month": METRICS,
        },
    ),
    Case(
        "two functions, one after the other: the file between them is written once",
        function("memory: 512", target="between") + function("memory: 2048", name="g", source="between"),
        Load(1_000, 10, 1_000_000),
        {
            "lambda_request": 2_000 * 0.0000002,
            "lambda_x86_gb_s": 1_000 * 10 * (0.5 + 2) * 0.0000166667,
            "s3_put": 3_000 * 0.000005,
            "s3_get": 2_000 * 0.0000004,
            "s3_gb_month": 3 * 1_000 * 1_000_000 / GB * 0.023,
            "logs_gb": 2_000 * LOGS,
            "logs_gb_month": 2_000 * LOGS_KEPT,
            "metric_month": 2 * METRICS,
        },
    ),
    Case(
        "London: other prices of S3 and logs",
        function("memory: 512"),
        Load(10_000, 12, 1_000_000),
        {
            "lambda_request": 10_000 * 0.0000002,
            "lambda_x86_gb_s": 10_000 * 12 * 0.5 * 0.0000166667,
            "s3_put": 20_000 * 0.0000053,
            "s3_get": 10_000 * 0.00000042,
            "s3_gb_month": 2 * 10_000 * 1_000_000 / GB * 0.024,
            "logs_gb": 10_000 * 4096 / GB * 0.5985,
            "logs_gb_month": 10_000 * 4096 / GB * 0.15 * 0.0315,
            "metric_month": METRICS,
        },
        region="eu-west-2",
    ),
    Case(
        "a queue before jobs: received and deleted in tens, and submitted together",
        function(
            "memory: 256\nexecution_mode: batch\n"
            "batch: {vcpus: 1, memory: 2048, compute_resources: {max_v_cpus: 1000}}"
        ).replace("path: bucket/in\n", "path: bucket/in\n            queue: {}\n"),
        Load(10_000, 340, 1_000_000),
        {
            "sqs_request": 12_000 * 0.0000004,
            "lambda_request": 1_000 * 0.0000002,
            "lambda_x86_gb_s": 1_000 * 0.2 * 0.25 * 0.0000166667,
            "fargate_vcpu_hour": 1_000 * 0.04048,
            "fargate_gb_hour": 1_000 * 2 * 0.004445,
            "ipv4_hour": 1_000 * 0.005,
            "s3_put": 20_000 * 0.000005,
            "s3_get": 10_000 * 0.0000004,
            "s3_gb_month": 2 * 10_000 * 1_000_000 / GB * 0.023,
            "logs_gb": 10_000 * LOGS,
            "logs_gb_month": 10_000 * LOGS_KEPT,
            "metric_month": METRICS,
        },
    ),
    Case(
        "results to a server outside of AWS, warnings only in the log",
        function("memory: 512\nlog_level: WARNING", target=None)
        + "        output:\n          - storage_provider: webdav.there\n            path: results\n",
        Load(1_000, 10, 10_000_000),
        {
            "lambda_request": 0.0002,
            "lambda_x86_gb_s": 1_000 * 10 * 0.5 * 0.0000166667,
            "transfer_gb": 1_000 * 10_000_000 / GB * 0.09,
            "s3_put": 1_000 * 0.000005,
            "s3_get": 1_000 * 0.0000004,
            "s3_gb_month": 1_000 * 10_000_000 / GB * 0.023,
            "logs_gb": 1_000 * 512 / GB * 0.50,
            "logs_gb_month": 1_000 * 512 / GB * 0.15 * 0.03,
            "metric_month": METRICS,
            # Input and output need 20 MB, less than the free 512 MB.
        },
        providers="storage_providers:\n"
        "  webdav: {there: {hostname: dav.example.org, login: a, password: b}}\n",
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_model_agrees_with_the_price_by_hand(case: Case, tmp_path: Path) -> None:
    file = tmp_path / "workflow.yaml"
    file.write_text(f"functions:\n  aws:{case.functions}{case.providers}\n")
    prices = load().of(case.region)
    assert prices is not None
    found: dict[str, float] = {}
    for one in estimates(load_workflow(file), case.load, {None: prices}):
        for item in one.items:
            assert item.usd is not None, item
            found[item.key] = found.get(item.key, 0.0) + item.usd
    assert found == pytest.approx(case.usd, rel=0.01)
    assert sum(found.values()) == pytest.approx(sum(case.usd.values()), rel=0.01)


def test_at_least_twenty_workflows_are_priced_by_hand() -> None:
    assert len({case.name for case in CASES}) >= 20
