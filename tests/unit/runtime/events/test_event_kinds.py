"""Every kind of event that SCAR's supervisor knew, or that AWS can send to a function: run with its input, or
rejected with a reason."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

import pytest

from containers.errors import ExplainedError
from runtime.config import FunctionConfig
from runtime.errors import InvocationError
from runtime.events.reading import read_event
from tests.unit.runtime.conftest import Function
from tests.unit.runtime.event_shapes import http_request, rest_request, s3_event, sns_in_a_queue

MINIO = {
    "EventName": "s3:ObjectCreated:Put",
    "Key": "bucket/in/a b.jpg",
    "Records": [
        {
            "eventVersion": "2.0",
            "eventSource": "minio:s3",
            "awsRegion": "",
            "eventTime": "2026-11-22T08:00:00.000Z",
            "eventName": "s3:ObjectCreated:Put",
            "userIdentity": {"principalId": "minio"},
            "requestParameters": {"sourceIPAddress": "10.244.0.0"},
            "responseElements": {"x-minio-origin-endpoint": "http://10.244.1.3:9000"},
            "s3": {
                "s3SchemaVersion": "1.0",
                "configurationId": "Config",
                "bucket": {"name": "bucket", "arn": "arn:aws:s3:::bucket"},
                "object": {"key": "in%2Fa+b.jpg", "size": 1019645, "eTag": "dd20", "sequencer": "153C"},
            },
            "source": {"host": "", "port": "", "userAgent": ""},
        }
    ],
}
ONEDATA = {
    "Key": "/my-onedata-space/files/file.txt",
    "Records": [
        {
            "objectKey": "file.txt",
            "objectId": "0000034500046EE9C6775",
            "eventTime": "2026-11-22T08:00:00.347823",
            "eventSource": "OneTrigger",
        }
    ],
}
DCACHE = {
    "event": {"name": "image2.jpg", "mask": ["IN_CREATE"]},
    "subscription": "https://dcache.example.org:3880/api/v1/events/channels/o/subscriptions/inotify/A",
}
RUCIO = {"event_type": "close", "payload": {"scope": "user.jdoe", "name": "dataset_name"}}
DELEGATED_MINIO = {"storage_provider": "minio.cluster2", "event": json.dumps(MINIO)}

OTHERS = {
    "MinIO": (MINIO, "A record of the event is from 'minio:s3', not from Amazon S3"),
    "MinIO, delegated": (DELEGATED_MINIO, "A record of the event is from 'minio:s3', not from Amazon S3"),
    "Onedata": (ONEDATA, "A record of the event is from 'OneTrigger', not from Amazon S3"),
    "dCache": (DCACHE, "Events from dCache are not supported"),
    "Rucio": (RUCIO, "Events from Rucio are not supported"),
    "delegated, no JSON": ({"storage_provider": "s3", "event": "{"}, "The delegated message cannot be read"),
    "delegated, no event": ({"storage_provider": "s3", "event": {}}, "no list of `Records`"),
    "CloudWatch Logs": ({"awslogs": {"data": "H4sIAAAA"}}, "Events from CloudWatch Logs are not supported"),
    "CloudWatch alarm": (
        {"source": "aws.cloudwatch", "alarmArn": "arn:aws:cloudwatch:us-east-1:1:alarm:a", "alarmData": {}},
        "Events from CloudWatch alarms are not supported",
    ),
    "Data Firehose": (
        {"invocationId": "i", "deliveryStreamArn": "arn:aws:firehose:us-east-1:1:s", "records": []},
        "Events from Amazon Data Firehose are not supported",
    ),
    "S3 Batch Operations": (
        {
            "invocationSchemaVersion": "1.0",
            "invocationId": "YXNk",
            "job": {"id": "f3cc4f60"},
            "tasks": [{"taskId": "dGFz", "s3Key": "in/a", "s3BucketArn": "arn:aws:s3:::bucket"}],
        },
        "Events from S3 Batch Operations are not supported",
    ),
    "S3 Object Lambda": (
        {"xAmzRequestId": "r", "getObjectContext": {"outputRoute": "io"}},
        "Events from S3 Object Lambda are not supported",
    ),
    "Kafka": (
        {"eventSource": "aws:kafka", "records": {"t-0": [{"topic": "t", "value": "SGVsbG8="}]}},
        "Events from 'aws:kafka' are not supported",
    ),
    "Kinesis": (
        {"Records": [{"eventSource": "aws:kinesis", "kinesis": {"data": "SGVsbG8="}}]},
        "A record of the event is from 'aws:kinesis', not from Amazon S3",
    ),
    "EventBridge Pipes": (
        [{"messageId": "m0", "eventSource": "aws:sqs", "body": json.dumps(s3_event("bucket", "in/a"))}],
        "Events from EventBridge Pipes are not supported",
    ),
    "schedule": (
        {"version": "0", "detail-type": "Scheduled Event", "source": "aws.events", "detail": {}},
        "The EventBridge event 'Scheduled Event' is from 'aws.events', not from S3",
    ),
    "WebSocket API": (
        {"requestContext": {"routeKey": "$connect", "eventType": "CONNECT", "connectionId": "c"}},
        "The request is not from a REST API, an HTTP API, a function URL or a load balancer",
    ),
    "VPC Lattice": (
        {"version": "2.0", "path": "/", "method": "GET", "requestContext": {"serviceNetworkArn": "arn"}},
        "The request is not from a REST API, an HTTP API, a function URL or a load balancer",
    ),
    "authorizer": (
        {**rest_request(), "type": "REQUEST", "methodArn": "arn:aws:execute-api:us-east-1:1:a/prod/GET/"},
        "Events from API Gateway authorizers are not supported",
    ),
}


@pytest.mark.parametrize(("event", "cause"), OTHERS.values(), ids=OTHERS)
def test_event_of_another_service_is_rejected(event: Any, cause: str, config: FunctionConfig) -> None:
    with pytest.raises(ExplainedError) as caught:
        read_event(event, config)
    assert caught.value.kind == "BadEvent"
    assert cause in caught.value.cause
    assert "Expected an S3 notification" in caught.value.advice


def test_rejected_event_is_in_the_log_and_in_the_failure_and_runs_nothing(
    function: Function, log_lines: Callable[[], list[dict[str, Any]]]
) -> None:
    function.deploy('echo ran > "$TMP_OUTPUT_DIR/ran"')
    with pytest.raises(InvocationError, match="from 'minio:s3', not from Amazon S3"):
        function.invoke(DELEGATED_MINIO)
    assert any("'minio:s3'" in str(line.get("error")) for line in log_lines())
    assert function.bucket.keys("out/") == []


@pytest.mark.parametrize("encode", [json.dumps, dict])
def test_delegated_event_of_s3_runs_with_its_object(encode: Any, config: FunctionConfig) -> None:
    event = s3_event("bucket", "in/a b", "in/c")
    work = read_event({"storage_provider": "s3", "event": encode(event)}, config)
    assert [one.subject for one in work.invocations] == ["s3://bucket/in/a b", "s3://bucket/in/c"]
    assert work.invocations[0].event == {"Records": event["Records"][:1]}


@pytest.mark.parametrize(
    "payload", [{"event": "start"}, {"event": {"name": "x"}}, {"payload": {"scope": 1}}, []]
)
def test_payload_that_only_resembles_an_event_is_a_direct_invocation(
    payload: object, config: FunctionConfig
) -> None:
    assert read_event(payload, config).kind == "direct"


@pytest.mark.parametrize("request_with", [rest_request, http_request])
@pytest.mark.parametrize(
    "event", [s3_event("bucket", "in/a"), MINIO, DELEGATED_MINIO, ONEDATA, DCACHE, RUCIO, sns_in_a_queue({})]
)
def test_storage_event_in_a_request_is_rejected(
    event: dict[str, Any], request_with: Any, config: FunctionConfig
) -> None:
    with pytest.raises(ExplainedError) as caught:
        read_event(request_with("POST", " " + json.dumps(event)), config)
    assert caught.value.kind == "BadRequest"
    assert "The body of the request is a storage event" in caught.value.cause


@pytest.mark.parametrize(
    "body",
    [
        '{"Records": [{"eventSource": "s3.amazonaws.com", "eventName": "PutObject"}]}',
        '{"event": "start"}',
        '{"Records": 1}',
        "{",
        "[1]",
        '--b\r\nContent-Disposition: form-data; name="f"; filename="a.txt"\r\n\r\nx\r\n--b--\r\n',
    ],
)
def test_any_other_body_is_the_input_file_unchanged(body: str, config: FunctionConfig) -> None:
    (invocation,) = read_event(rest_request("POST", body), config).invocations
    assert invocation.body == body.encode()


def test_request_of_a_load_balancer(config: FunctionConfig) -> None:
    event = {
        "requestContext": {
            "elb": {"targetGroupArn": "arn:aws:elasticloadbalancing:us-east-1:1:targetgroup/t/6d"}
        },
        "httpMethod": "POST",
        "path": "/",
        "queryStringParameters": {"color": "dark%20red", "a%5Fb": "1+2"},
        "headers": {"content-type": "application/octet-stream", "host": "lambda.us-east-2.elb.amazonaws.com"},
        "body": base64.b64encode(b"\x00\xff").decode(),
        "isBase64Encoded": True,
    }
    (invocation,) = read_event(event, config).invocations
    assert (invocation.http, invocation.awaited, invocation.body) == (True, True, b"\x00\xff")
    assert invocation.variables == {"color": "dark red", "a_b": "1 2"}


def test_encoded_name_of_a_reserved_parameter_is_rejected(config: FunctionConfig) -> None:
    event = {**rest_request("GET", None, {"LD%5FPRELOAD": "x"}), "requestContext": {"elb": {}}}
    with pytest.raises(ExplainedError, match="LD_PRELOAD is reserved"):
        read_event(event, config)
