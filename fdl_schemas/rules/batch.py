"""The rules about Batch jobs: sizes, instance types, and settings that contradict each other."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

from fdl_schemas import fargate, instances
from fdl_schemas.build import FunctionEntry
from fdl_schemas.diagnostics.diagnostic import quoted
from fdl_schemas.instances import default_types
from fdl_schemas.model import BatchJob, JobSize
from fdl_schemas.reading.document import PathInFile
from fdl_schemas.reading.findings import Findings


def check_batch(entry: FunctionEntry, findings: Findings) -> None:
    """Checks the `batch` part of one entry of `functions.aws`."""
    error = partial(findings.error, "FDL035")
    job = entry.function.batch
    if job is None:
        return
    resources = job.compute_resources
    if job.on_fargate:
        _check_fargate_size(entry, findings)
        if job.gpus or job.multi_node is not None:
            what = "a GPU" if job.gpus else "several nodes"
            error(
                f"Fargate does not support jobs with {what}",
                entry.at("batch", "compute_resources", "type"),
                expected="type EC2" if job.multi_node is not None else "type EC2 or SPOT",
                help="remove `type`, or write `type: EC2`",
            )
    else:
        _check_instances(entry, job, findings)
        _warn_of_gpu_drivers(entry, job, findings)
    _check_further_sizes(entry, job, findings)
    if (
        resources.subnets
        and not resources.security_group_ids
        and findings.is_whole(entry.at("batch", "compute_resources", "security_group_ids"))
    ):
        error(
            "`subnets` requires `security_group_ids`",
            entry.at("batch", "compute_resources", "subnets"),
            expected="both keys, or neither",
            help="add `security_group_ids` with security groups in the VPC of the subnets",
            on_key=True,
        )
    if resources.max_v_cpus < job.most_vcpus:
        nodes = 1 if job.multi_node is None else job.multi_node.number_nodes
        size = f"{job.most_vcpus / nodes:g} vCPUs"
        error(
            f"a job with {size if nodes == 1 else f'{nodes} nodes of {size}'} never starts with "
            f"`max_v_cpus: {resources.max_v_cpus}`",
            entry.at("batch", "compute_resources", "max_v_cpus"),
            expected=f"`max_v_cpus` of at least {job.most_vcpus:g}",
            help="raise `max_v_cpus`, the limit for all jobs that run at the same time",
        )
    if (
        not resources.min_v_cpus
        <= max(resources.desired_v_cpus, resources.min_v_cpus)
        <= resources.max_v_cpus
    ):
        error(
            "`min_v_cpus` and `desired_v_cpus` cannot be above `max_v_cpus`",
            entry.at("batch", "compute_resources"),
            expected=f"at most `max_v_cpus` ({resources.max_v_cpus})",
            help="raise `max_v_cpus`, or lower the others",
            on_key=True,
        )
    if (node := job.multi_node) is not None and node.main_node_index >= node.number_nodes:
        error(
            f"main node {node.main_node_index} does not exist: there are {node.number_nodes} nodes",
            entry.at("batch", "multi_node_parallel", "main_node_index"),
            expected=f"an index from 0 to {node.number_nodes - 1}",
            help="nodes are counted from 0",
        )


def _check_instances(entry: FunctionEntry, job: BatchJob, findings: Findings) -> None:
    """What Batch requires of jobs on EC2 instances."""
    error = partial(findings.error, "FDL035")
    if job.compute_resources.type == "SPOT" and job.multi_node is not None:
        error(
            "Batch does not run jobs with several nodes on Spot instances",
            entry.at("batch", "compute_resources", "type"),
            expected="type EC2",
            help="remove `type`, or write `type: EC2`",
        )
    for steps, vcpus in (
        (("vcpus",), job.vcpus),
        *((("retry", number, "vcpus"), size.vcpus) for number, size in enumerate(job.retry)),
    ):
        if vcpus != int(vcpus) and _value_at(entry, *steps) is not None:
            error(
                f"jobs on EC2 instances have whole vCPUs, not {vcpus:g}",
                entry.at("batch", *steps),
                expected="a whole number",
                help=f"write `vcpus: {math.ceil(vcpus)}`",
            )
    path = ("batch", "compute_resources", "instance_types")
    given = entry.get(*path)
    if not given or not findings.is_whole(entry.at(*path)):
        return
    architecture = entry.function.architecture
    usual = ", ".join(default_types(architecture, gpu=job.gpus > 0))
    for number, instance_type in enumerate(given):
        if instances.architecture(instance_type) != architecture:
            error(
                f"{quoted(instance_type)} has no {architecture} processors, which the image requires",
                entry.at(*path, number),
                expected=f"instance types for {architecture}, such as `{usual}`",
                help="use another instance type, or change `architectures`",
            )
            return
    if job.gpus and not any(instances.has_gpu(instance_type) for instance_type in given):
        error(
            "none of the instance types has a GPU",
            entry.at(*path),
            expected=f"instance types with a GPU, such as `{usual}`",
            help=f"remove `instance_types`; the default with a GPU is `{usual}`",
            on_key=True,
        )


def _warn_of_gpu_drivers(entry: FunctionEntry, job: BatchJob, findings: Findings) -> None:
    """A launch template may name another machine image, which has precedence."""
    resources = job.compute_resources
    if not job.gpus or resources.launch_template_name is not None:
        return
    given = entry.get("batch", "compute_resources", "instance_types")
    for number, instance_type in enumerate(resources.instance_types):
        if instances.has_gpu(instance_type) and not instances.has_gpu_driver(instance_type):
            findings.warning(
                "FDL059",
                f"AWS Batch has no machine image with a GPU driver for {quoted(instance_type)}",
                entry.at("batch", "compute_resources", "instance_types", number)
                if given
                else entry.at("batch", "enable_gpu"),
                expected="x86_64 instance types such as `g4dn`, `g5` or `g6`",
                help="use other instance types, or a launch template with your own machine image "
                "(`launch_template_name`)",
            )
            return


def _check_further_sizes(entry: FunctionEntry, job: BatchJob, findings: Findings) -> None:
    error = partial(findings.error, "FDL035")
    if not findings.is_whole(entry.at("batch")):
        return  # a size depends on the one before
    before = JobSize(job.vcpus, job.memory_mib, job.timeout_s)
    for number, size in enumerate(job.retry):
        vcpus = _value_at(entry, "retry", number, "vcpus")
        memory = _value_at(entry, "retry", number, "memory")
        offered = fargate.next_size((before.vcpus, before.memory_mib), vcpus, memory)
        if job.on_fargate and offered is None:
            near = fargate.nearest(vcpus or before.vcpus, memory or before.memory_mib)
            _refuse_fargate_size(entry.at("batch", "retry", number), (vcpus, memory), near, findings)
            return
        values: tuple[tuple[str, float, float], ...] = (
            ("vcpus", size.vcpus, before.vcpus),
            ("memory", size.memory_mib, before.memory_mib),
            ("timeout", size.timeout_s, before.timeout_s),
        )
        for key, value, least in values:
            if value < least:
                error(
                    f"`{key}: {value:g}` is less than in the size before",
                    entry.at("batch", "retry", number, key),
                    expected=f"at least {least:g}",
                    help="sort the sizes of `retry` from the smallest to the largest",
                )
                return
        if size == before:
            error(
                "this size is not larger than the size before",
                entry.at("batch", "retry", number),
                expected="a larger `memory`, `vcpus` or `timeout`",
                help="raise a value, or remove the entry",
            )
            return
        before = size


def _value_at(entry: FunctionEntry, *steps: str | int) -> Any:
    """The value in the file at a path below `batch`, or None."""
    value: Any = entry.get("batch")
    for step in steps:
        value = value[step] if isinstance(step, int) else (value or {}).get(step)
    return value


def _check_fargate_size(entry: FunctionEntry, findings: Findings) -> None:
    vcpus, memory = entry.get("batch", "vcpus"), entry.get("batch", "memory")
    if fargate.size(vcpus, memory) is None:
        _refuse_fargate_size(entry.at("batch"), (vcpus, memory), fargate.nearest(vcpus, memory), findings)


def _refuse_fargate_size(
    path: PathInFile, given: tuple[float | None, int | None], near: tuple[float, int], findings: Findings
) -> None:
    vcpus, memory = given
    if vcpus is not None and vcpus in fargate.OFFERED:
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
        (
            *path,
            "memory" if memory is not None and (vcpus is None or vcpus in fargate.OFFERED) else "vcpus",
        ),
        expected=expected,
        help=f"the nearest size is `vcpus: {near[0]:g}` with `memory: {near[1]}`",
    )
