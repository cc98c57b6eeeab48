"""Custom resource `Custom::ScarFileSystem`: the file system that an EFS access point belongs to."""

from typing import Any

import boto3

from scar_constructs.handlers.answering import Wish, respond

efs = boto3.client("efs")


def handler(event: Wish, context: Any) -> None:
    """See `respond`."""
    respond(event, "access point", event["ResourceProperties"]["AccessPointId"], find, leave)


def find(wish: Wish) -> Wish:
    """The attributes of the resource."""
    found = efs.describe_access_points(AccessPointId=wish["AccessPointId"])["AccessPoints"]
    if not found:
        raise LookupError("does not exist")
    return {"FileSystemId": found[0]["FileSystemId"]}


def leave(wish: Wish, name: str) -> None:
    """There is nothing to remove."""
