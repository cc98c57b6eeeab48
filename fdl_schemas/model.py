"""The model: the meaning of an FDL file, with all defaults.

The loader returns a `Workflow` after it has read an FDL file and checked it against the JSON Schema and the
rules. All defaults are filled in, so that other packages have none of their own. An existing `Workflow` is
valid, so that other packages do not check it again.

Fields use the terms of AWS and FDL. The unit of a number is in its name (`memory_mib`, `timeout_s`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType
from typing import Literal

_NOTHING: Mapping[str, str] = MappingProxyType({})

EPHEMERAL_STORAGE_OF_PULLED_IMAGES_MIB = 10_240
"""The maximum of Lambda. Few unpacked images fit into the 512 MiB that are free. The rest costs 0.29 USD for
a million seconds, 3.5% of the price of 512 MiB of memory
(https://aws.amazon.com/lambda/pricing/, us-east-1: 0.0000000309 USD for a GB-second)."""


class ExecutionMode(StrEnum):
    """Where the container runs."""

    LAMBDA = "lambda"
    LAMBDA_BATCH = "lambda-batch"
    BATCH = "batch"


@dataclass(frozen=True, slots=True)
class QueueSettings:
    """Settings of the SQS queue in which the new files of an input wait."""

    max_concurrency: int
    """Maximum number of concurrent invocations of the function for this queue."""
    batch_window_s: int = 0
    """For how long files are collected for one invocation, which submits them together; 0 unless the function
    runs in `batch` mode, because each invocation is for one file then."""
    retention_days: int = 14
    arn: str | None = None
    """ARN of an existing queue; None: a queue is created for the function."""


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
    """Only for inputs: the SNS topic that delivers the bucket's notifications, if they are not direct."""
    queue: QueueSettings | None = None
    """Only for inputs: the queue in which new files wait; None: they invoke the function directly."""

    @property
    def is_notified_elsewhere(self) -> bool:
        """Whether a topic or an existing queue delivers the notifications of a bucket that is not part of the
        workflow."""
        return self.topic_arn is not None or (self.queue is not None and self.queue.arn is not None)

    @property
    def key_prefix(self) -> str:
        """The prefix of every object key in the folder: `folder/`, or nothing for the whole bucket."""
        return f"{self.folder}/" if self.folder else ""

    def __str__(self) -> str:
        """As written in an FDL file: `bucket/folder`."""
        return f"{self.bucket}/{self.folder}" if self.folder else self.bucket


@dataclass(frozen=True, slots=True)
class Container:
    """The user's container: exactly one of `image` and `image_file` is set."""

    image: str | None = None
    """Reference of an image in a registry, `[registry/]repository[:tag][@digest]`."""
    image_file: Path | None = None
    """Absolute path of a `docker save` archive or an OCI archive."""
    environment: Mapping[str, str] = field(default_factory=lambda: _NOTHING)
    timeout_threshold_s: int = 10
    """Part of the function's timeout that is reserved for uploading outputs."""
    registry_credentials: str | None = None
    """Name or ARN of the Secrets Manager secret with the user name and password of a private registry."""
    create_image: bool = True
    """Whether to assemble an image; False uses a ready image in ECR unchanged."""


@dataclass(frozen=True, slots=True)
class ComputeResources:
    """Where Batch runs the jobs of one function."""

    type: str = "FARGATE"
    """`FARGATE`, `FARGATE_SPOT`, `EC2` or `SPOT`."""
    min_v_cpus: int = 0
    desired_v_cpus: int = 0
    max_v_cpus: int = 2
    instance_types: tuple[str, ...] = ("optimal",)
    """Only for `EC2` and `SPOT`; the default depends on architecture and GPU."""
    subnets: tuple[str, ...] = ()
    """IDs of existing subnets; empty: those of the deployment's VPC."""
    security_group_ids: tuple[str, ...] = ()
    assign_public_ip: bool | None = None
    """Only for Fargate; None: as the deployment's VPC requires it."""
    instance_role: str | None = None
    """ARN or name of an existing instance profile; only for `EC2` and `SPOT`."""
    launch_template_name: str | None = None


@dataclass(frozen=True, slots=True)
class MultiNode:
    """A Batch job that runs on several nodes at once, for example with MPI."""

    number_nodes: int = 10
    main_node_index: int = 0


@dataclass(frozen=True, slots=True)
class JobSize:
    """The size of a further try of a job that ran out of memory or time."""

    vcpus: float
    memory_mib: int
    timeout_s: int
    """Timeout of one attempt."""


@dataclass(frozen=True, slots=True)
class BatchJob:
    """The Batch job of a function in `batch` or `lambda-batch` mode."""

    vcpus: float = 1
    memory_mib: int = 2048
    """On Fargate always a size that it offers with `vcpus`."""
    timeout_s: int = 86400
    """Timeout of one attempt."""
    attempts: int = 2
    retry: tuple[JobSize, ...] = ()
    """Sizes for further tries of a job that ran out of memory or time, each at least as large as the one
    before."""
    ephemeral_storage_gib: int | None = None
    """Only on Fargate; None: its default of 20 GiB."""
    environment: Mapping[str, str] = field(default_factory=lambda: _NOTHING)
    state: str = "ENABLED"
    compute_resources: ComputeResources = field(default_factory=ComputeResources)
    service_role_arn: str | None = None
    """ARN of an existing service role; None: Batch's service-linked role, or a role that is created."""
    gpus: int = 0
    """Of each node."""
    multi_node: MultiNode | None = None
    """Set if `multi_node_parallel.enabled` is true."""

    @property
    def on_fargate(self) -> bool:
        """Whether jobs run on Fargate, and not on EC2 instances."""
        return self.compute_resources.type.startswith("FARGATE")

    @property
    def most_vcpus(self) -> float:
        """vCPUs of all nodes of the largest size."""
        nodes = 1 if self.multi_node is None else self.multi_node.number_nodes
        return nodes * max([self.vcpus, *(size.vcpus for size in self.retry)])


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


@dataclass(frozen=True, slots=True)
class ApiGateway:
    """The HTTP endpoint of one function."""

    name: str
    auth: Literal["NONE", "AWS_IAM", "API_KEY"] = "NONE"
    """Who may call it."""


@dataclass(frozen=True, slots=True)
class RunOptions:
    """Defaults of `scar run`, which its command line overrides; not deployed."""

    run_script: Path | None = None
    """Absolute path of a script that is sent with each run."""
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
    """Size of `/tmp`, where a pulled image is unpacked; of such a function,
    `EPHEMERAL_STORAGE_OF_PULLED_IMAGES_MIB` by default."""
    execution_mode: ExecutionMode = ExecutionMode.LAMBDA
    log_level: str = "INFO"
    init_script: Path | None = None
    """Absolute path of the script that runs in the container on every event."""
    environment: Mapping[str, str] = field(default_factory=lambda: _NOTHING)
    """The function's own environment, not the container's."""
    inputs: tuple[StorageEntry, ...] = ()
    outputs: tuple[StorageEntry, ...] = ()
    role_arn: str | None = None
    """ARN of an existing role; None: a least-privilege role is created."""
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
    """Whether destroying the stack deletes the assembled image."""
    layer_arns: tuple[str, ...] = ()
    """Added to the runner's own layer."""
    extra_payload: Path | None = None
    """Absolute path of a file or folder packaged with the function."""
    deployment_bucket: str | None = None
    """Staging bucket of a large image file; None: the bucket of the stack's other assets."""
    vpc: Vpc | None = None
    file_systems: tuple[FileSystem, ...] = ()
    reserved_concurrency: int | None = None
    """Limit of concurrent runs; None: the account's limit."""
    retry_attempts: int = 2
    """Retries of asynchronous invocations."""
    once: bool = False
    """Whether each input object is processed only once, even if its event is delivered several times."""
    tags: Mapping[str, str] = field(default_factory=lambda: _NOTHING)
    """The user's tags; `createdby: scar` is added to them."""
    preheat: bool = False
    """Invoke once after deployment, so that the image is cached."""
    api_gateway: ApiGateway | None = None
    run: RunOptions = field(default_factory=RunOptions)

    @property
    def runs_in_lambda(self) -> bool:
        """Whether the container runs in Lambda; in `batch` mode the Lambda function only submits jobs."""
        return self.execution_mode is not ExecutionMode.BATCH

    @property
    def is_image_function(self) -> bool:
        """Whether the Lambda function itself is created from the image."""
        return self.image_runtime and self.runs_in_lambda

    @property
    def pulls_image(self) -> bool:
        """Whether the Lambda function pulls and unpacks its image when it runs, instead of running in it."""
        return not self.image_runtime and self.runs_in_lambda

    @property
    def needs_assembled_image(self) -> bool:
        """Whether the function or its jobs run in an image that is assembled at deployment."""
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
"""The settings of storage providers that may be in AWS Secrets Manager, and are never packaged."""


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting of a storage provider: its value, or a reference to a secret.

    `repr()` does not show the value, so that logs and tracebacks do not either.
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
    """Only for `minio`: whether to check the server's certificate."""

    @property
    def reference(self) -> str:
        """As written in a storage entry: `KIND.NAME`."""
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
    """The stage that is a part of the names of functions and buckets; None: the names of the FDL file."""

    @property
    def name(self) -> str:
        """The name of the FDL file without its extension, from which the stack's name is derived."""
        return self.source.stem

    @property
    def pulls(self) -> bool:
        """Whether a function pulls and unpacks its image when it runs, instead of running in it."""
        return any(function.pulls_image for function in self.functions)

    @property
    def buckets(self) -> tuple[str, ...]:
        """Names of all buckets in the function's own account, in the order of their first use.

        A bucket whose notifications a topic or an existing queue delivers is not part of the workflow."""
        entries = (entry for function in self.functions for entry in (*function.inputs, *function.outputs))
        return tuple(
            dict.fromkeys(
                entry.bucket
                for entry in entries
                if entry.provider == "s3" and not entry.is_notified_elsewhere
            )
        )
