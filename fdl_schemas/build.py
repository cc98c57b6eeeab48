"""From checked data to the model, with every default filled in.

The data has the right shape, but a file with mistakes comes here too, with the wrong parts cut out, so that
the rules can look for more problems in the same go. Nothing is therefore taken for granted but types; the
loader gives a `Workflow` away only when no error was found.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from fdl_schemas import fargate
from fdl_schemas.model import (
    ApiGateway,
    BatchJob,
    ComputeResources,
    Container,
    ExecutionMode,
    FileSystem,
    Function,
    HttpAuth,
    MultiNode,
    OscarService,
    RunOptions,
    Setting,
    StorageEntry,
    StorageProvider,
    Vpc,
    Workflow,
)
from fdl_schemas.reading.document import PathInFile

_REFERENCES = (("${ENV:", "environment"), ("${SECRET:", "secret"))


@dataclass(frozen=True, slots=True)
class FunctionEntry:
    """One entry of `functions.aws`: the data, where it stands, and what it means."""

    path: PathInFile
    data: Mapping[str, Any]
    function: Function
    folder: Path
    """The FDL file's, which paths in it start from."""

    def get(self, *steps: str) -> Any:
        """What stands in the file at a path below the entry, or None."""
        value: Any = self.data
        for step in steps:
            value = value.get(step) if isinstance(value, dict) else None
        return value

    def at(self, *steps: str | int) -> PathInFile:
        """The whole path of something below the entry."""
        return (*self.path, *steps)


@dataclass(frozen=True, slots=True)
class OscarEntry:
    """One entry of `functions.oscar`."""

    path: PathInFile
    """Of the service itself, below its cluster's name."""
    service: OscarService


@dataclass(frozen=True, slots=True)
class ProviderEntry:
    """One entry of `storage_providers`."""

    path: PathInFile
    provider: StorageProvider


@dataclass(frozen=True, slots=True)
class Draft:
    """A file as far as it could be understood."""

    functions: tuple[FunctionEntry, ...]
    oscar_services: tuple[OscarEntry, ...]
    providers: tuple[ProviderEntry, ...]
    allow_loops: bool
    connections: Mapping[str, StorageProvider]
    """`storage_providers` by the reference that storage entries use, `KIND.NAME`."""
    rucio: bool
    """Whether the file has connections to Rucio, which are recognised and refused."""

    def workflow(self, source: Path) -> Workflow:
        """The model. To be given away only when the draft has no errors."""
        return Workflow(
            source=source,
            functions=tuple(entry.function for entry in self.functions),
            oscar_services=tuple(entry.service for entry in self.oscar_services),
            storage_providers=tuple(entry.provider for entry in self.providers),
            allow_loops=self.allow_loops,
        )


def build(data: Any, folder: Path) -> Draft:
    """Makes the model's objects; `folder` is the FDL file's, which the paths in it start from."""
    functions = _map(_map(data).get("functions"))
    providers = tuple(
        ProviderEntry(("storage_providers", kind, name), _storage_provider(kind, name, _map(settings)))
        for kind, connections in _map(_map(data).get("storage_providers")).items()
        if kind != "rucio"
        for name, settings in _map(connections).items()
    )
    return Draft(
        functions=tuple(
            FunctionEntry(("functions", "aws", index), entry, _function(entry, folder), folder)
            for index, entry in enumerate(functions.get("aws") or ())
            if isinstance(entry, dict) and isinstance(entry.get("lambda"), dict)
        ),
        oscar_services=tuple(
            OscarEntry(("functions", "oscar", index, cluster), _oscar_service(cluster, service))
            for index, entry in enumerate(functions.get("oscar") or ())
            for cluster, service in _map(entry).items()
        ),
        providers=providers,
        allow_loops=bool(_map(data).get("allow_loops")),
        connections={entry.provider.reference: entry.provider for entry in providers},
        rucio="rucio" in _map(_map(data).get("storage_providers")),
    )


def _function(entry: Mapping[str, Any], folder: Path) -> Function:
    settings = _map(entry.get("lambda"))
    mode = ExecutionMode(settings.get("execution_mode", "lambda"))
    api = _map(entry.get("api_gateway"))
    vpc = _map(settings.get("vpc"))
    return Function(
        name=settings.get("name", ""),
        description=settings.get("description", ""),
        region=settings.get("region"),
        container=_container(_map(settings.get("container")), folder),
        memory_mib=int(settings.get("memory", 512)),
        timeout_s=int(settings.get("timeout", 300)),
        ephemeral_storage_mib=int(settings.get("ephemeral_storage", 512)),
        execution_mode=mode,
        log_level=settings.get("log_level", "INFO"),
        init_script=_file(settings.get("init_script"), folder),
        environment=_variables(settings.get("environment")),
        inputs=_storage_entries(settings.get("input")),
        outputs=_storage_entries(settings.get("output")),
        role_arn=_map(entry.get("iam")).get("role") or None,
        log_retention_days=int(_map(entry.get("cloudwatch")).get("log_retention_policy_in_days", 30)),
        batch=None if mode is ExecutionMode.LAMBDA else _batch(_map(entry.get("batch"))),
        architecture=next(iter(_texts(settings.get("architectures"))), "x86_64"),
        image_runtime=settings.get("runtime", "image") == "image",
        delete_ecr_image=_map(entry.get("ecr")).get("delete_image", True),
        layer_arns=_texts(settings.get("layers")),
        extra_payload=_file(settings.get("extra_payload"), folder),
        deployment_bucket=_map(settings.get("deployment")).get("bucket"),
        vpc=Vpc(_texts(vpc.get("SubnetIds")), _texts(vpc.get("SecurityGroupIds"))) if vpc else None,
        file_systems=tuple(
            FileSystem(item.get("Arn", ""), item.get("LocalMountPath", ""))
            for item in settings.get("file_system") or ()
            if item
        ),
        reserved_concurrency=_whole(settings.get("reserved_concurrency")),
        retry_attempts=int(settings.get("retry_attempts", 2)),
        tags=MappingProxyType(dict(_map(settings.get("tags")))),
        preheat=settings.get("preheat", False),
        api_gateway=ApiGateway(api["name"], HttpAuth(api.get("auth", "NONE"))) if "name" in api else None,
        run=RunOptions(
            run_script=_file(settings.get("run_script"), folder),
            asynchronous=settings.get("asynchronous", False),
            invocation_type=settings.get("invocation_type", "RequestResponse"),
            log_type=settings.get("log_type", "Tail"),
            payload=settings.get("payload"),
        ),
    )


