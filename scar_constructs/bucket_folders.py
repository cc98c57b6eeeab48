"""The folders of a bucket: markers such as `input/`, put there by a small custom resource.

S3 knows no folders; an empty object whose key ends in `/` is what its console and tools show as one. The
runner never runs for such a marker. The custom resource is one Python function for all buckets of the stack,
with rights on exactly those markers.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path

from aws_cdk import CustomResource, Duration, RemovalPolicy, Stack
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_logs as logs
from aws_cdk import aws_s3 as s3
from constructs import Construct

from scar_constructs.data_access import write_log_statement
from scar_constructs.findings import acknowledge, acknowledge_wildcard

_HANDLER = Path(__file__).parent / "bucket_folders_handler" / "index.py"


class OnDelete(StrEnum):
    """What becomes of a bucket's content when its `BucketFolders` is removed."""

    KEEP = "keep"
    """Nothing is deleted."""
    TIDY = "tidy"
    """The markers go, if nothing else is there: a bucket whose deployment failed can then be deleted."""
    EMPTY = "empty"
    """Every object goes, so that the bucket can be deleted."""


class BucketFolders(Construct):
    """Puts folder markers into a bucket, new or already there; existing objects are left alone.

    :param bucket: the bucket.
    :param folders: paths without leading or trailing `/`.
    :param on_delete: what is deleted when this construct is removed.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        bucket: s3.IBucket,
        folders: Sequence[str],
        on_delete: OnDelete = OnDelete.KEEP,
    ) -> None:
        super().__init__(scope, construct_id)
        provider = _Provider.of(self)
        provider.allow(bucket, folders, on_delete)
        self.resource = CustomResource(
            self,
            "Resource",
            resource_type="Custom::ScarBucketFolders",
            service_token=provider.function.function_arn,
            # Two minutes over the function's own limit: CloudFormation's default wait is an hour.
            service_timeout=Duration.minutes(17),
            properties={
                "BucketName": bucket.bucket_name,
                "Folders": list(folders),
                "OnDelete": str(on_delete),
            },
        )


class _Provider(Construct):
    """The one function of a stack that makes folders."""

    def __init__(self, scope: Construct, construct_id: str) -> None:
        super().__init__(scope, construct_id)
        log_group = logs.LogGroup(
            self, "Logs", retention=logs.RetentionDays.ONE_MONTH, removal_policy=RemovalPolicy.DESTROY
        )
        self._policy = iam.PolicyDocument(statements=[write_log_statement(log_group)])
        self.role = iam.Role(
            self,
            "Role",
            assumed_by=iam.ServicePrincipal("lambda.amazonaws.com"),
            description="Makes the folders of the workflow's buckets",
            # A policy of the role itself: it is there before the function runs, and until after its last run.
            inline_policies={"Folders": self._policy},
        )
        self.function = lambda_.Function(
            self,
            "Function",
            runtime=lambda_.Runtime.PYTHON_3_13,
            handler="index.handler",
            code=lambda_.Code.from_inline(_HANDLER.read_text(encoding="utf-8")),
            role=self.role,
            log_group=log_group,
            timeout=Duration.minutes(15),
            memory_size=256,
            description="Makes the folders of the workflow's buckets",
        )
        acknowledge(
            self.function, "AwsSolutions-L1", "Python 3.13 is the version that this code is tested with."
        )

    @classmethod
    def of(cls, scope: Construct) -> _Provider:
        stack = Stack.of(scope)
        found = stack.node.try_find_child("BucketFoldersProvider")
        return found if isinstance(found, _Provider) else cls(stack, "BucketFoldersProvider")

    def allow(self, bucket: s3.IBucket, folders: Sequence[str], on_delete: OnDelete) -> None:
        if folders:
            markers = [bucket.arn_for_objects(f"{folder}/") for folder in folders]
            actions = ["s3:PutObject", *(["s3:DeleteObject"] if on_delete is OnDelete.TIDY else [])]
            self._policy.add_statements(iam.PolicyStatement(actions=actions, resources=markers))
        if folders and on_delete is OnDelete.TIDY:
            self._policy.add_statements(
                iam.PolicyStatement(actions=["s3:ListBucket"], resources=[bucket.bucket_arn])
            )
        if on_delete is OnDelete.EMPTY:
            objects = bucket.arn_for_objects("*")
            self._policy.add_statements(
                iam.PolicyStatement(actions=["s3:ListBucketVersions"], resources=[bucket.bucket_arn]),
                iam.PolicyStatement(
                    actions=["s3:DeleteObject", "s3:DeleteObjectVersion"], resources=[objects]
                ),
            )
            acknowledge_wildcard(
                self.role, objects, "Emptying a bucket that is to be deleted means every object in it."
            )
