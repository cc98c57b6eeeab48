"""Lambda of the embedded cloud: asynchronous events are never lost, workers keep to themselves."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any
from urllib.parse import quote_plus

import pytest

from fdl_schemas.model import StorageEntry
from scar_constructs.storage.notifications import key_filters
from tests.cloud.embedded import CloudUnderTest, Shell, any_role, keys, make_function, notify, until, zipped

pytestmark = pytest.mark.cloud


COPY = """
import boto3, urllib.parse
s3 = boto3.client("s3")
def handle(event, context):
    for record in event["Records"]:
        bucket, key = record["s3"]["bucket"]["name"], urllib.parse.unquote_plus(record["s3"]["object"]["key"])
        s3.put_object(Bucket=bucket, Key=f"{context.function_name}/{key}", Body=b"")
"""


def test_two_hundred_uploads_at_once_lose_no_event(cloud: CloudUnderTest) -> None:
    """Far more than run at once; two functions on one bucket; keys that need quoting."""
    s3 = cloud.client("s3")
    s3.create_bucket(Bucket="many")
    functions = {f"{name}-in/": make_function(cloud, name, COPY, Timeout=60) for name in ("left", "right")}
    notify(cloud, "many", functions)
    wanted = {}
    for number in range(200):
        folder = ("left", "right")[number % 2]
        key = f"{folder}-in/{number} ü+%.txt"
        wanted[key] = f"{folder}/{key}"
        s3.put_object(Bucket="many", Key=key, Body=b"")
    until(
        lambda: len(keys(cloud, "many", "left/")) + len(keys(cloud, "many", "right/")),
        lambda n: n == 200,
        120,
    )
    assert {*keys(cloud, "many", "left/"), *keys(cloud, "many", "right/")} == set(wanted.values())


@pytest.mark.parametrize("retries", [0, 2])
def test_an_event_that_always_fails_is_retried_and_then_kept_with_what_happened(
    cloud: CloudUnderTest, tmp_path: Path, retries: int
) -> None:
    name = f"fails-{retries}"
    url, arn = _queue(cloud, name)
    witness = tmp_path / "attempts"
    source = (
        "def handle(event, context):\n"
        f"    open({str(witness)!r}, 'a').write(context.aws_request_id + '\\n')\n"
        "    raise ValueError('no')\n"
    )
    function_arn = make_function(cloud, name, source)
    cloud.client("lambda").put_function_event_invoke_config(
        FunctionName=name, MaximumRetryAttempts=retries, DestinationConfig={"OnFailure": {"Destination": arn}}
    )
    answer = cloud.client("lambda").invoke(
        FunctionName=name, InvocationType="Event", Payload=b'{"kept": true}'
    )
    kept = json.loads(_message(cloud, url)["Body"])
    requests = witness.read_text().split()
    assert len(requests) == 1 + retries
    assert set(requests) == {answer["ResponseMetadata"]["RequestId"]}, "retries too have it, as on AWS"
    assert kept["requestPayload"] == {"kept": True}
    assert kept["requestContext"] == {
        "requestId": requests[0],
        "functionArn": f"{function_arn}:$LATEST",
        "condition": "RetriesExhausted",
        "approximateInvokeCount": 1 + retries,
    }
    assert kept["responsePayload"]["errorMessage"] == "no"
    assert kept["responseContext"]["functionError"] == "Unhandled"


def test_a_dead_letter_queue_gets_the_event_alone(cloud: CloudUnderTest) -> None:
    url, arn = _queue(cloud, "dead-letters")
    source = "def handle(event, context):\n    raise ValueError('no')\n"
    make_function(cloud, "dies", source, DeadLetterConfig={"TargetArn": arn})
    cloud.client("lambda").put_function_event_invoke_config(FunctionName="dies", MaximumRetryAttempts=0)
    cloud.client("lambda").invoke(FunctionName="dies", InvocationType="Event", Payload=b'{"kept": true}')
    message = _message(cloud, url)
    assert json.loads(message["Body"]) == {"kept": True}
    assert message["MessageAttributes"]["ErrorMessage"]["StringValue"] == "no"


def _queue(cloud: CloudUnderTest, name: str) -> tuple[str, str]:
    sqs = cloud.client("sqs")
    url = sqs.create_queue(QueueName=name)["QueueUrl"]
    return url, sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]


def _message(cloud: CloudUnderTest, url: str) -> Any:
    sqs = cloud.client("sqs")
    (message,) = until(
        lambda: sqs.receive_message(QueueUrl=url, WaitTimeSeconds=2, MessageAttributeNames=["All"]).get(
            "Messages"
        ),
        within_s=30,
    )
    return message


@pytest.mark.parametrize("folder", ["words and more", "a+b", "ü/ñ", "100%", "a&b=c", "plain"])
def test_a_folder_of_any_name_can_trigger_a_function(cloud: CloudUnderTest, folder: str) -> None:
    """Its name stands URL-encoded in the filter, as S3 wants it and the constructs write it."""
    bucket = f"folder-{hashlib.sha256(folder.encode()).hexdigest()[:12]}"
    s3 = cloud.client("s3")
    s3.create_bucket(Bucket=bucket)
    arn = make_function(cloud, bucket, COPY, Timeout=60)
    (filter_,) = key_filters(StorageEntry(bucket, folder))
    assert filter_ is not None
    notify(cloud, bucket, {str(filter_.prefix): arn})
    for key in ("elsewhere/x", f"{quote_plus(folder)}-/x", f"{folder}x", f"{folder}/x"):
        s3.put_object(Bucket=bucket, Key=key, Body=b"")
    until(lambda: keys(cloud, bucket, f"{bucket}/"), within_s=60)
    assert keys(cloud, bucket, f"{bucket}/") == [f"{bucket}/{folder}/x"]


def test_waiting_events_survive_a_restart(shell: Shell, tmp_path: Path) -> None:
    shell.json("local", "start", "--parallel", "1")
    witness = tmp_path / "done"
    source = (
        "import time\n"
        "def handle(event, context):\n"
        "    time.sleep(0.2)\n"
        f"    open({str(witness)!r}, 'a').write(event + '\\n')\n"
    )
    function = shell.client("lambda")
    function.create_function(
        FunctionName="slow", Runtime="python3.13", Role=any_role(shell), Handler="index.handle", Timeout=60,
        Code={"ZipFile": zipped(index__py=source)},
    )  # fmt: skip
    for number in range(20):
        function.invoke(FunctionName="slow", InvocationType="Event", Payload=json.dumps(str(number)).encode())
    until(witness.exists)
    shell.scar("local", "stop")
    assert len(set(witness.read_text().split())) < 20
    shell.json("local", "start")
    until(lambda: set(witness.read_text().split()), lambda done: done == {str(n) for n in range(20)})


def test_what_a_function_starts_cannot_speak_for_it(cloud: CloudUnderTest) -> None:
    """A program's standard output goes to the log; it is not taken for the function's answer."""
    source = (
        "import subprocess\n"
        "def handle(event, context):\n"
        '    subprocess.run(["echo", \'{"status": "ok", "result": "forged"}\'])\n'
        '    return {"read": subprocess.run(["cat"], capture_output=True, text=True).stdout}\n'
    )
    make_function(cloud, "speaks", source, Timeout=10)
    answer = cloud.client("lambda").invoke(FunctionName="speaks", Payload=b"{}")
    assert json.loads(answer["Payload"].read()) == {"read": ""}
    events = cloud.client("logs").filter_log_events(logGroupName="/aws/lambda/speaks")["events"]
    assert any("forged" in event["message"] for event in events)
