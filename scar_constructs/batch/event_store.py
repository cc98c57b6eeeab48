"""The bucket for events that are too long for the environment of a Batch job.

Examples are HTTP requests with a body and invocations with a script. Each event is written once, and read by
its job, and by `scar retry` if the job failed. It expires after the messages of the failure queue. The bucket
is kept with the failure queues, whose messages may refer to it.
"""

from __future__ import annotations

from aws_cdk import Duration, RemovalPolicy
from aws_cdk import aws_iam as iam
from aws_cdk import aws_s3 as s3
from constructs import Construct

from scar_constructs.findings import acknowledge, acknowledge_wildcard
from scar_constructs.functions.data_access import allow
from scar_constructs.storage.bucket_folders import BucketFolders, OnDelete

VARIABLE = "SCAR_EVENT_BUCKET"
"""The runner's variable that names the bucket."""

_DAYS = 30
"""A failure queue keeps messages for 14."""


class EventStore(Construct):
    """An encrypted, private bucket whose objects expire.

    :param destroy: delete it with the stack. Otherwise `scar rm` deletes it.
    """

    def __init__(self, scope: Construct, construct_id: str, *, destroy: bool = False) -> None:
        super().__init__(scope, construct_id)
        self.bucket = s3.Bucket(
            self,
            "Bucket",
            encryption=s3.BucketEncryption.S3_MANAGED,
            block_public_access=s3.BlockPublicAccess.BLOCK_ALL,
            object_ownership=s3.ObjectOwnership.BUCKET_OWNER_ENFORCED,
            enforce_ssl=True,
            lifecycle_rules=[s3.LifecycleRule(expiration=Duration.days(_DAYS))],
            removal_policy=RemovalPolicy.DESTROY if destroy else RemovalPolicy.RETAIN_ON_UPDATE_OR_DELETE,
        )
        if self.bucket.policy is not None and not destroy:
            # A retained bucket keeps its policy: its events still require TLS.
            self.bucket.policy.apply_removal_policy(RemovalPolicy.RETAIN_ON_UPDATE_OR_DELETE)
        self.contents = (
            BucketFolders(self, "Contents", bucket=self.bucket, folders=[], on_delete=OnDelete.EMPTY)
            if destroy
            else None
        )
        """Empties the bucket when the stack is deleted. Functions depend on it, so none writes by then."""
        acknowledge(
            self.bucket,
            "AwsSolutions-S1",
            "It contains copies of events; access logs would cost more than the bucket.",
        )

    def grant_write(self, role: iam.IRole) -> None:
        """Let a role store events."""
        self._grant(role, "s3:PutObject")

    def grant_read(self, role: iam.IRole) -> None:
        """Let a role read events whose names it knows."""
        self._grant(role, "s3:GetObject")

    def _grant(self, role: iam.IRole, action: str) -> None:
        objects = self.bucket.arn_for_objects("*")
        allow(role, [action], [objects])
        acknowledge_wildcard(
            role, objects, "Events are named after their content, which is not known at synthesis."
        )
