"""What a run is billed for: a Lambda function, or a job of AWS Batch.

Sources: https://aws.amazon.com/lambda/pricing/, https://aws.amazon.com/fargate/pricing/ and
https://aws.amazon.com/ec2/pricing/on-demand/. AWS Batch itself is free of charge.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

from fdl_schemas.model import BatchJob, Function, JobSize
from fdl_schemas.prices.table import (
    EC2,
    SPOT,
    Instance,
    NoPriceError,
    RegionPrices,
    fargate_compute,
    lambda_compute,
)
from scar_cli.cost.items import priced, times, total

LAMBDA: Final = "lambda"
MIB_PER_VCPU: Final = 1769
"""Memory with which Lambda gives a function one vCPU
(https://docs.aws.amazon.com/lambda/latest/dg/configuration-memory.html)."""
HOURS_PER_MONTH: Final = 730
_FREE_LAMBDA_STORAGE_MIB: Final = 512
_FREE_FARGATE_STORAGE_GIB: Final = 20
_LEAST_FARGATE_S: Final = 60
_VOLUME_GIB: Final = 30
"""Root volume of an instance with Amazon's ECS image."""
_FAMILIES: Final = {
    "optimal": ("m6i", "c6i", "r6i", "c7i"),
    "default_x86_64": ("m6i", "c6i", "r6i", "c7i"),
    "default_arm64": ("m6g", "c6g", "r6g", "c7g"),
}
"""https://docs.aws.amazon.com/batch/latest/APIReference/API_ComputeResource.html"""


@dataclass(frozen=True, slots=True)
class Compute:
    """A size of Lambda, Fargate or EC2."""

    kind: str
    """`lambda`, or the type of compute resources: `FARGATE`, `FARGATE_SPOT`, `EC2`, `SPOT`."""
    memory_mib: int
    architecture: str = "x86_64"
    """`x86_64` or `arm64`."""
    vcpus: float = 0.0
    """Only of jobs."""
    storage_mib: int = 0
    """Size of `/tmp` on Lambda, or of the temporary storage on Fargate; 0: the free size."""
    gpus: int = 0
    nodes: int = 1
    instance_types: tuple[str, ...] = ()
    public_address: bool = False
    """Whether a job (or its instance) has a public IPv4 address."""

    @classmethod
    def of_lambda(cls, function: Function) -> Compute:
        """The size of a Lambda function."""
        return cls(
            LAMBDA,
            function.memory_mib,
            function.architecture,
            storage_mib=function.ephemeral_storage_mib,
        )

    @classmethod
    def of_batch(cls, function: Function, job: BatchJob) -> Compute:
        """The size of the first try of a job."""
        resources = job.compute_resources
        public = resources.assign_public_ip
        return cls(
            resources.type,
            job.memory_mib,
            function.architecture,
            job.vcpus,
            (job.ephemeral_storage_gib or 0) * 1024,
            job.gpus,
            1 if job.multi_node is None else job.multi_node.number_nodes,
            resources.instance_types,
            # Without subnets of the user, jobs run in the public subnets of the stack's VPC.
            not resources.subnets if public is None else public,
        )

    def with_size(self, size: JobSize) -> Compute:
        """The size of a further try of the job."""
        return replace(self, vcpus=size.vcpus, memory_mib=size.memory_mib)

    @property
    def on_lambda(self) -> bool:
        """Whether it is a Lambda function, and not a job."""
        return self.kind == LAMBDA

    def usage(self, seconds: float, prices: RegionPrices) -> dict[str, float]:
        """What AWS bills for one run of so many seconds, without the request to Lambda.

        Raises:
            NoPriceError: it is unknown which EC2 instance is the cheapest.
        """
        if self.on_lambda:
            return self._lambda_usage(seconds)
        if self.kind.startswith("FARGATE"):
            return self._fargate_usage(seconds)
        return self._instance_usage(seconds, prices)

    def billed_s(self, seconds: float) -> float:
        """For how long a run of so many seconds is billed: `usage` is proportional to it."""
        if self.on_lambda:
            return math.ceil(round(seconds * 1000, 6)) / 1000
        if self.kind.startswith("FARGATE"):
            return max(_LEAST_FARGATE_S, math.ceil(round(seconds, 6)))
        return seconds

    def usd_of(self, seconds: float, prices: RegionPrices) -> float:
        """The price of one run of so many seconds, without the request to Lambda.

        Raises:
            NoPriceError: the price is unknown.
        """
        usage = self.usage(seconds, prices)
        for key in usage:
            prices.usd(key)
        return total(priced(usage, prices))

    def described(self) -> str:
        """`lambda x86 512 MB`, `FARGATE 0.5 vCPU 1024 MB`."""
        arm = " arm64" if self.architecture == "arm64" else ""
        if self.on_lambda:
            return f"lambda{arm or ' x86'}, {self.memory_mib:,} MB"
        cpus = f"{self.vcpus:g} vCPU{'' if self.vcpus == 1 else 's'}"
        gpus = f", {self.gpus} GPU{'' if self.gpus == 1 else 's'}" if self.gpus else ""
        nodes = f", {self.nodes} nodes" if self.nodes > 1 else ""
        return f"{self.kind}{arm}, {cpus}, {self.memory_mib:,} MB{gpus}{nodes}"

    def _lambda_usage(self, seconds: float) -> dict[str, float]:
        billed_s = self.billed_s(seconds)
        more_mib = max(0, self.storage_mib - _FREE_LAMBDA_STORAGE_MIB)
        return {
            lambda_compute(self.architecture): billed_s * self.memory_mib / 1024,
            "lambda_storage_gb_s": billed_s * more_mib / 1024,
        }

    def _fargate_usage(self, seconds: float) -> dict[str, float]:
        hours = self.nodes * self.billed_s(seconds) / 3600
        vcpu_hour, gb_hour = fargate_compute(self.architecture, self.kind)
        more_gib = max(0.0, self.storage_mib / 1024 - _FREE_FARGATE_STORAGE_GIB)
        return {
            vcpu_hour: hours * self.vcpus,
            gb_hour: hours * self.memory_mib / 1024,
            "fargate_storage_gb_hour": hours * more_gib,
            "ipv4_hour": hours if self.public_address else 0.0,
        }

    def _instance_usage(self, seconds: float, prices: RegionPrices) -> dict[str, float]:
        key, share = self.instance(prices)
        return times(self.of_instance(key), self.nodes * share * seconds / 3600)

    def of_instance(self, key: str) -> dict[str, float]:
        """One hour of an instance, with its volume and its address."""
        volume = _VOLUME_GIB / HOURS_PER_MONTH
        return {key: 1.0, "ebs_gb_month": volume, "ipv4_hour": 1.0 if self.public_address else 0.0}

    def instance(self, prices: RegionPrices) -> tuple[str, float]:
        """The cheapest instance type for a job, as a key of the prices, and the part of it that a job uses.

        Jobs share instances; each node of a job on several nodes has one of its own. A type without a GPU
        that is too small counts more than once: larger types of a family cost proportionally more.

        Raises:
            NoPriceError: no type that fits has a price.
        """
        prefix = SPOT if self.kind == "SPOT" else EC2
        found = [
            (round(share * usd, 9), prices.instances[name].vcpus, f"{prefix}{name}", share)
            for name, share in self._fitting(prices)
            if (usd := prices.usd_or_none(f"{prefix}{name}")) is not None
        ]
        if not found:
            raise NoPriceError(f"{prefix}{'/'.join(self.instance_types)}", prices.region)
        _usd, _vcpus, key, share = min(found)
        return key, share

    def _fitting(self, prices: RegionPrices) -> Iterator[tuple[str, float]]:
        for name, instance in prices.instances.items():
            if not _is_one_of(name, self.instance_types) or bool(self.gpus) != bool(instance.gpus):
                continue
            share = self._share(instance)
            if share > 1 and self.gpus:
                continue
            yield name, max(1.0, share) if self.nodes > 1 else share

    def _share(self, instance: Instance) -> float:
        gpus = self.gpus / instance.gpus if instance.gpus else 0.0
        return max(self.vcpus / instance.vcpus, self.memory_mib / 1024 / instance.memory_gib, gpus)


def computes_of(function: Function) -> tuple[Compute, ...]:
    """Where a function runs: first Lambda, then Batch, as far as its mode uses them."""
    found = [Compute.of_lambda(function)] if function.runs_in_lambda else []
    if function.batch is not None:
        found.append(Compute.of_batch(function, function.batch))
    return tuple(found)


def _is_one_of(name: str, wanted: Sequence[str]) -> bool:
    family = name.partition(".")[0]
    return any(one in (name, family) or family in _FAMILIES.get(one, ()) for one in wanted)
