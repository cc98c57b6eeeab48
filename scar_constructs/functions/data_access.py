"""The permissions of functions and jobs, each as narrow as possible.

On data: read the input folders (in a versioned bucket, also the version in the event), write the output
folders (with `once`, also read them), nothing else.

`grant_read` and `grant_write` of the CDK's buckets are not used here: they add listing the bucket, reading
its settings and tags, and deleting objects. There is no permission to list; S3 therefore answers 403 instead
of 404 for a missing key. (A permission to list one folder would not change that: S3 answers 404 only with
permission to list the whole bucket.)
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from aws_cdk import ArnFormat, Aws, Stack
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_logs as logs
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_s3_assets as s3_assets
from constructs import IConstruct

from fdl_schemas.model import Container, Function, StorageEntry
from scar_constructs.findings import acknowledge, acknowledge_wildcard
from scar_constructs.functions.own_role import OwnRole

_ECR_IMAGE = re.compile(
    r"(?P<account>\d{12})\.dkr\.ecr(?:-fips)?\.(?P<region>[a-z0-9-]+)\.amazonaws\.com(?P<china>\.cn)?/"
    r"(?P<repository>[^:@]+)"
)
READING = ("kms:Decrypt",)
WRITING = ("kms:Decrypt", "kms:GenerateDataKey")
"""On the key of a bucket. An upload in parts also needs to decrypt
(https://docs.aws.amazon.com/AmazonS3/latest/userguide/mpuoverview.html)."""
_FOLDER = "The names of the objects are not known at deployment; the permission is limited to the folder."


def allow(role: iam.IRole, actions: Sequence[str], resources: Sequence[str]) -> None:
    """Let a role do `actions` on `resources`, which are ARNs."""
    grant(role, iam.PolicyStatement(actions=list(actions), resources=list(resources)))


def grant(role: iam.IRole, statement: iam.PolicyStatement) -> None:
    """Add a statement to a role."""
    if isinstance(role, OwnRole):
        role.allow(statement)
    else:
        role.add_to_principal_policy(statement)


def grant_data_access(role: iam.IRole, definition: Function, buckets: Mapping[str, s3.IBucket]) -> None:
    """Let a role read the objects of the function's input folders and write objects into its output folders.

    :param buckets: the buckets of the function's entries, except those with a topic, which belong to another
    account. Entries of other storage providers need no permissions here.
    """
    if inputs := _object_arns(role, definition.inputs, buckets):
        allow(role, ["s3:GetObject", "s3:GetObjectVersion"], inputs)
        _grant_keys(role, READING, definition.inputs, buckets)
    if outputs := _object_arns(role, definition.outputs, buckets):
        # AbortMultipartUpload: a large file whose upload failed must not stay there, and be billed, in parts.
        # GetObject: an output shows which claim it was written under.
        look = ["s3:GetObject"] if definition.once else []
        allow(role, ["s3:PutObject", "s3:AbortMultipartUpload", *look], outputs)
        _grant_keys(role, WRITING, definition.outputs, buckets)
    for arn in dict.fromkeys((*inputs, *outputs)):
        acknowledge_wildcard(role, arn, _FOLDER)


def key_statement(key: kms.IKey, actions: Sequence[str]) -> iam.PolicyStatement:
    """A statement that lets a role use the KMS key of a bucket, through S3 only.

    The key's own policy must allow it, too; the default one leaves it to IAM.
    """
    region = str(Stack.of(key).split_arn(key.key_arn, ArnFormat.SLASH_RESOURCE_NAME).region)
    return iam.PolicyStatement(
        actions=list(actions),
        resources=[key.key_arn],
        conditions={"StringEquals": {"kms:ViaService": f"s3.{region}.{Aws.URL_SUFFIX}"}},
    )


def grant_secrets(role: iam.IRole, names: Sequence[str]) -> None:
    """Let a role read secrets of AWS Secrets Manager.

    :param names: names in the stack's own region, and ARNs: whole ones, or without the six characters that
        the service puts at their end.
    """
    arns: list[str] = []
    for name in names:
        if name.startswith("arn:"):
            arns += [name, f"{name}-??????"]
        else:
            arns.append(
                Stack.of(role).format_arn(
                    service="secretsmanager",
                    resource="secret",
                    resource_name=f"{name}-??????",
                    arn_format=ArnFormat.COLON_RESOURCE_NAME,
                )
            )
    if arns:
        allow(role, ["secretsmanager:GetSecretValue"], list(dict.fromkeys(arns)))


def grant_image(role: iam.IRole, container: Container) -> None:
    """Let a role read what is needed to pull the container's image: a registry's login, or an image in
    ECR."""
    if container.registry_credentials is not None:
        grant_secrets(role, [container.registry_credentials])
        return
    if (image := _ECR_IMAGE.match(container.image or "")) is None:
        return
    china = image["china"] or ""
    repository = f"arn:aws{'-cn' if china else ''}:ecr:{image['region']}:{image['account']}:repository/"
    allow(role, ["ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"], [repository + image["repository"]])
    grant_ecr_login(role)


def grant_ecr_login(role: iam.IRole) -> None:
    """Let a role log in to Amazon ECR, which alone permits no access to images."""
    allow(role, ["ecr:GetAuthorizationToken"], ["*"])
    acknowledge(
        role,
        "AwsSolutions-IAM5[Resource::*]",
        "ecr:GetAuthorizationToken does not support resources: it is a login.",
    )


def grant_assets(role: iam.IRole, assets: Sequence[s3_assets.Asset]) -> None:
    """Let a role read exactly these assets (`Asset.grant_read` would open the whole bucket of assets)."""
    if assets:
        allow(role, ["s3:GetObject"], [asset.bucket.arn_for_objects(asset.s3_object_key) for asset in assets])


def bucket_arn(scope: IConstruct, name: str) -> str:
    """The ARN of a bucket, in the partition of the scope's stack."""
    return Stack.of(scope).format_arn(service="s3", region="", account="", resource=name)


def in_policy(text: str) -> str:
    """A part of an object's key, escaped for the resource of a policy.

    `*` and `$` have a special meaning there, and become `?`, which matches any one character. A policy allows
    only characters up to U+00FF: others become `*`.
    """
    return re.sub(r"[^ -\u00ff]+", "*", re.sub(r"[*$]", "?", text))


def write_log_statement(log_group: logs.ILogGroup) -> iam.PolicyStatement:
    """A statement that lets a role write into one log group, but make none (deleted logs stay so)."""
    actions = ["logs:CreateLogStream", "logs:PutLogEvents"]
    return iam.PolicyStatement(actions=actions, resources=[log_group.log_group_arn])


def _grant_keys(
    role: iam.IRole,
    actions: Sequence[str],
    entries: Iterable[StorageEntry],
    buckets: Mapping[str, s3.IBucket],
) -> None:
    used = dict.fromkeys(entry.bucket for entry in entries if entry.provider == "s3")
    keys = [buckets[bucket].encryption_key for bucket in used if bucket in buckets]
    for key in {key.key_arn: key for key in keys if key is not None}.values():
        grant(role, key_statement(key, actions))


def _object_arns(
    role: iam.IRole, entries: Iterable[StorageEntry], buckets: Mapping[str, s3.IBucket]
) -> list[str]:
    def arn(entry: StorageEntry) -> str:
        objects = f"{in_policy(entry.key_prefix)}*"
        if not entry.is_notified_elsewhere:
            return buckets[entry.bucket].arn_for_objects(objects)
        return f"{bucket_arn(role, entry.bucket)}/{objects}"

    return list(dict.fromkeys(arn(entry) for entry in entries if entry.provider == "s3"))
