"""Custom resource `Custom::ScarStagedFile`: a copy of an asset in a bucket of the user's own.

S3 copies it by itself, in parts where it is large. Delete removes the copy, and nothing else.
"""

import json
import urllib.request
from typing import Any

import boto3

s3 = boto3.client("s3")


def handler(event: dict[str, Any], context: Any) -> None:
    """Do what CloudFormation asks for, and answer in any case: without an answer it waits for an hour."""
    wish = event["ResourceProperties"]
    uri = f"s3://{wish['Bucket']}/{wish['Key']}"
    answer = {key: event[key] for key in ("StackId", "RequestId", "LogicalResourceId")}
    answer["PhysicalResourceId"] = event.get("PhysicalResourceId") or uri
    try:
        if event["RequestType"] == "Delete":
            bucket, _, key = answer["PhysicalResourceId"].removeprefix("s3://").partition("/")
            s3.delete_object(Bucket=bucket, Key=key)
        else:
            answer["PhysicalResourceId"] = uri
            s3.copy({"Bucket": wish["FromBucket"], "Key": wish["FromKey"]}, wish["Bucket"], wish["Key"])
        answer["Status"] = "SUCCESS"
    except Exception as problem:
        answer.update(Status="FAILED", Reason=f"{uri}: {problem}"[:1000])
    print(json.dumps(answer))
    request = urllib.request.Request(  # noqa: S310 (CloudFormation's own address)
        event["ResponseURL"], json.dumps(answer).encode(), {"Content-Type": ""}, method="PUT"
    )
    urllib.request.urlopen(request, timeout=30).close()  # noqa: S310
