"""The sizes of deployed functions, as AWS describes them: they may differ from the FDL file at hand."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from scar_cli.aws.deployed import DeployedFunction
from scar_cli.aws.session import client, explained
from scar_cli.cost.compute import LAMBDA, Compute
from scar_cli.cost.runs import Sizes

_CLAIMS = "SCAR_CLAIMS_TABLE"


def sizes_of(functions: Sequence[DeployedFunction]) -> dict[str, Sizes]:
    """The sizes of functions by name. A function that was deleted in the meantime is missing.

    Raises:
        UserError: a call to AWS fails.
    """
    found = {}
    for function in functions:
        with explained("ResourceNotFoundException"):
            lambda_ = client("lambda", region=function.region)
            settings = lambda_.get_function_configuration(FunctionName=function.name)
            found[function.name] = Sizes(
                Compute(
                    LAMBDA,
                    int(settings["MemorySize"]),
                    str((settings.get("Architectures") or ["x86_64"])[0]),
                    storage_mib=int(settings.get("EphemeralStorage", {}).get("Size", 0)),
                ),
                _of_batch(function),
                function.input_queue_url is not None or bool(function.given_queue_urls),
                _CLAIMS in settings.get("Environment", {}).get("Variables", {}),
            )
    return found


def _of_batch(function: DeployedFunction) -> Compute | None:
    """The size of the first try of a job."""
    if function.job_definition is None or function.job_queue is None:
        return None
    batch = client("batch", region=function.region)
    resources = _compute_resources(batch, function.job_queue)
    with explained():
        described = batch.describe_job_definitions(jobDefinitions=[function.job_definition])
    definition = next(iter(described["jobDefinitions"]), None)
    if definition is None or resources is None:
        return None
    nodes = definition.get("nodeProperties") or {}
    ranges = nodes.get("nodeRangeProperties") or [{}]
    container = definition.get("containerProperties") or ranges[0].get("container") or {}
    needs = dict(_needs(container))
    network = container.get("networkConfiguration", {}).get("assignPublicIp")
    platform = container.get("runtimePlatform", {})
    return Compute(
        str(resources.get("type", "FARGATE")),
        int(needs.get("MEMORY") or container.get("memory") or 0),
        "arm64" if platform.get("cpuArchitecture") == "ARM64" else _architecture(resources),
        float(needs.get("VCPU") or container.get("vcpus") or 1),
        int(container.get("ephemeralStorage", {}).get("sizeInGiB", 0)) * 1024,
        int(needs.get("GPU", 0)),
        int(nodes.get("numNodes", 1)),
        tuple(str(one) for one in resources.get("instanceTypes", ())),
        # Instances get an address from their subnet: only those of the stack's own VPC are known to have one.
        network == "ENABLED",
    )


def _needs(container: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for one in container.get("resourceRequirements", ()):
        yield str(one["type"]), str(one["value"])


def _architecture(resources: dict[str, Any]) -> str:
    from fdl_schemas.instances import architecture

    types = resources.get("instanceTypes") or ["optimal"]
    return architecture(str(types[0]))


def _compute_resources(batch: Any, queue: str) -> dict[str, Any] | None:
    with explained():
        queues = batch.describe_job_queues(jobQueues=[queue])["jobQueues"]
        orders = queues[0].get("computeEnvironmentOrder", []) if queues else []
        if not orders:
            return None
        name = orders[0]["computeEnvironment"]
        environments = batch.describe_compute_environments(computeEnvironments=[name])
        found = environments["computeEnvironments"]
    return dict(found[0].get("computeResources") or {}) if found else None
