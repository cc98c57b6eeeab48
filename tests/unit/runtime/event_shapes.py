"""Events as AWS sends them."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote_plus


def s3_record(bucket: str, key: str, size: int | None = 7, name: str = "ObjectCreated:Put") -> dict[str, Any]:
    """One record of a notification; S3 encodes the key so that a space is a `+`."""
    entry: dict[str, Any] = {"key": quote_plus(key, safe="/"), "eTag": "0123", "sequencer": "0A"}
    if size is not None:
        entry["size"] = size
    return {
        "eventVersion": "2.1",
        "eventSource": "aws:s3",
        "awsRegion": "us-east-1",
        "eventTime": "2026-11-22T08:00:00.000Z",
        "eventName": name,
        "s3": {
            "s3SchemaVersion": "1.0",
            "bucket": {"name": bucket, "arn": f"arn:aws:s3:::{bucket}"},
            "object": entry,
        },
    }


def s3_event(bucket: str, *keys: str, size: int | None = 7) -> dict[str, Any]:
    return {"Records": [s3_record(bucket, key, size) for key in keys]}


def event_bridge(bucket: str, key: str, size: int = 7, kind: str = "Object Created") -> dict[str, Any]:
    return {
        "version": "0",
        "id": "1",
        "detail-type": kind,
        "source": "aws.s3",
        "time": "2026-11-22T08:00:00Z",
        "detail": {"bucket": {"name": bucket}, "object": {"key": key, "size": size, "etag": "0123"}},
    }


def sns(message: object) -> dict[str, Any]:
    record = {
        "EventSource": "aws:sns",
        "EventVersion": "1.0",
        "Sns": {
            "Type": "Notification",
            "TopicArn": "arn:aws:sns:us-east-1:1:t",
            "Message": json.dumps(message),
        },
    }
    return {"Records": [record]}


def sns_in_a_queue(message: object) -> dict[str, Any]:
    """What a queue that is subscribed to a topic holds as a message's body."""
    return {"Type": "Notification", "TopicArn": "arn:aws:sns:us-east-1:1:t", "Message": json.dumps(message)}


def sqs(*bodies: object) -> dict[str, Any]:
    return {
        "Records": [
            {
                "messageId": f"m{number}",
                "eventSource": "aws:sqs",
                "body": body if isinstance(body, str) else json.dumps(body),
            }
            for number, body in enumerate(bodies)
        ]
    }


def failed_invocation(event: object) -> dict[str, Any]:
    """What Lambda sends to the failure queue about an event whose last retry failed."""
    return {
        "version": "1.0",
        "timestamp": "2026-11-22T08:10:00.000Z",
        "requestContext": {
            "requestId": "7a5c3d",
            "functionArn": "arn:aws:lambda:us-east-1:1:function:f:$LATEST",
            "condition": "RetriesExhausted",
            "approximateInvokeCount": 3,
        },
        "requestPayload": event,
        "responseContext": {"statusCode": 200, "executedVersion": "$LATEST", "functionError": "Unhandled"},
        "responsePayload": {"errorMessage": "no", "errorType": "InvocationError"},
    }


def rest_request(
    method: str = "GET",
    body: str | None = None,
    parameters: dict[str, str] | None = None,
    *,
    in_base64: bool = False,
) -> dict[str, Any]:
    """API Gateway's payload format 1.0."""
    return {
        "resource": "/",
        "path": "/",
        "httpMethod": method,
        "queryStringParameters": parameters,
        "multiValueQueryStringParameters": {name: [value] for name, value in (parameters or {}).items()}
        or None,
        "requestContext": {"requestTimeEpoch": 1_795_334_400_000, "stage": "prod"},
        "body": body,
        "isBase64Encoded": in_base64,
    }


def http_request(
    method: str = "GET", body: str | None = None, parameters: dict[str, str] | None = None
) -> dict[str, Any]:
    """API Gateway's payload format 2.0."""
    return {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": "/",
        "queryStringParameters": parameters or {},
        "requestContext": {"http": {"method": method, "path": "/"}, "timeEpoch": 1_795_334_400_000},
        "body": body,
        "isBase64Encoded": False,
    }
