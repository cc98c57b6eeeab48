"""The job sizes that Fargate offers: each number of vCPUs has a range of memory.

Source: AWS Batch API reference, ResourceRequirement ("supported values" of MEMORY and VCPU for Fargate).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

OFFERED: Final[Mapping[float, tuple[int, ...]]] = {
    0.25: (512, 1024, 2048),
    0.5: tuple(range(1024, 4096 + 1, 1024)),
    1: tuple(range(2048, 8192 + 1, 1024)),
    2: tuple(range(4096, 16384 + 1, 1024)),
    4: tuple(range(8192, 30720 + 1, 1024)),
    8: tuple(range(16384, 61440 + 1, 4096)),
    16: tuple(range(32768, 122880 + 1, 8192)),
}
"""vCPUs to memory in MiB."""

DEFAULT_VCPUS: Final = 1.0
DEFAULT_MEMORY_MIB: Final = 1024
"""FDL's defaults for a job. Fargate does not offer this pair: see `size`."""


def size(vcpus: float | None, memory_mib: int | None) -> tuple[float, int] | None:
    """The size of a job with missing values filled in; None if Fargate does not offer it.

    Fargate does not offer FDL's defaults, 1 vCPU with 1024 MiB. A missing memory therefore becomes the
    smallest offered size from 1024 MiB, and missing vCPUs become the number nearest to 1 with that memory.
    """
    if vcpus is None and memory_mib is None:
        vcpus = DEFAULT_VCPUS
    if vcpus is None:
        fitting = [option for option, memories in OFFERED.items() if memory_mib in memories]
        if not fitting or memory_mib is None:
            return None
        return min(fitting, key=lambda option: abs(option - DEFAULT_VCPUS)), memory_mib
    memories = OFFERED.get(vcpus, ())
    if memory_mib is None:
        enough = [option for option in memories if option >= DEFAULT_MEMORY_MIB]
        return (vcpus, enough[0]) if enough else None
    return (vcpus, memory_mib) if memory_mib in memories else None


def next_size(
    before: tuple[float, int], vcpus: float | None, memory_mib: int | None
) -> tuple[float, int] | None:
    """The size of a further try, with missing values filled in; None if Fargate does not offer it.

    :param before: vCPUs and MiB of the size before.
    """
    options = [vcpus] if vcpus is not None else [option for option in OFFERED if option >= before[0]]
    for option in options:
        for memory in OFFERED.get(option, ()):
            if memory == memory_mib or (memory_mib is None and memory >= before[1]):
                return option, memory
    return None


def nearest(vcpus: float | None, memory_mib: int | None) -> tuple[float, int]:
    """The smallest offered size with at least this much of both, or the largest size."""
    vcpus, memory_mib = vcpus or DEFAULT_VCPUS, memory_mib or DEFAULT_MEMORY_MIB
    for option, memories in OFFERED.items():
        for memory in memories:
            if option >= vcpus and memory >= memory_mib:
                return option, memory
    largest = max(OFFERED)
    return largest, OFFERED[largest][-1]
