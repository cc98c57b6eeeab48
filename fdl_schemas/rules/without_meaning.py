"""Warnings for keys that are accepted, but have no effect.

There are two kinds: keys of SCAR that are no longer used (credentials come from the CDK's command line, the
runner is part of this project), and keys that have no effect with the other settings of the function.
"""

from __future__ import annotations

from typing import Final

from fdl_schemas.build import FunctionEntry
from fdl_schemas.diagnostics.diagnostic import quoted
from fdl_schemas.model import ExecutionMode
from fdl_schemas.reading.findings import Findings

_CREDENTIALS: Final = "remove the key; choose credentials with `cdk --profile NAME`"
_ONE_REGION: Final = "remove the key; all resources of a function are in the function's region"
_ASSETS: Final = "remove the key; the CDK uploads assets of any size to S3"

_MEANINGLESS: Final = {
    ("lambda", "boto_profile"): _CREDENTIALS,
    ("iam", "boto_profile"): _CREDENTIALS,
    ("api_gateway", "boto_profile"): _CREDENTIALS,
    ("cloudwatch", "boto_profile"): _CREDENTIALS,
    ("batch", "boto_profile"): _CREDENTIALS,
    ("api_gateway", "region"): _ONE_REGION,
    ("cloudwatch", "region"): _ONE_REGION,
    ("batch", "region"): _ONE_REGION,
    ("lambda", "supervisor"): "remove the key; the runner is part of this project",
    ("lambda", "deployment", "max_payload_size"): _ASSETS,
    ("lambda", "deployment", "max_s3_payload_size"): _ASSETS,
    ("s3",): "remove the key; it configured SCAR's own S3 client",
}
"""Keys of an entry of `functions.aws` without an effect, and what to do."""

_OF_EC2_ALONE: Final = (
    "instance_types",
    "instance_role",
    "launch_template_name",
    "min_v_cpus",
    "desired_v_cpus",
)
_OF_FARGATE_ALONE: Final = (
    ("batch", "ephemeral_storage"),
    ("batch", "compute_resources", "assign_public_ip"),
)
_IGNORED_IN_BATCH: Final = frozenset({"boto_profile", "region"})


def warn_of_keys_without_meaning(entry: FunctionEntry, findings: Findings) -> None:
    """Warns of keys without an effect in one entry of `functions.aws`."""
    for steps, reason in _MEANINGLESS.items():
        if entry.get(*steps) is not None:
            findings.warning(
                "FDL050",
                f"{quoted(steps[-1])} is no longer used, and is ignored",
                entry.at(*steps),
                help=reason,
                on_key=True,
            )
    _warn_of_batch(entry, findings)
    _warn_of_queues(entry, findings)
    if (
        entry.get("api_gateway")
        and entry.get("api_gateway", "name") is None
        and entry.get("api_gateway", "auth")
        and findings.is_whole(entry.at("api_gateway", "name"))
    ):
        _no_effect(
            entry, ("api_gateway", "auth"), "add `name`; without it, no HTTP endpoint is created", findings
        )
    if (
        not entry.function.image_runtime
        and entry.function.batch is None
        and findings.is_whole(entry.at("lambda", "runtime"))
        and entry.get("lambda", "container", "create_image") is not None
    ):
        reason = "remove the key; it only applies to image functions and Batch jobs"
        _no_effect(entry, ("lambda", "container", "create_image"), reason, findings)
    if entry.function.container.image_file is not None and entry.get(
        "lambda", "container", "registry_credentials"
    ):
        _no_effect(
            entry,
            ("lambda", "container", "registry_credentials"),
            "remove the key; an `image_file` needs no registry",
            findings,
        )
    if (
        entry.function.deployment_bucket is not None
        and entry.function.container.image_file is None
        and findings.is_whole(entry.at("lambda", "container"))
    ):
        _no_effect(
            entry,
            ("lambda", "deployment", "bucket"),
            "remove the key; it is the staging bucket of an `image_file`",
            findings,
        )
    if entry.function.preheat and entry.function.execution_mode is ExecutionMode.BATCH:
        reason = "remove the key; in `batch` mode, the container runs in jobs only"
        _no_effect(entry, ("lambda", "preheat"), reason, findings)


def _warn_of_queues(entry: FunctionEntry, findings: Findings) -> None:
    for index, read in enumerate(entry.function.inputs):
        path = entry.at("lambda", "input", index, "queue")
        if read.queue is None or not findings.is_whole(path):
            continue
        given = entry.get("lambda", "input")[index]["queue"]
        reasons = {}
        if entry.function.execution_mode is not ExecutionMode.BATCH:
            reasons["batch_window"] = "remove the key; it only applies to `execution_mode: batch`"
        if read.queue.arn is not None:
            reasons["retention_days"] = "remove the key; the existing queue has its own retention"
        for key, reason in reasons.items():
            if given.get(key) is not None:
                _no_effect(entry, ("lambda", "input", index, "queue", key), reason, findings)


def _warn_of_batch(entry: FunctionEntry, findings: Findings) -> None:
    settings = entry.get("batch")
    if not isinstance(settings, dict):
        return
    if entry.function.batch is None:
        if findings.is_whole(entry.at("lambda", "execution_mode")) and settings.keys() - _IGNORED_IN_BATCH:
            _no_effect(
                entry, ("batch",), "remove it, or set `execution_mode` to `batch` or `lambda-batch`", findings
            )
        return
    resources = entry.function.batch.compute_resources
    if (
        resources.security_group_ids
        and not resources.subnets
        and findings.is_whole(entry.at("batch", "compute_resources", "subnets"))
    ):
        reason = "add `subnets` of the VPC that the security groups belong to"
        _no_effect(entry, ("batch", "compute_resources", "security_group_ids"), reason, findings)
    if entry.function.batch.on_fargate:
        for key in _OF_EC2_ALONE:
            if entry.get("batch", "compute_resources", key):
                reason = "remove the key; it only applies to type EC2 or SPOT"
                _no_effect(entry, ("batch", "compute_resources", key), reason, findings)
        return
    for steps in _OF_FARGATE_ALONE:
        if entry.get(*steps) is not None:
            reason = "remove the key; it only applies to type FARGATE or FARGATE_SPOT"
            _no_effect(entry, steps, reason, findings)


def _no_effect(entry: FunctionEntry, steps: tuple[str | int, ...], reason: str, findings: Findings) -> None:
    findings.warning(
        "FDL051", f"{quoted(str(steps[-1]))} has no effect here", entry.at(*steps), help=reason, on_key=True
    )
