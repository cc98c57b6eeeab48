"""EC2 instance types, as far as their names tell what a job can run on.

Source: Amazon EC2 instance type naming conventions: family, generation, then letters, of which `g` means AWS
Graviton processors.
"""

from __future__ import annotations

import re
from typing import Final

GROUPS: Final = {"optimal": "x86_64", "default_x86_64": "x86_64", "default_arm64": "arm64"}
"""Names that stand for several families of general-purpose instances, to their architecture."""

_ARM: Final = re.compile(r"a1|[a-z]+[0-9]+g[a-z]*")
_GPU: Final = re.compile(r"(p|g|gr)[0-9]+[a-z]*")
_WITHOUT_DRIVER: Final = re.compile(r"p[23](dn)?|g[23]s?|g4ad")
"""GPU families that the machine image ECS_AL2023_NVIDIA does not support. It exists only for x86_64
(https://docs.aws.amazon.com/batch/latest/APIReference/API_Ec2Configuration.html)."""


def architecture(instance_type: str) -> str:
    """`x86_64` or `arm64`."""
    if instance_type in GROUPS:
        return GROUPS[instance_type]
    return "arm64" if _ARM.fullmatch(_family(instance_type)) else "x86_64"


def has_gpu(instance_type: str) -> bool:
    """Whether instances of this type have a GPU."""
    return instance_type not in GROUPS and _GPU.match(_family(instance_type)) is not None


def has_gpu_driver(instance_type: str) -> bool:
    """Whether the machine image of Batch contains a driver for the GPU of this type."""
    family = _family(instance_type)
    return architecture(instance_type) == "x86_64" and _WITHOUT_DRIVER.fullmatch(family) is None


def default_types(architecture: str, *, gpu: bool) -> tuple[str, ...]:
    """The instance types for jobs whose author names none."""
    if gpu:
        return ("g5g",) if architecture == "arm64" else ("g4dn",)
    return ("default_arm64",) if architecture == "arm64" else ("optimal",)


def vcpus_of_instance(vcpus: float, *, gpu: bool) -> int:
    """vCPUs of the smallest usual instance for a job: powers of two from 2, with a GPU from 4."""
    least = 4 if gpu else 2
    while least < vcpus:
        least *= 2
    return least


def _family(instance_type: str) -> str:
    return instance_type.partition(".")[0]
