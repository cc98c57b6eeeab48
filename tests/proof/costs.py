"""What the proof of an example may cost at most, before and after it runs."""

from __future__ import annotations

from fdl_schemas.instances import vcpus_of_instance
from fdl_schemas.model import Workflow

RUNS = 2
"""A cold one and a warm one."""
_LAMBDA_USD_PER_GB_S = 0.0000166667
_FARGATE_USD_PER_VCPU_H = 0.04048
_FARGATE_USD_PER_GB_H = 0.004445
_EC2_USD_PER_VCPU_H = 0.14
"""Of g4dn, the most expensive of the default instance types."""
_REQUESTS_USD = 0.01
_ASSEMBLY_GB_S = 2.0 * 300
"""Of each function's image: five minutes of an assembler with 2 GB."""
_JOB_S = 600
_LONGEST_INVOCATION_S = 60

ASSUMPTIONS = (
    f"List prices of us-east-1 without the free tier: Lambda USD {_LAMBDA_USD_PER_GB_S:.10f} per GB-second, "
    f"Fargate USD {_FARGATE_USD_PER_VCPU_H} per vCPU-hour and USD {_FARGATE_USD_PER_GB_H} per GB-hour, "
    f"EC2 USD {_EC2_USD_PER_VCPU_H} per vCPU-hour.",
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
        total += gb_s * _LAMBDA_USD_PER_GB_S
        if (job := function.batch) is not None:
            if job.on_fargate:
                hourly = job.vcpus * _FARGATE_USD_PER_VCPU_H + job.memory_mib / 1024 * _FARGATE_USD_PER_GB_H
            else:
                hourly = vcpus_of_instance(job.vcpus, gpu=job.gpus > 0) * _EC2_USD_PER_VCPU_H
            nodes = 1 if job.multi_node is None else job.multi_node.number_nodes
            total += RUNS * nodes * hourly * _JOB_S / 3600
    return total
