"""Lambda of the embedded cloud: asynchronous events are never lost, workers keep to themselves."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cloud.embedded import ROLE, CloudUnderTest, Shell, keys, make_function, notify, until, zipped

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


def test_an_event_that_always_fails_is_tried_three_times_and_then_kept(
    cloud: CloudUnderTest, tmp_path: Path
) -> None:
    sqs = cloud.client("sqs")
    url = sqs.create_queue(QueueName="kept-events")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    witness = tmp_path / "attempts"
    source = (
        "def handle(event, context):\n"
        f"    open({str(witness)!r}, 'a').write('x')\n"
        "    raise ValueError('no')\n"
    )
    make_function(cloud, "fails", source)
    cloud.client("lambda").put_function_event_invoke_config(
        FunctionName="fails", MaximumRetryAttempts=2, DestinationConfig={"OnFailure": {"Destination": arn}}
    )
    cloud.client("lambda").invoke(FunctionName="fails", InvocationType="Event", Payload=b'{"kept": true}')
    messages = until(
        lambda: sqs.receive_message(QueueUrl=url, WaitTimeSeconds=5).get("Messages"), within_s=30
    )
    assert json.loads(messages[0]["Body"])["requestPayload"] == {"kept": True}
    assert witness.read_text() == "xxx"


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
        FunctionName="slow", Runtime="python3.13", Role=ROLE, Handler="index.handle", Timeout=60,
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
