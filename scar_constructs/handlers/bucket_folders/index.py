"""Custom resource `Custom::ScarBucketFolders`: the folders of a workflow's bucket.

Create and Update put an empty object `folder/` for every missing folder, so that users see where to upload.
Delete depends on OnDelete: it removes everything from a bucket that is deleted (empty), removes the folders
of a bucket with no other content (tidy), or removes nothing (keep).
"""

from typing import Any

import boto3
from botocore.exceptions import ClientError

from scar_constructs.handlers.answering import Wish, respond

s3 = boto3.client("s3")


def handler(event: Wish, context: Any) -> None:
    """See `respond`."""
    respond(event, "bucket", event["ResourceProperties"]["BucketName"], make_folders, clean_up)


def make_folders(wish: Wish) -> None:
    """Put the missing markers. An existing object with that name is not changed."""
    for folder in wish["Folders"]:
        try:
            s3.put_object(Bucket=wish["BucketName"], Key=f"{folder}/", IfNoneMatch="*")
        except ClientError as problem:
            if problem.response["Error"]["Code"] not in ("PreconditionFailed", "ConditionalRequestConflict"):
                raise


def clean_up(wish: Wish, name: str) -> None:
    """Do what OnDelete requests; a missing bucket is not an error."""
    try:
        if wish["OnDelete"] == "empty":
            empty(wish["BucketName"])
        elif wish["OnDelete"] == "tidy" and wish["Folders"]:
            tidy(wish["BucketName"], {f"{folder}/" for folder in wish["Folders"]})
    except ClientError as problem:
        if problem.response["Error"]["Code"] != "NoSuchBucket":
            raise


def tidy(bucket: str, markers: set[str]) -> None:
    """Delete the markers, if the bucket has no other content."""
    found = s3.list_objects_v2(Bucket=bucket, MaxKeys=len(markers) + 1).get("Contents", [])
    if all(one["Key"] in markers and not one["Size"] for one in found):
        for one in found:
            s3.delete_object(Bucket=bucket, Key=one["Key"])


def empty(bucket: str) -> None:
    """Delete every object, in all its versions."""
    for page in s3.get_paginator("list_object_versions").paginate(Bucket=bucket):
        found = [*page.get("Versions", []), *page.get("DeleteMarkers", [])]
        objects = [{"Key": one["Key"], "VersionId": one["VersionId"]} for one in found]
        if objects:
            deleted = s3.delete_objects(Bucket=bucket, Delete={"Objects": objects, "Quiet": True})
            for error in deleted.get("Errors", []):
                raise RuntimeError(f"{error['Key']}: {error['Message']}")
