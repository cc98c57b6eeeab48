"""The buckets of a workflow: made with the stack or already there, with the folders of its functions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from aws_cdk import Duration, RemovalPolicy
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_s3 as s3
from constructs import Construct

from fdl_schemas.model import Workflow
from scar_constructs.construct_names import id_for
from scar_constructs.findings import acknowledge
from scar_constructs.storage.bucket_folders import BucketFolders, OnDelete
from scar_constructs.storage.notifications import NotificationsHandler

_KEEP = RemovalPolicy.RETAIN_ON_UPDATE_OR_DELETE
"""Retained, except if the deployment that creates it fails."""


class WorkflowBucket(Construct):
    """One bucket with its folders.

    A new bucket is encrypted (SSE-S3, or with a KMS key), not public, reachable over TLS only, owned by its
    account, and removes uploads that were not completed within a day. It is kept when the stack is destroyed,
    unless `destroy` is set: then it is deleted with its content. If the deployment that creates it fails, it
    is deleted, too, as it is still empty: otherwise its name would block the next attempt.

    :param bucket_name: the final name.
    :param folders: paths below the bucket, created if they are missing.
    :param existing: the bucket already exists. Only its folders and notifications are changed.
    :param key_arn: the KMS key that encrypts its objects. None: that of S3.
    :param destroy: delete the bucket, with all objects, when the stack is destroyed. Has no effect on an
        existing bucket.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        bucket_name: str,
        folders: Sequence[str] = (),
        existing: bool = False,
        key_arn: str | None = None,
        destroy: bool = False,
    ) -> None:
        super().__init__(scope, construct_id)
        handler = NotificationsHandler.of(self)
        role = None if handler is None else handler.role
        key = None if key_arn is None else kms.Key.from_key_arn(self, "Key", key_arn)
        self.bucket: s3.IBucket
        if existing:
            self.bucket = s3.Bucket.from_bucket_attributes(
                self, "Bucket", bucket_name=bucket_name, encryption_key=key, notifications_handler_role=role
            )
        else:
            self.bucket = self._made(bucket_name, role, key, destroy=destroy)
        if handler is not None:
            handler.allow(self.bucket, existing=existing)
        on_delete = OnDelete.KEEP if existing else OnDelete.EMPTY if destroy else OnDelete.TIDY
        self.folders = BucketFolders(
            self, "Folders", bucket=self.bucket, folders=folders, on_delete=on_delete
        )

    def _made(
        self, bucket_name: str, role: iam.IRole | None, key: kms.IKey | None, *, destroy: bool
    ) -> s3.Bucket:
        bucket = s3.Bucket(
            self,
            "Bucket",
            bucket_name=bucket_name,
            encryption=s3.BucketEncryption.S3_MANAGED if key is None else s3.BucketEncryption.KMS,
            encryption_key=key,
            # One call to KMS for many objects, instead of one for each.
            bucket_key_enabled=None if key is None else True,
            block_public_access=s3.BlockPublicAccess.BLOCK_ALL,
            object_ownership=s3.ObjectOwnership.BUCKET_OWNER_ENFORCED,
            enforce_ssl=True,
            lifecycle_rules=[s3.LifecycleRule(abort_incomplete_multipart_upload_after=Duration.days(1))],
            removal_policy=RemovalPolicy.DESTROY if destroy else _KEEP,
            notifications_handler_role=role,
        )
        if bucket.policy is not None and not destroy:
            # A retained bucket keeps its policy: its files still require TLS.
            bucket.policy.apply_removal_policy(_KEEP)
        acknowledge(
            bucket,
            "AwsSolutions-S1",
            "Access logs need a second bucket, which grows without limit. To have them, use existing buckets "
            "(existing_buckets) or turn on CloudTrail's data events.",
        )
        return bucket


class WorkflowBuckets(Construct):
    """All buckets of a workflow, each with the folders that its functions use.

    :param workflow: with the final bucket names (`deployment.with_real_names`).
    :param folders: of each bucket, including those of functions in other stacks.
    :param existing: final names of existing buckets.
    :param foreign: final names of those that another stack creates.
    :param keys: ARNs of KMS keys, by the final name of their bucket.
    :param destroy: see `WorkflowBucket`.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        workflow: Workflow,
        folders: Mapping[str, Sequence[str]],
        existing: Sequence[str] = (),
        foreign: Sequence[str] = (),
        keys: Mapping[str, str] = MappingProxyType({}),
        destroy: bool = False,
    ) -> None:
        super().__init__(scope, construct_id)
        self._keys = keys
        self.members: Mapping[str, WorkflowBucket] = MappingProxyType(
            {
                name: WorkflowBucket(
                    self,
                    id_for(name),
                    bucket_name=name,
                    folders=folders[name],
                    existing=name in existing,
                    key_arn=keys.get(name),
                    destroy=destroy,
                )
                for name in workflow.buckets
                if name not in foreign
            }
        )
        self.by_name: Mapping[str, s3.IBucket] = MappingProxyType(
            {name: member.bucket for name, member in self.members.items()}
            | {name: self.named(self, name) for name in foreign}
        )

    def named(self, scope: Construct, name: str) -> s3.IBucket:
        """A bucket that is known by its name only, as a child of `scope`."""
        arn = self._keys.get(name)
        key = None if arn is None else kms.Key.from_key_arn(scope, f"{id_for(name)}Key", arn)
        return s3.Bucket.from_bucket_attributes(scope, id_for(name), bucket_name=name, encryption_key=key)
