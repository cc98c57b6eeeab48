"""The rules about Batch jobs: sizes that Fargate offers, and settings that contradict each other."""

from __future__ import annotations

from fdl_schemas import fargate
from fdl_schemas.build import FunctionEntry
from fdl_schemas.reading.findings import Findings


def check_batch(entry: FunctionEntry, findings: Findings) -> None:
    """Checks the `batch` part of one entry of `functions.aws`."""
    job = entry.function.batch
    if job is None:
        return
    resources = job.compute_resources
    if resources.type.startswith("FARGATE"):
        _check_fargate_size(entry, findings)
        if job.gpus or job.multi_node is not None:
            what = "a GPU" if job.gpus else "several nodes"
            findings.error(
                "FDL035",
                f"Fargate does not support jobs with {what}",
                entry.at("batch", "compute_resources", "type"),
                expected="type EC2 or SPOT",
                help="remove `type`, or write `type: EC2`",
            )
    if (
        resources.subnets
        and not resources.security_group_ids
        and findings.is_whole(entry.at("batch", "compute_resources", "security_group_ids"))
    ):
        findings.error(
            "FDL035",
            "`subnets` requires `security_group_ids`",
            entry.at("batch", "compute_resources", "subnets"),
            expected="both keys, or neither",
            help="add `security_group_ids` with security groups in the VPC of the subnets",
            on_key=True,
        )
    if resources.max_v_cpus < job.vcpus:
        findings.error(
            "FDL035",
            f"a job with {job.vcpus:g} vCPUs never starts with `max_v_cpus: {resources.max_v_cpus}`",
            entry.at("batch", "compute_resources", "max_v_cpus"),
            expected=f"`max_v_cpus` of at least {job.vcpus:g}",
            help="raise `max_v_cpus`, the limit for all jobs that run at the same time",
        )
    if (
        not resources.min_v_cpus
        <= max(resources.desired_v_cpus, resources.min_v_cpus)
        <= resources.max_v_cpus
    ):
        findings.error(
            "FDL035",
            "`min_v_cpus` and `desired_v_cpus` cannot be above `max_v_cpus`",
            entry.at("batch", "compute_resources"),
            expected=f"at most `max_v_cpus` ({resources.max_v_cpus})",
            help="raise `max_v_cpus`, or lower the others",
            on_key=True,
        )
    if job.multi_node is not None and job.multi_node.main_node_index >= job.multi_node.number_nodes:
        findings.error(
            "FDL035",
            f"node {job.multi_node.main_node_index} does not exist among {job.multi_node.number_nodes} nodes",
            entry.at("batch", "multi_node_parallel", "main_node_index"),
            expected=f"an index from 0 to {job.multi_node.number_nodes - 1}",
            help="nodes are counted from 0",
        )


def _check_fargate_size(entry: FunctionEntry, findings: Findings) -> None:
    vcpus, memory = entry.get("batch", "vcpus"), entry.get("batch", "memory")
    if fargate.size(vcpus, memory) is not None:
        return
    near = fargate.nearest(vcpus, memory)
    if vcpus in fargate.OFFERED:
        offered = fargate.OFFERED[vcpus]
        expected = f"{offered[0]} to {offered[-1]} MiB with `vcpus: {vcpus:g}`"
        expected += f", in steps of {offered[-1] - offered[-2]}"
        about = f"{memory} MiB with `vcpus: {vcpus:g}`"
    elif vcpus is not None:
        expected = "one of " + ", ".join(f"{option:g}" for option in fargate.OFFERED)
        about = f"{vcpus:g} vCPUs"
    else:
        expected = "512 MiB, or a multiple of 1024 up to 122880"
        about = f"{memory} MiB"
    findings.error(
        "FDL033",
        f"Fargate does not offer jobs of {about}",
        entry.at(
            "batch",
            "memory" if memory is not None and (vcpus is None or vcpus in fargate.OFFERED) else "vcpus",
        ),
        expected=expected,
        help=f"the nearest size is `vcpus: {near[0]:g}` with `memory: {near[1]}`",
    )
