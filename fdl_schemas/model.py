"""The model: what an FDL file means, with nothing left to guess.

A `Workflow` is what the loader gives after an FDL file was read, checked against the JSON Schema and against
the rules over the whole file. All defaults are filled in, so that no later room has a default of its own, and
a `Workflow` that exists is valid: later rooms do not check it again.

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
    topic_arn: str | None = None
    """Of an input: the SNS topic that carries the bucket's notifications, where they do not come directly."""

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
    environment: Mapping[str, str] = field(default_factory=lambda: _NOTHING)
    timeout_threshold_s: int = 10
    """Kept back from the function's timeout, to upload outputs."""
    registry_credentials: str | None = None
    """Name or ARN of the Secrets Manager secret that holds a private registry's user name and password."""
    create_image: bool = True
    """Assemble an image; False takes a ready image in ECR as it is."""


@dataclass(frozen=True, slots=True)
class ComputeResources:
    """Where Batch runs the jobs of one function."""

    type: str = "FARGATE"
    """`FARGATE`, `FARGATE_SPOT`, `EC2` or `SPOT`."""
    min_v_cpus: int = 0
    desired_v_cpus: int = 0
    max_v_cpus: int = 2
    instance_types: tuple[str, ...] = ("optimal",)
    """Used by `EC2` and `SPOT` alone."""
    subnets: tuple[str, ...] = ()
    """Ids of subnets that are there already; empty: public subnets are made."""
    security_group_ids: tuple[str, ...] = ()
    instance_role: str | None = None
    """ARN or name of an instance profile that is there already; used by `EC2` and `SPOT` alone."""
    launch_template_name: str | None = None


@dataclass(frozen=True, slots=True)
class MultiNode:
    """A Batch job that runs on several nodes at once (MPI and the like)."""

    number_nodes: int = 10
    main_node_index: int = 0


@dataclass(frozen=True, slots=True)
class BatchJob:
    """The Batch job of a function in mode `batch` or `lambda-batch`."""

    vcpus: float = 1
    memory_mib: int = 2048
    """On Fargate always one of the sizes that it offers with `vcpus`."""
    timeout_s: int = 86400
    """Of one attempt."""
    attempts: int = 2
    environment: Mapping[str, str] = field(default_factory=lambda: _NOTHING)
    state: str = "ENABLED"
    compute_resources: ComputeResources = field(default_factory=ComputeResources)
    service_role_arn: str | None = None
    """A service role that is there already; None: Batch's service-linked role or one that is made."""
    gpus: int = 0
    multi_node: MultiNode | None = None
    """Set where `multi_node_parallel.enabled` is."""


@dataclass(frozen=True, slots=True)
class Vpc:
    """The VPC that a function runs in."""

    subnet_ids: tuple[str, ...]
    security_group_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class FileSystem:
    """An EFS access point, mounted into the function."""

    arn: str
    local_mount_path: str
    """Below `/mnt/`."""


class HttpAuth(StrEnum):
    """Who may call a function's HTTP endpoint."""

    NONE = "NONE"
    AWS_IAM = "AWS_IAM"
    API_KEY = "API_KEY"


@dataclass(frozen=True, slots=True)
class ApiGateway:
    """The HTTP endpoint of one function."""

    name: str
    auth: HttpAuth = HttpAuth.NONE


