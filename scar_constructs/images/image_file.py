"""The archive of a function's image: an asset, or (`deployment.bucket`) a copy in a user's bucket.

An asset is enough for any size. A user's own bucket is for accounts whose assets are cleaned up (`cdk gc`),
or with rules for the storage of images. The bucket already exists in the stack's region, and the copy is
deleted with the stack.
"""

from __future__ import annotations

from pathlib import Path

from aws_cdk import CustomResource
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_s3_assets as s3_assets
from constructs import Construct

from scar_constructs.findings import acknowledge_wildcard
from scar_constructs.functions.data_access import READING, WRITING, allow, grant, key_statement
from scar_constructs.functions.handler_function import HandlerFunction

_FOLDER = "scar-images"


class ImageFile(Construct):
    """An archive in S3.

    :param path: the file, made by `docker save` or an OCI archive.
    :param function_name: whose image it is.
    :param bucket_name: of the user's own bucket; default: it stays with the assets.
    :param bucket_key_arn: of the KMS key of that bucket.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        path: Path,
        function_name: str,
        bucket_name: str | None = None,
        bucket_key_arn: str | None = None,
    ) -> None:
        super().__init__(scope, construct_id)
        self.asset = s3_assets.Asset(self, "Asset", path=str(path))
        self.staged: CustomResource | None = None
        self._bucket: s3.IBucket = self.asset.bucket
        self._key = self.asset.s3_object_key
        if bucket_name is not None:
            key = None if bucket_key_arn is None else kms.Key.from_key_arn(self, "Key", bucket_key_arn)
            self._bucket = s3.Bucket.from_bucket_attributes(
                self, "Bucket", bucket_name=bucket_name, encryption_key=key
            )
            self._key = f"{_FOLDER}/{function_name}/{self.asset.asset_hash}{path.suffix}"
            self.staged = self._copy(function_name)

    @property
    def uri(self) -> str:
        """`s3://BUCKET/KEY`."""
        return self.asset.s3_object_url if self.staged is None else self._bucket.s3_url_for_object(self._key)

    def grant_get(self, role: iam.IRole) -> None:
        """Let a role read exactly this object."""
        allow(role, ["s3:GetObject"], [self._bucket.arn_for_objects(self._key)])
        if self._bucket.encryption_key is not None:
            grant(role, key_statement(self._bucket.encryption_key, READING))

    def _copy(self, function_name: str) -> CustomResource:
        provider = HandlerFunction.of(
            self,
            "StagedFilesProvider",
            handler="staged_file",
            description="Copies image files into the user's own buckets",
        )
        # The folder: an update removes the older copy when the rights to the newer one are already in place.
        copies = self._bucket.arn_for_objects(f"{_FOLDER}/{function_name}/*")
        source = self.asset.bucket.arn_for_objects(self.asset.s3_object_key)
        provider.allow(
            iam.PolicyStatement(actions=["s3:GetObject", "s3:GetObjectTagging"], resources=[source]),
            iam.PolicyStatement(
                actions=["s3:PutObject", "s3:PutObjectTagging", "s3:DeleteObject", "s3:AbortMultipartUpload"],
                resources=[copies],
            ),
        )
        if self._bucket.encryption_key is not None:
            provider.allow(key_statement(self._bucket.encryption_key, WRITING))
        acknowledge_wildcard(
            provider.role, copies, "The copies of one function's image, named by their content."
        )
        properties = {
            "FromBucket": self.asset.s3_bucket_name,
            "FromKey": self.asset.s3_object_key,
            "Bucket": self._bucket.bucket_name,
            "Key": self._key,
        }
        return provider.resource(self, "Copy", "ScarStagedFile", properties)
