"""What the proof of an example may cost at most, before and after it runs."""

from __future__ import annotations

from typing import Final

from fdl_schemas.instances import vcpus_of_instance
from fdl_schemas.model import BatchJob, Workflow
from fdl_schemas.prices.table import load

RUNS = 2
"""A cold one and a warm one."""
REGION: Final = "us-east-1"
_PRICES = load().regions[REGION]
_GPU_VCPU_H = max(_PRICES[f"ec2:g4dn.{size}"].usd / vcpus for size, vcpus in (("xlarge", 4), ("2xlarge", 8)))
"""Of g4dn, the most expensive of the default instance types."""
_REQUESTS_USD = 0.01
_ASSEMBLY_GB_S = 2.0 * 300
"""Of each function's image: five minutes of an assembler with 2 GB."""
_JOB_S = 600
_LONGEST_INVOCATION_S = 60


def _usd(key: str) -> float:
    return _PRICES[key].usd


ASSUMPTIONS = (
    f"List prices of {REGION} without the free tier: "
    f"Lambda USD {_usd('lambda_x86_gb_s'):.10f} per GB-second, "
    f"Fargate USD {_usd('fargate_vcpu_hour')} per vCPU-hour and USD {_usd('fargate_gb_hour')} per GB-hour, "
    f"EC2 USD {_GPU_VCPU_H:.4f} per vCPU-hour.",
    f"Each invocation counts with the timeout of its function, at most {_LONGEST_INVOCATION_S} s, or with "
    "the time that the whole run took, if that is known and shorter.",
    f"Each node of a Batch job counts with {_JOB_S // 60} minutes, each assembly of an image with 5 minutes "
    "at 2 GB.",
    "USD 0.01 for each example covers requests, logs, storage for an hour, and data transfer.",
)


def at_most(workflow: Workflow, invocations: int, measured_s: float | None = None) -> float:
    """USD for all runs of an example with so many invocations of each function in one run.

    :param measured_s: what the longer of the runs took, if it is known.
    """
    total = _REQUESTS_USD
    for function in workflow.functions:
        longest = min(function.timeout_s, _LONGEST_INVOCATION_S, measured_s or _LONGEST_INVOCATION_S)
        gb_s = RUNS * invocations * longest * function.memory_mib / 1024 + _ASSEMBLY_GB_S
        total += gb_s * _usd("lambda_x86_gb_s")
        if (job := function.batch) is not None:
            hourly = _hourly(job)
            nodes = 1 if job.multi_node is None else job.multi_node.number_nodes
            total += RUNS * nodes * hourly * _JOB_S / 3600
    return total


def _hourly(job: BatchJob) -> float:
    if job.on_fargate:
        return job.vcpus * _usd("fargate_vcpu_hour") + job.memory_mib / 1024 * _usd("fargate_gb_hour")
    return vcpus_of_instance(job.vcpus, gpu=job.gpus > 0) * _GPU_VCPU_H