@dataclass(frozen=True, slots=True)
class RunOptions:
    """What `scar run` does where its command line does not say otherwise; nothing of it is deployed."""

    run_script: Path | None = None
    """Absolute path of a script sent with each run."""
    asynchronous: bool = False
    invocation_type: str = "RequestResponse"
    log_type: str = "Tail"
    payload: object = None


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
    environment: Mapping[str, str] = field(default_factory=lambda: _NOTHING)
    """The function's own environment, not the container's."""
    inputs: tuple[StorageEntry, ...] = ()
    outputs: tuple[StorageEntry, ...] = ()
    role_arn: str | None = None
    """A role that is there already; None: a least-privilege role is made."""
    log_retention_days: int = 30
    batch: BatchJob | None = None
    """Set in modes `batch` and `lambda-batch`."""
    region: str | None = None
    """None: the deployment's region."""
    architecture: str = "x86_64"
    """`x86_64` or `arm64`."""
    image_runtime: bool = True
    """`runtime: image`: an image function; False: a zip function that pulls the image when it runs."""
    delete_ecr_image: bool = True
    """Whether destroying the stack removes the image made for `runtime: image`."""
    layer_arns: tuple[str, ...] = ()
    """Added to the runner's own layer."""
    extra_payload: Path | None = None
    """Absolute path of a file or folder packaged with the function."""
    deployment_bucket: str | None = None
    """Where a large image file is staged; None: with the stack's other assets."""
    vpc: Vpc | None = None
    file_systems: tuple[FileSystem, ...] = ()
    reserved_concurrency: int | None = None
    """Cap on parallel runs; None: the account's."""
    retry_attempts: int = 2
    """Of asynchronous invocations."""
    tags: Mapping[str, str] = field(default_factory=lambda: _NOTHING)
    """The user's own; `createdby: scar` comes on top."""
    preheat: bool = False
    """Invoke once after deployment, so that the image is cached."""
    api_gateway: ApiGateway | None = None
    run: RunOptions = field(default_factory=RunOptions)

    @property
    def runs_in_lambda(self) -> bool:
        """Whether the container runs in Lambda; in mode `batch` the Lambda function only submits jobs."""
        return self.execution_mode is not ExecutionMode.BATCH

    @property
    def is_image_function(self) -> bool:
        """Whether the Lambda function itself is made of the image."""
        return self.image_runtime and self.runs_in_lambda

    @property
    def pulls_image(self) -> bool:
        """Whether the Lambda function pulls and unpacks its image when it runs, instead of running in it."""
        return not self.image_runtime and self.runs_in_lambda

    @property
    def needs_assembled_image(self) -> bool:
        """Whether something runs in an image that is assembled at deployment: the function, or its jobs."""
        return self.container.create_image and (self.batch is not None or not self.pulls_image)


@dataclass(frozen=True, slots=True)
class OscarService:
    """One entry of `functions.oscar`: an on-premises service. Not deployed, but part of the graph."""

    cluster: str
    name: str
    image: str = ""
    memory: str = "256Mi"
    cpu: str = "0.2"
    log_level: str = "INFO"
    script: str | None = None
    environment: Mapping[str, str] = field(default_factory=lambda: _NOTHING)
    inputs: tuple[StorageEntry, ...] = ()
    outputs: tuple[StorageEntry, ...] = ()


SECRET_SETTINGS = frozenset({"access_key", "secret_key", "login", "password", "token"})
"""The settings of storage providers that may be kept in AWS Secrets Manager, and are never packaged."""


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting of a storage provider: its value, or the place where a secret one is kept.

    `repr()` never shows the value, so that no log or traceback does.
    """

    value: str = field(repr=False)
    """The value itself, the name of an environment variable, or the name or ARN of a secret."""
    kept_in: str = "file"
    """`file` (the value itself), `environment` (`${ENV:NAME}`) or `secret` (`${SECRET:name-or-arn}`)."""


@dataclass(frozen=True, slots=True)
class StorageProvider:
    """One connection of `storage_providers`."""

    kind: str
    """`s3`, `minio`, `webdav` or `onedata`."""
    name: str
    settings: Mapping[str, Setting]
    verify: bool = True
    """Of `minio`: whether the server's certificate is checked."""

    @property
    def reference(self) -> str:
        """As a storage entry names it: `KIND.NAME`."""
        return f"{self.kind}.{self.name}"


@dataclass(frozen=True, slots=True)
class Workflow:
    """A whole FDL file."""

    source: Path
    """Absolute path of the FDL file."""
    functions: tuple[Function, ...]
    oscar_services: tuple[OscarService, ...] = ()
    storage_providers: tuple[StorageProvider, ...] = ()
    allow_loops: bool = False
    stage: str | None = None
    """The stage whose names the functions and buckets have; None: those of the FDL file."""

    @property
    def name(self) -> str:
        """The FDL file's stem: the stack's name comes from it."""
        return self.source.stem

    @property
    def pulls(self) -> bool:
        """Whether a function pulls and unpacks its image when it runs, instead of running in it."""
        return any(function.pulls_image for function in self.functions)

    @property
    def buckets(self) -> tuple[str, ...]:
        """Names of all buckets of the function's own account, in the order of their first mention.

        A bucket whose notifications come by a topic is somebody else's."""
        entries = (entry for function in self.functions for entry in (*function.inputs, *function.outputs))
        return tuple(
            dict.fromkeys(
                entry.bucket for entry in entries if entry.provider == "s3" and entry.topic_arn is None
            )
        )
