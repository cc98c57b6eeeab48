"""Custom resource `Custom::ScarBucketFolders`: the folders of a workflow's bucket.

Create and Update put an empty object `folder/` for every folder that is not there, so that people see where
to upload. Delete does what OnDelete says: takes everything out of a bucket that is to be deleted (empty),
takes the folders of a bucket that holds nothing else (tidy), or takes nothing (keep).
"""

import json
import urllib.request
from typing import Any

import boto3
from botocore.exceptions import ClientError

s3 = boto3.client("s3")


def handler(event: dict[str, Any], context: Any) -> None:
    """Do what CloudFormation asks for, and answer in any case: without an answer it waits for an hour."""
    wish = event["ResourceProperties"]
    answer = {key: event[key] for key in ("StackId", "RequestId", "LogicalResourceId")}
    answer["PhysicalResourceId"] = event.get("PhysicalResourceId") or wish["BucketName"]
    try:
        if event["RequestType"] != "Delete":
            answer["PhysicalResourceId"] = wish["BucketName"]
            make_folders(wish["BucketName"], wish["Folders"])
        elif wish["OnDelete"] == "empty":
            empty(wish["BucketName"])
        elif wish["OnDelete"] == "tidy":
            tidy(wish["BucketName"], {f"{folder}/" for folder in wish["Folders"]})
        answer["Status"] = "SUCCESS"
    except Exception as problem:
        answer.update(Status="FAILED", Reason=f"bucket {wish['BucketName']}: {problem}"[:1000])
    print(json.dumps(answer))
    request = urllib.request.Request(  # noqa: S310 (CloudFormation's own address)
        event["ResponseURL"], json.dumps(answer).encode(), {"Content-Type": ""}, method="PUT"
    )
    urllib.request.urlopen(request, timeout=30).close()  # noqa: S310


def make_folders(bucket: str, folders: list[str]) -> None:
    """Put the markers that are missing. An object of that name that is there already is left as it is."""
    for folder in folders:
        try:
            s3.put_object(Bucket=bucket, Key=f"{folder}/", IfNoneMatch="*")
        except ClientError as problem:
            if problem.response["Error"]["Code"] not in ("PreconditionFailed", "ConditionalRequestConflict"):
                raise


def tidy(bucket: str, markers: set[str]) -> None:
    """Delete the markers, if nothing else is there."""
    if not markers:
        return
    try:
        found = s3.list_objects_v2(Bucket=bucket, MaxKeys=len(markers) + 1).get("Contents", [])
    except ClientError as problem:
        if problem.response["Error"]["Code"] != "NoSuchBucket":
            raise
        return
    if all(one["Key"] in markers and not one["Size"] for one in found):
        for one in found:
            s3.delete_object(Bucket=bucket, Key=one["Key"])


def empty(bucket: str) -> None:
    """Delete every object, in all its versions."""
    try:
        for page in s3.get_paginator("list_object_versions").paginate(Bucket=bucket):
            found = [*page.get("Versions", []), *page.get("DeleteMarkers", [])]
            objects = [{"Key": one["Key"], "VersionId": one["VersionId"]} for one in found]
            if objects:
                errors = s3.delete_objects(Bucket=bucket, Delete={"Objects": objects, "Quiet": True}).get(
                    "Errors"
                )
                if errors:
                    raise RuntimeError(f"{errors[0]['Key']}: {errors[0]['Message']}")
    except ClientError as problem:
        if problem.response["Error"]["Code"] != "NoSuchBucket":
            raise
