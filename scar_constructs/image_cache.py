"""A bucket in which the functions of a stack keep the images that they have pulled, for each other.

The first execution environment that pulls an image stores it there; all other cold starts of all functions
read it from there instead of its registry (`runtime/images/s3_tier.py`; docs/images.md). What is in it can be
had again at any time: everything expires by itself, and goes with the stack.
"""

from __future__ import annotations

from aws_cdk import Duration, RemovalPolicy
from aws_cdk import aws_iam as iam
from aws_cdk import aws_s3 as s3
from constructs import Construct

from scar_constructs.bucket_folders import BucketFolders, OnDelete
from scar_constructs.deployment import DEFAULT_CACHE_DAYS
from scar_constructs.findings import acknowledge, acknowledge_wildcard

VARIABLE = "SCAR_IMAGE_CACHE"
"""The runner's variable that names the bucket."""

_PARTS_OUTLIVE_INDEX_DAYS = 2


class ImageCache(Construct):
    """An encrypted, private bucket whose objects expire.

    :param days: an image is pulled from its registry again when it has been there for so long.
    """

    def __init__(self, scope: Construct, construct_id: str, *, days: int = DEFAULT_CACHE_DAYS) -> None:
        super().__init__(scope, construct_id)
        self.bucket = s3.Bucket(
            self,
            "Bucket",
            encryption=s3.BucketEncryption.S3_MANAGED,
            block_public_access=s3.BlockPublicAccess.BLOCK_ALL,
            object_ownership=s3.ObjectOwnership.BUCKET_OWNER_ENFORCED,
            enforce_ssl=True,
            # An image is there as long as its index is: its parts must not go first.
            lifecycle_rules=[
                _expire("index/", days),
                _expire("parts/", days + _PARTS_OUTLIVE_INDEX_DAYS),
                _expire("names/", days),
                _expire("claims/", 1),
                s3.LifecycleRule(abort_incomplete_multipart_upload_after=Duration.days(1)),
            ],
            removal_policy=RemovalPolicy.DESTROY,
        )
        self.contents = BucketFolders(
            self, "Contents", bucket=self.bucket, folders=[], on_delete=OnDelete.EMPTY
        )
        """Emptied when the stack goes. Functions depend on it, so that none can write any more by then."""
        acknowledge(
            self.bucket, "AwsSolutions-S1", "It holds copies of images; access logs would cost more than it."
        )

    @property
    def uri(self) -> str:
        """`s3://BUCKET`, the value of `VARIABLE`."""
        return f"s3://{self.bucket.bucket_name}"

    def grant(self, role: iam.IRole) -> None:
        """Let a role read and write images. It cannot list or delete any."""
        objects = self.bucket.arn_for_objects("*")
        role.add_to_principal_policy(
            iam.PolicyStatement(actions=["s3:GetObject", "s3:PutObject"], resources=[objects])
        )
        acknowledge_wildcard(role, objects, "Which images functions pull is not known before they run.")


def _expire(prefix: str, days: int) -> s3.LifecycleRule:
    return s3.LifecycleRule(prefix=prefix, expiration=Duration.days(days))