def _container(settings: Mapping[str, Any], folder: Path) -> Container:
    return Container(
        image=settings.get("image"),
        image_file=_file(settings.get("image_file"), folder),
        environment=_variables(settings.get("environment")),
        timeout_threshold_s=int(settings.get("timeout_threshold", 10)),
        registry_credentials=settings.get("registry_credentials"),
        create_image=settings.get("create_image", True),
    )


def _batch(settings: Mapping[str, Any]) -> BatchJob:
    resources = _map(settings.get("compute_resources"))
    several = _map(settings.get("multi_node_parallel"))
    gpu, nodes = settings.get("enable_gpu", False), several.get("enabled", False)
    kind = resources.get("type") or ("EC2" if gpu or nodes else "FARGATE")
    vcpus, memory = settings.get("vcpus"), _whole(settings.get("memory"))
    # A size that Fargate does not offer is an error of the rules; what stands here then does not matter.
    fitting = fargate.size(vcpus, memory) if kind.startswith("FARGATE") else None
    vcpus, memory = fitting or (vcpus or 1, memory or 1024)
    return BatchJob(
        vcpus=vcpus,
        memory_mib=memory,
        timeout_s=int(settings.get("timeout", 86400)),
        attempts=int(settings.get("attempts", 2)),
        environment=_variables(settings.get("environment")),
        state=settings.get("state", "ENABLED"),
        compute_resources=ComputeResources(
            type=kind,
            min_v_cpus=int(resources.get("min_v_cpus", 0)),
            desired_v_cpus=int(resources.get("desired_v_cpus", 0)),
            # A queue whose environment is smaller than the job would never start it.
            max_v_cpus=int(resources.get("max_v_cpus", max(2, math.ceil(vcpus)))),
            instance_types=_texts(resources.get("instance_types")) or ("optimal",),
            subnets=_texts(resources.get("subnets")),
            security_group_ids=_texts(resources.get("security_group_ids")),
            instance_role=resources.get("instance_role"),
            launch_template_name=resources.get("launch_template_name"),
        ),
        service_role_arn=settings.get("service_role") or None,
        gpus=1 if gpu else 0,
        multi_node=MultiNode(int(several.get("number_nodes", 10)), int(several.get("main_node_index", 0)))
        if nodes
        else None,
    )


def _oscar_service(cluster: str, settings: Mapping[str, Any]) -> OscarService:
    return OscarService(
        cluster=cluster,
        name=settings.get("name", ""),
        image=settings.get("image", ""),
        memory=settings.get("memory", "256Mi"),
        cpu=str(settings.get("cpu", "0.2")),
        log_level=settings.get("log_level", "INFO"),
        script=settings.get("script"),
        environment=_variables(settings.get("environment")),
        inputs=_storage_entries(settings.get("input")),
        outputs=_storage_entries(settings.get("output")),
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
        verify=settings.get("verify", True),
    )


def _setting(value: str) -> Setting:
    for start, place in _REFERENCES:
        if value.startswith(start) and value.endswith("}"):
            return Setting(value[len(start) : -1], place)
    return Setting(value)


def _storage_entries(entries: list[Any] | None) -> tuple[StorageEntry, ...]:
    # An entry that was cut out keeps its place, as the rules count on the indexes of the file.
    return tuple(storage_entry(_map(entry)) for entry in entries or ())


def storage_entry(settings: Mapping[str, Any]) -> StorageEntry:
    """One entry of `input` or `output`; slashes around its path do not count."""
    bucket, _, folder = settings.get("path", "").strip("/").partition("/")
    return StorageEntry(
        bucket=bucket,
        folder=folder.strip("/"),
        prefixes=_filter(settings.get("prefix")),
        suffixes=_filter(settings.get("suffix")),
        provider=settings.get("storage_provider", "s3"),
        topic_arn=settings.get("topic"),
    )


def _filter(value: str | list[str | None] | None) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else _texts(value)


def _texts(values: list[str | None] | None) -> tuple[str, ...]:
    return tuple(value for value in values or () if value is not None)


def _whole(value: float | None) -> int | None:
    return None if value is None else int(value)


def _file(name: str | None, folder: Path) -> Path | None:
    return None if name is None else folder / name


def _variables(environment: Any) -> Mapping[str, str]:
    return MappingProxyType(dict(_map(_map(environment).get("Variables"))))


def _map(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}
