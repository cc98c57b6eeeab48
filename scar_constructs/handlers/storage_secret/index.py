"""Custom resource `Custom::ScarStorageSecret`: moves secrets from an asset to AWS Secrets Manager.

Create and Update read the asset, store it as the secret's new version, and replace it with a note: the cdk
command sees that the asset exists, and does not upload it again. If the note is found instead of secrets (a
deployment returned to an earlier state), that version becomes the current one again. Delete removes the
object. No secret is printed, and none is part of an answer.
"""

from typing import Any

import boto3

from scar_constructs.handlers.answering import Wish, respond

s3 = boto3.client("s3")
secrets = boto3.client("secretsmanager")
# The cdk command treats objects of up to 22 bytes as failed uploads.
NOTE = b'{"stored in": "AWS Secrets Manager"}'


def handler(event: Wish, context: Any) -> None:
    """See `respond`."""
    respond(event, "secrets of storage providers", event["ResourceProperties"]["Key"], store, clean_up)


def clean_up(wish: Wish, key: str) -> None:
    """Delete the object of an earlier deployment."""
    remove(wish["Bucket"], key, all_versions=True)


def store(wish: Wish) -> None:
    """Make the asset's content the secret's current version, and the asset a note."""
    bucket, key, secret, version = wish["Bucket"], wish["Key"], wish["SecretId"], wish["Version"]
    content = s3.get_object(Bucket=bucket, Key=key)["Body"].read()
    if content != NOTE:
        secrets.put_secret_value(SecretId=secret, ClientRequestToken=version, SecretString=content.decode())
        s3.put_object(Bucket=bucket, Key=key, Body=NOTE)
        remove(bucket, key, all_versions=False)
        return
    known = secrets.describe_secret(SecretId=secret)["VersionIdsToStages"]
    if version not in known:
        remove(bucket, key, all_versions=True)
        raise RuntimeError("an earlier deployment has consumed the asset; deploy again")
    (current,) = [name for name, stages in known.items() if "AWSCURRENT" in stages]
    if current != version:
        secrets.update_secret_version_stage(
            SecretId=secret, VersionStage="AWSCURRENT", MoveToVersionId=version, RemoveFromVersionId=current
        )


def remove(bucket: str, key: str, *, all_versions: bool) -> None:
    """Delete an object's older versions, or all of them. (Without versions: nothing, or the object.)"""
    for page in s3.get_paginator("list_object_versions").paginate(Bucket=bucket, Prefix=key):
        for one in (*page.get("Versions", []), *page.get("DeleteMarkers", [])):
            if one["Key"] == key and (all_versions or not one["IsLatest"]):
                s3.delete_object(Bucket=bucket, Key=key, VersionId=one["VersionId"])
