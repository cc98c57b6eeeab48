"""From checked data to the model, whose classes define the defaults.

The data has the right shape. If the file has errors, the wrong parts are missing, so that the rules can find
more problems in the same run. The code here therefore relies on types only; the loader returns a `Workflow`
only if there are no errors.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from fdl_schemas import fargate
from fdl_schemas.instances import default_types, vcpus_of_instance
from fdl_schemas.model import (
    EPHEMERAL_STORAGE_OF_PULLED_IMAGES_MIB,
    ApiGateway,
    BatchJob,
    ComputeResources,
    Container,
    ExecutionMode,
    FileSystem,
    Function,
    JobSize,
    MultiNode,
    OscarService,
    QueueSettings,
    RunOptions,
    Setting,
    StorageEntry,
    StorageProvider,
    Vpc,
    Workflow,
)
from fdl_schemas.reading.document import PathInFile

_LEAST_CONCURRENCY, _MOST_CONCURRENCY = 2, 1000
"""Of `MaximumConcurrency` (https://docs.aws.amazon.com/lambda/latest/api/API_ScalingConfig.html). The lowest
value is the default in `batch` mode, because each invocation submits thousands of files."""
_CONCURRENCY = 10
"""Default for functions whose container runs in Lambda: the whole concurrency of a new account."""
_WINDOW_S = 20

_REFERENCES = (("${ENV:", "environment"), ("${SECRET:", "secret"))


@dataclass(frozen=True, slots=True)
class FunctionEntry:
    """One entry of `functions.aws`: its path, its data and its model."""

    path: PathInFile
    data: Mapping[str, Any]
    function: Function
    folder: Path
    """The folder of the FDL file; paths in the file are relative to it."""

    def get(self, *steps: str) -> Any:
        """The value in the file at a path below the entry, or None."""
        value: Any = self.data
        for step in steps:
            value = value.get(step) if isinstance(value, dict) else None
        return value

    def at(self, *steps: str | int) -> PathInFile:
        """The whole path of a value below the entry."""
        return (*self.path, *steps)


@dataclass(frozen=True, slots=True)
class Draft:
    """The parts of a file without errors."""

    functions: tuple[FunctionEntry, ...]
    oscar_services: Mapping[PathInFile, OscarService]
    """By the path of the service, below the name of its cluster."""
    providers: Mapping[PathInFile, StorageProvider]
    allow_loops: bool
    connections: Mapping[str, StorageProvider]
    """`storage_providers` by the reference that storage entries use, `KIND.NAME`."""
    rucio: bool
    """Whether the file has connections to Rucio, which are an error."""

    def workflow(self, source: Path) -> Workflow:
        """The model. Valid only if the draft has no errors."""
        return Workflow(
            source=source,
            functions=tuple(entry.function for entry in self.functions),
            oscar_services=tuple(self.oscar_services.values()),
            storage_providers=tuple(self.providers.values()),
            allow_loops=self.allow_loops,
        )


def build(data: Any, folder: Path) -> Draft:
    """Creates the objects of the model; paths in the file are relative to `folder`."""
    functions = _map(_map(data).get("functions"))
    providers: dict[PathInFile, StorageProvider] = {
        ("storage_providers", kind, name): _storage_provider(kind, name, _map(settings))
        for kind, connections in _map(_map(data).get("storage_providers")).items()
        if kind != "rucio"
        for name, settings in _map(connections).items()
    }
    return Draft(
        functions=tuple(
            FunctionEntry(("functions", "aws", index), entry, _function(entry, folder), folder)
            for index, entry in enumerate(functions.get("aws") or ())
            if isinstance(entry, dict) and isinstance(entry.get("lambda"), dict)
        ),
        oscar_services={
            ("functions", "oscar", index, cluster): _oscar_service(cluster, service)
            for index, entry in enumerate(functions.get("oscar") or ())
            for cluster, service in _map(entry).items()
        },
        providers=providers,
        allow_loops=bool(_map(data).get("allow_loops")),
        connections={provider.reference: provider for provider in providers.values()},
        rucio="rucio" in _map(_map(data).get("storage_providers")),
    )


def _function(entry: Mapping[str, Any], folder: Path) -> Function:
    settings = _map(entry.get("lambda"))
    api = _map(entry.get("api_gateway"))
    vpc = _map(settings.get("vpc"))
    function = Function(
        name=settings.get("name", ""),
        container=_container(_map(settings.get("container")), folder),
        init_script=_file(settings.get("init_script"), folder),
        environment=_variables(settings.get("environment")),
        inputs=_inputs(settings),
        outputs=_storage_entries(settings.get("output")),
        role_arn=_map(entry.get("iam")).get("role") or None,
        layer_arns=_texts(settings.get("layers")),
        extra_payload=_file(settings.get("extra_payload"), folder),
        deployment_bucket=_map(settings.get("deployment")).get("bucket"),
        vpc=Vpc(_texts(vpc.get("SubnetIds")), _texts(vpc.get("SecurityGroupIds"))) if vpc else None,
        file_systems=tuple(
            FileSystem(item.get("Arn", ""), item.get("LocalMountPath", ""))
            for item in settings.get("file_system") or ()
            if item
        ),
        tags=MappingProxyType(dict(_map(settings.get("tags")))),
        api_gateway=ApiGateway(api["name"], **_given(api, "auth")) if "name" in api else None,
        run=RunOptions(
            run_script=_file(settings.get("run_script"), folder),
            payload=settings.get("payload"),
            **_given(settings, "asynchronous", "invocation_type", "log_type"),
        ),
        **_given({"first": next(iter(_texts(settings.get("architectures"))), None)}, architecture="first"),
        **_given(settings, "description", "region", "log_level", "preheat", "once"),
        **_given(settings, "execution_mode", read=ExecutionMode),
        **_given(
            settings,
            "reserved_concurrency",
            "retry_attempts",
            read=int,
            memory_mib="memory",
            timeout_s="timeout",
            ephemeral_storage_mib="ephemeral_storage",
        ),
        **_given(settings, read=lambda runtime: runtime == "image", image_runtime="runtime"),
        **_given(_map(entry.get("cloudwatch")), read=int, log_retention_days="log_retention_policy_in_days"),
        **_given(_map(entry.get("ecr")), delete_ecr_image="delete_image"),
    )
    if function.pulls_image and settings.get("ephemeral_storage") is None:
        function = replace(function, ephemeral_storage_mib=EPHEMERAL_STORAGE_OF_PULLED_IMAGES_MIB)
    if function.execution_mode is ExecutionMode.LAMBDA:
        return function
    return replace(function, batch=_batch(_map(entry.get("batch")), function))


def _container(settings: Mapping[str, Any], folder: Path) -> Container:
    return Container(
        image=settings.get("image"),
        image_file=_file(settings.get("image_file"), folder),
        environment=_variables(settings.get("environment")),
        registry_credentials=settings.get("registry_credentials"),
        **_given(settings, "create_image"),
        **_given(settings, read=int, timeout_threshold_s="timeout_threshold"),
    )


def _batch(settings: Mapping[str, Any], function: Function) -> BatchJob:
    resources = _map(settings.get("compute_resources"))
    several = _map(settings.get("multi_node_parallel"))
    gpu, nodes = settings.get("enable_gpu"), several.get("enabled")
    default = ComputeResources()
    kind = resources.get("type") or ("EC2" if gpu or nodes else default.type)
    vcpus, memory = settings.get("vcpus"), settings.get("memory")
    memory = None if memory is None else int(memory)
    # The rules report a size that Fargate does not offer; the values here do not matter then.
    fitting = fargate.size(vcpus, memory) if kind.startswith("FARGATE") else None
    vcpus, memory = fitting or (vcpus or fargate.DEFAULT_VCPUS, memory or fargate.DEFAULT_MEMORY_MIB)
    subnets = _texts(resources.get("subnets"))
    security_groups = _texts(resources.get("security_group_ids"))
    if not subnets and function.file_systems and function.vpc is not None:
        # Elsewhere, jobs cannot reach the file system.
        subnets, security_groups = function.vpc.subnet_ids, function.vpc.security_group_ids
    job = BatchJob(
        vcpus=vcpus,
        memory_mib=memory,
        environment=_variables(settings.get("environment")),
        compute_resources=ComputeResources(
            type=kind,
            instance_types=_texts(resources.get("instance_types"))
            or default_types(function.architecture, gpu=bool(gpu)),
            subnets=subnets,
            security_group_ids=security_groups,
            assign_public_ip=resources.get("assign_public_ip", False if subnets else None),
            instance_role=resources.get("instance_role"),
            launch_template_name=resources.get("launch_template_name"),
            **_given(resources, "min_v_cpus", "desired_v_cpus", "max_v_cpus", read=int),
        ),
        service_role_arn=settings.get("service_role") or None,
        multi_node=MultiNode(**_given(several, "number_nodes", "main_node_index", read=int))
        if nodes
        else None,
        gpus=int(bool(gpu)),
        **_given(settings, "state"),
        **_given(
            settings, "attempts", read=int, timeout_s="timeout", ephemeral_storage_gib="ephemeral_storage"
        ),
    )
    job = replace(job, retry=_further_sizes(settings.get("retry"), job))
    if resources.get("max_v_cpus") is not None:
        return job
    most = max(default.max_v_cpus, _vcpus_for_one(job))
    return replace(job, compute_resources=replace(job.compute_resources, max_v_cpus=most))


def _further_sizes(entries: list[Any] | None, job: BatchJob) -> tuple[JobSize, ...]:
    sizes: list[JobSize] = []
    before = JobSize(job.vcpus, job.memory_mib, job.timeout_s)
    for entry in entries or ():
        settings = _map(entry)
        vcpus, memory = settings.get("vcpus"), settings.get("memory")
        memory = None if memory is None else int(memory)
        fitting = (
            fargate.next_size((before.vcpus, before.memory_mib), vcpus, memory) if job.on_fargate else None
        )
        # The rules report a size that Fargate does not offer; the values here do not matter then.
        vcpus, memory = fitting or (vcpus or before.vcpus, memory or before.memory_mib)
        before = JobSize(vcpus, memory, int(settings.get("timeout") or before.timeout_s))
        sizes.append(before)
    return tuple(sizes)


def _vcpus_for_one(job: BatchJob) -> int:
    """vCPUs without which a queue would never start the largest size of a job.

    Each of several nodes has an instance of its own.
    """
    if job.on_fargate:
        return math.ceil(job.most_vcpus)
    nodes = 1 if job.multi_node is None else job.multi_node.number_nodes
    return nodes * vcpus_of_instance(job.most_vcpus / nodes, gpu=job.gpus > 0)


def _oscar_service(cluster: str, settings: Mapping[str, Any]) -> OscarService:
    return OscarService(
        cluster=cluster,
        name=settings.get("name", ""),
        script=settings.get("script"),
        environment=_variables(settings.get("environment")),
        inputs=_inputs(settings),
        outputs=_storage_entries(settings.get("output")),
        **_given(settings, "image", "memory", "log_level"),
        **_given(settings, "cpu", read=str),
    )


def _storage_provider(kind: str, name: str, settings: Mapping[str, Any]) -> StorageProvider:
    return StorageProvider(
        kind=kind,
        name=name,
        settings=MappingProxyType(
            {
                key: _setting(value)
                for key, value in (
                    {"region": "us-east-1"} | dict(settings) if kind == "minio" else settings
                ).items()
                if isinstance(value, str)
            }
        ),
        **_given(settings, "verify"),
    )


def _setting(value: str) -> Setting:
    for start, place in _REFERENCES:
        if value.startswith(start) and value.endswith("}"):
            return Setting(value[len(start) : -1], place)
    return Setting(value)


def _inputs(settings: Mapping[str, Any]) -> tuple[StorageEntry, ...]:
    given = settings.get("input")
    return tuple(
        replace(entry, queue=_queue(_map(one).get("queue"), settings))
        for entry, one in zip(_storage_entries(given), given or (), strict=True)
    )


def _storage_entries(entries: list[Any] | None) -> tuple[StorageEntry, ...]:
    # A removed entry is replaced, because the rules use the indexes of the file.
    return tuple(storage_entry(_map(entry)) for entry in entries or ())


def storage_entry(settings: Mapping[str, Any]) -> StorageEntry:
    """One entry of `input` or `output`, without slashes around its path."""
    bucket, _, folder = settings.get("path", "").strip("/").partition("/")
    return StorageEntry(
        bucket=bucket,
        folder=folder.strip("/"),
        prefixes=_filter(settings.get("prefix")),
        suffixes=_filter(settings.get("suffix")),
        topic_arn=settings.get("topic"),
        **_given(settings, provider="storage_provider"),
    )


def _queue(settings: Any, function: Mapping[str, Any]) -> QueueSettings | None:
    """The queue of an input; its defaults depend on the function."""
    if not isinstance(settings, dict):
        return None
    in_batch = function.get("execution_mode") == ExecutionMode.BATCH
    most = _LEAST_CONCURRENCY
    if not in_batch:
        reserved = int(function.get("reserved_concurrency") or _CONCURRENCY)
        most = max(_LEAST_CONCURRENCY, min(reserved, _MOST_CONCURRENCY))
    return QueueSettings(
        **{"max_concurrency": most, **_given(settings, "max_concurrency", read=int)},
        batch_window_s=int(settings.get("batch_window", _WINDOW_S)) if in_batch else 0,
        arn=settings.get("arn"),
        **_given(settings, "retention_days", read=int),
    )


def _filter(value: str | list[str | None] | None) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else _texts(value)


def _texts(values: list[str | None] | None) -> tuple[str, ...]:
    return tuple(value for value in values or () if value is not None)


def _given(
    settings: Mapping[str, Any], *names: str, read: Callable[[Any], Any] = lambda value: value, **renamed: str
) -> dict[str, Any]:
    """The fields that the file sets, by their names in model and file. Only the model has defaults."""
    keys = {**{name: name for name in names}, **renamed}
    return {name: read(settings[key]) for name, key in keys.items() if settings.get(key) is not None}


def _file(name: str | None, folder: Path) -> Path | None:
    return None if name is None else folder / name


def _variables(environment: Any) -> Mapping[str, str]:
    return MappingProxyType(dict(_map(_map(environment).get("Variables"))))


def _map(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}
