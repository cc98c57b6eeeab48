"""The folders of a bucket: markers such as `input/`, put there by a small custom resource.

S3 knows no folders; an empty object whose key ends in `/` is what its console and tools show as one. The
runner never runs for such a marker. The custom resource is one Python function for all buckets of the stack,
with rights on exactly those markers.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

from aws_cdk import aws_iam as iam
from aws_cdk import aws_s3 as s3
from constructs import Construct

from scar_constructs.findings import acknowledge_wildcard
from scar_constructs.functions.data_access import WRITING, in_policy, key_statement
from scar_constructs.functions.handler_function import HandlerFunction


class OnDelete(StrEnum):
    """What happens to a bucket's content when its `BucketFolders` is removed."""

    KEEP = "keep"
    """Nothing is deleted."""
    TIDY = "tidy"
    """The markers are deleted if the bucket has no other content: a bucket whose deployment failed can then
    be deleted."""
    EMPTY = "empty"
    """Every object is deleted, so that the bucket can be deleted."""


class BucketFolders(Construct):
    """Puts folder markers into a new or existing bucket; existing objects are not changed.

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
        provider = _Provider.of(
            self,
            "BucketFoldersProvider",
            handler="bucket_folders",
            description="Creates the folders of the workflow's buckets",
        )
        provider.allow_on(bucket, folders, on_delete)
        properties = {"BucketName": bucket.bucket_name, "Folders": list(folders), "OnDelete": str(on_delete)}
        self.resource = provider.resource(self, "Resource", "ScarBucketFolders", properties)


_AROUND_A_KEY = 80
"""Characters of an ARN in a policy but for the key: a bucket's name may have 63 of them."""


class _Provider(HandlerFunction):
    """The one function of a stack that makes folders."""

    _room = 8000
    """AWS IAM allows 10,240 characters for a role's inline policies; the rest is for other permissions."""

    def allow_on(self, bucket: s3.IBucket, folders: Sequence[str], on_delete: OnDelete) -> None:
        if folders:
            markers = self._markers(bucket, folders)
            actions = ["s3:PutObject", *(["s3:DeleteObject"] if on_delete is OnDelete.TIDY else [])]
            self.allow(iam.PolicyStatement(actions=actions, resources=markers))
            if bucket.encryption_key is not None:
                self.allow(key_statement(bucket.encryption_key, WRITING))
        if folders and on_delete is OnDelete.TIDY:
            self.allow(iam.PolicyStatement(actions=["s3:ListBucket"], resources=[bucket.bucket_arn]))
        if on_delete is OnDelete.EMPTY:
            objects = bucket.arn_for_objects("*")
            self.allow(
                iam.PolicyStatement(actions=["s3:ListBucketVersions"], resources=[bucket.bucket_arn]),
                iam.PolicyStatement(
                    actions=["s3:DeleteObject", "s3:DeleteObjectVersion"], resources=[objects]
                ),
            )
            acknowledge_wildcard(self.role, objects, "A bucket that is deleted is emptied of every object.")

    def _markers(self, bucket: s3.IBucket, folders: Sequence[str]) -> list[str]:
        """The ARNs of the folders' markers, or of all possible markers in the bucket if there are too
        many."""
        names = [f"{in_policy(folder)}/" for folder in folders]
        reason = "The folder's name contains characters that are invalid in a policy."
        if sum(len(name) + _AROUND_A_KEY for name in names) > self._room:
            names, reason = ["*/"], "A policy cannot list this many folders."
        self._room -= sum(len(name) + _AROUND_A_KEY for name in names)
        markers = [bucket.arn_for_objects(name) for name in names]
        for marker, name in zip(markers, names, strict=True):
            if "*" in name:
                acknowledge_wildcard(self.role, marker, reason)
        return markers
