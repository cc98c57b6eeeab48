"""An asset that is a function's or a layer's code and that others may fetch too."""

from __future__ import annotations

from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_s3_assets as s3_assets

from scar_constructs.findings import acknowledge


def code_of(asset: s3_assets.Asset) -> lambda_.Code:
    """The asset as AWS Lambda's code (`Code.from_asset` would hide the asset's location)."""
    acknowledge(
        asset,
        "Annotation::@aws-cdk/aws-lambda:codeFromBucketObjectVersionNotSpecified",
        "The object's key is the hash of its content: other content is another key.",
    )
    return lambda_.Code.from_bucket(asset.bucket, asset.s3_object_key)
