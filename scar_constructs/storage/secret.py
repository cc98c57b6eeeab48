"""The stack's secret: the credentials of storage providers in an FDL file.

`${SECRET:name-or-arn}` is the best choice: then this module never handles the secret. For secrets in plain
text and `${ENV:NAME}`, `cdk deploy` has two ways to transfer data to AWS: the template, which many users can
read, and assets, which are stored in the private and encrypted bucket of the CDK's bootstrap. Therefore:

1. the values are written into a file of the cloud assembly that only its owner can read;
2. the cdk command uploads it, as an asset under a name of this stack;
3. a custom resource stores it in AWS Secrets Manager, and replaces it with a note, which prevents the cdk
   command from uploading it again. Older versions of the object are deleted.

The asset's name is derived from its content and the stack's name with scrypt: someone who can read the
template cannot guess passwords at a useful speed.

Limits: `cdk.out` contains the values until it is deleted, or synthesized again without them; during a
deployment, everyone with access to all assets of the account's bootstrap can read them; `cdk gc` may remove
the note, and the next deployment then leaves the values in the bucket of assets until they change; a bucket
of assets with a customer-managed KMS key is not supported. A user's own secret that is encrypted with such a
key needs a permission on that key, which only its owner can grant.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path

from aws_cdk import FileAssetPackaging, RemovalPolicy, Stack, Stage
from aws_cdk import aws_iam as iam
from aws_cdk import aws_secretsmanager as secretsmanager
from constructs import Construct

from scar_constructs.findings import acknowledge, acknowledge_wildcard
from scar_constructs.functions.data_access import allow, bucket_arn
from scar_constructs.functions.handler_function import HandlerFunction


class StorageSecret(Construct):
    """A secret with the settings of storage providers, in the format of `runtime/config.py`.

    :param values: the settings by provider and key, e.g. `{"minio.lab": {"secret_key": "…"}}`.
    """

    def __init__(
        self, scope: Construct, construct_id: str, *, values: Mapping[str, Mapping[str, str]]
    ) -> None:
        super().__init__(scope, construct_id)
        content = json.dumps(values, sort_keys=True).encode()
        stack = Stack.of(self)
        version = hashlib.scrypt(content, salt=stack.stack_name.encode(), n=2**14, r=8, p=1, dklen=32).hex()
        name = f"scar-storage-{'-'.join([stack.stack_name, *_workflow_ids(scope)])}-"
        location = stack.synthesizer.add_file_asset(
            source_hash=name + version,
            file_name=_write_private(self, f"{name}{version}.json", content),
            packaging=FileAssetPackaging.FILE,
            display_name="Secrets of storage providers",
        )
        self.secret = secretsmanager.Secret(
            self,
            "Secret",
            description="Settings of the workflow's storage providers",
            removal_policy=RemovalPolicy.DESTROY,
        )
        acknowledge(
            self.secret,
            "AwsSolutions-SMG4",
            "The operator of the storage issues these credentials: they cannot be rotated here.",
        )
        provider = HandlerFunction(
            self, "Provider", handler="storage_secret", description="Stores the settings of storage providers"
        )
        bucket = bucket_arn(self, location.bucket_name)
        # Of this stack, with all hashes: objects of older deployments are deleted, too.
        objects = f"{bucket}/{location.object_key.replace(version, '*')}"
        provider.allow(
            iam.PolicyStatement(
                actions=["s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:DeleteObjectVersion"],
                resources=[objects],
            ),
            iam.PolicyStatement(
                actions=["s3:ListBucketVersions"],
                resources=[bucket],
                conditions={"StringLike": {"s3:prefix": location.object_key.replace(version, "*")}},
            ),
            iam.PolicyStatement(
                actions=[
                    "secretsmanager:DescribeSecret",
                    "secretsmanager:PutSecretValue",
                    "secretsmanager:UpdateSecretVersionStage",
                ],
                resources=[self.secret.secret_arn],
            ),
        )
        acknowledge_wildcard(
            provider.role, objects, "All versions of this stack's own secret asset, and nothing else."
        )
        properties = {
            "Bucket": location.bucket_name,
            "Key": location.object_key,
            "SecretId": self.secret.secret_arn,
            "Version": version,
        }
        self.stored = provider.resource(self, "Stored", "ScarStorageSecret", properties)

    def grant_value(self, role: iam.IRole) -> None:
        """Let a role read the secret (`Secret.grant_read` adds reading all about it)."""
        allow(role, ["secretsmanager:GetSecretValue"], [self.secret.secret_arn])


def _workflow_ids(scope: Construct) -> list[str]:
    """Ids on the path from the stack to the workflow, which distinguish the workflows of one stack."""
    ids = [one.node.id for one in scope.node.scopes[len(Stack.of(scope).node.scopes) :]]
    return [re.sub("[^A-Za-z0-9]", "-", one) for one in ids]


def _write_private(scope: Construct, name: str, content: bytes) -> str:
    """Write a file of the cloud assembly that only its owner can read; return its name there."""
    stage = Stage.of(scope)
    if stage is None:
        raise ValueError("a secret needs a cloud assembly to be written to")
    path = Path(stage.outdir) / name
    for older in path.parent.glob(f"{name[: name.rindex('-')]}-{'?' * 64}.json"):  # of an earlier synthesis
        older.unlink()
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content)
    return name
