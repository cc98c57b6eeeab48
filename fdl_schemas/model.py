"""The model: what an FDL file means, with nothing left to guess.

A `Workflow` is what the loader gives after an FDL file was read, checked against the JSON Schema and against
the rules over the whole file. All defaults are filled in, so that no later room has a default of its own, and a
`Workflow` that exists is valid: later rooms do not check it again.

Fields carry AWS's and FDL's own words; a number's unit is in its name (`memory_mib`, `timeout_s`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType

_NOTHING: Mapping[str, str] = MappingProxyType({})


class ExecutionMode(StrEnum):
    """Where the container runs."""

    LAMBDA = "lambda"
    LAMBDA_BATCH = "lambda-batch"
    BATCH = "batch"


@dataclass(frozen=True, slots=True)
class StorageEntry:
    """One entry of `input` or `output`: a folder of a bucket, and filters on the base names of its files."""

    bucket: str
    folder: str = ""
    """Path below the bucket without leading or trailing `/`; empty for the whole bucket."""
    prefixes: tuple[str, ...] = ()
    """The base name starts with one of these; empty: any name."""
    suffixes: tuple[str, ...] = ()
    """The base name ends with one of these; empty: any name."""
    provider: str = "s3"
    """`KIND` or `KIND.NAME`; `s3` alone is the function's own account and role."""

    @property
    def key_prefix(self) -> str:
        """What every key in the folder starts with: `folder/`, or nothing for the whole bucket."""
        return f"{self.folder}/" if self.folder else ""

    def __str__(self) -> str:
        """As it stands in an FDL file: `bucket/folder`."""
        return f"{self.bucket}/{self.folder}" if self.folder else self.bucket


@dataclass(frozen=True, slots=True)
class Container:
    """The user's container: exactly one of `image` and `image_file` is set."""

    image: str | None = None
    """Reference of an image in a registry, `[registry/]repository[:tag][@digest]`."""
    image_file: Path | None = None
    """Absolute path of an archive made by `docker save`, or of an OCI archive."""
    environment: Mapping[str, str] = _NOTHING
    timeout_threshold_s: int = 10
    """Kept back from the function's timeout, to upload outputs."""


@dataclass(frozen=True, slots=True)
class ComputeResources:
    """Where Batch runs the jobs of one function."""

    type: str = "FARGATE"
    """`FARGATE` or `FARGATE_SPOT`."""
    max_v_cpus: int = 2
    subnets: tuple[str, ...] = ()
    """Ids of subnets that are there already; empty: public subnets are made."""
    security_group_ids: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class BatchJob:
    """The Batch job of a function in mode `batch` or `lambda-batch`."""

    vcpus: float = 1
    memory_mib: int = 1024
    timeout_s: int = 86400
    """Of one attempt."""
    attempts: int = 2
    environment: Mapping[str, str] = _NOTHING
    state: str = "ENABLED"
    compute_resources: ComputeResources = field(default_factory=ComputeResources)


@dataclass(frozen=True, slots=True)
class Function:
    """One entry of `functions.aws`."""

    name: str
    container: Container
    description: str = ""
    memory_mib: int = 512
    timeout_s: int = 300
    ephemeral_storage_mib: int = 512
    """Size of `/tmp`, where the image is unpacked."""
    execution_mode: ExecutionMode = ExecutionMode.LAMBDA
    log_level: str = "INFO"
    init_script: Path | None = None
    """Absolute path of the script that runs in the container on every event."""
    environment: Mapping[str, str] = _NOTHING
    """The function's own environment, not the container's."""
    inputs: tuple[StorageEntry, ...] = ()
    outputs: tuple[StorageEntry, ...] = ()
    role_arn: str | None = None
    """A role that is there already; None: a least-privilege role is made."""
    log_retention_days: int = 30
    batch: BatchJob | None = None
    """Set in modes `batch` and `lambda-batch`."""


@dataclass(frozen=True, slots=True)
class Workflow:
    """A whole FDL file."""

    source: Path
    """Absolute path of the FDL file."""
    functions: tuple[Function, ...]

    @property
    def name(self) -> str:
        """The FDL file's stem: the stack's name comes from it."""
        return self.source.stem

    @property
    def buckets(self) -> tuple[str, ...]:
        """Names of all buckets of the function's own account, in the order of their first mention."""
        entries = (entry for function in self.functions for entry in (*function.inputs, *function.outputs))
        return tuple(dict.fromkeys(entry.bucket for entry in entries if entry.provider == "s3"))

    @property
    def edges(self) -> tuple[tuple[str, str], ...]:
        """(function that writes, function that its output triggers), each pair once."""
        from fdl_schemas.graph import edges

        return edges(self.functions)
