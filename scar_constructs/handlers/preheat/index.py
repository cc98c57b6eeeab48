"""Custom resource `Custom::ScarPreheat`: invoke a function once, so that its image is there when events come.

Asynchronously: a deployment does not wait for an image to be downloaded.
"""

import json
import urllib.request
from typing import Any

import boto3

client = boto3.client("lambda")


def handler(event: dict[str, Any], context: Any) -> None:
    """Do what CloudFormation asks for, and answer in any case: without an answer it waits for an hour."""
    name = event["ResourceProperties"]["FunctionName"]
    answer = {key: event[key] for key in ("StackId", "RequestId", "LogicalResourceId")}
    answer["PhysicalResourceId"] = event.get("PhysicalResourceId") or name
    try:
        if event["RequestType"] != "Delete":
            answer["PhysicalResourceId"] = name
            client.invoke(FunctionName=name, InvocationType="Event", Payload=b'{"preheat": true}')
        answer["Status"] = "SUCCESS"
    except Exception as problem:
        answer.update(Status="FAILED", Reason=f"preheating {name}: {problem}"[:1000])
    print(json.dumps(answer))
    request = urllib.request.Request(  # noqa: S310 (CloudFormation's own address)
        event["ResponseURL"], json.dumps(answer).encode(), {"Content-Type": ""}, method="PUT"
    )
    urllib.request.urlopen(request, timeout=30).close()  # noqa: S310
