"""Custom resource `Custom::ScarBucketFolders`: the folders of a workflow's bucket.

Create and Update put an empty object `folder/` for every folder that is not there, so that people see where
to upload. Delete does what OnDelete says: takes everything out of a bucket that is to be deleted (empty),
takes the folders of a bucket that holds nothing else (tidy), or takes nothing (keep).
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
    """Put the markers that are missing. An object of that name that is there already is left as it is."""
    for folder in wish["Folders"]:
        try:
            s3.put_object(Bucket=wish["BucketName"], Key=f"{folder}/", IfNoneMatch="*")
        except ClientError as problem:
            if problem.response["Error"]["Code"] not in ("PreconditionFailed", "ConditionalRequestConflict"):
                raise


def clean_up(wish: Wish, name: str) -> None:
    """Do what OnDelete says; a bucket that is gone is fine."""
    try:
        if wish["OnDelete"] == "empty":
            empty(wish["BucketName"])
        elif wish["OnDelete"] == "tidy" and wish["Folders"]:
            tidy(wish["BucketName"], {f"{folder}/" for folder in wish["Folders"]})
    except ClientError as problem:
        if problem.response["Error"]["Code"] != "NoSuchBucket":
            raise


def tidy(bucket: str, markers: set[str]) -> None:
    """Delete the markers, if nothing else is there."""
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
