"""Custom resource `Custom::ScarStagedFile`: a copy of an asset in a user's bucket.

S3 copies it, in parts if it is large. Delete removes only the copy.
"""

from typing import Any

import boto3

from scar_constructs.handlers.answering import Wish, respond

s3 = boto3.client("s3")


def handler(event: Wish, context: Any) -> None:
    """See `respond`."""
    wish = event["ResourceProperties"]
    respond(event, "image file", f"s3://{wish['Bucket']}/{wish['Key']}", copy, remove)


def copy(wish: Wish) -> None:
    """Copy the asset."""
    s3.copy({"Bucket": wish["FromBucket"], "Key": wish["FromKey"]}, wish["Bucket"], wish["Key"])


def remove(wish: Wish, uri: str) -> None:
    """Delete an earlier copy."""
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    s3.delete_object(Bucket=bucket, Key=key)
