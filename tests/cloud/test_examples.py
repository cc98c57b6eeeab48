"""The examples, deployed as they stand and run for real, with images of the same names that are made here.

Each is a stack of its own; one deployment makes all of them, since most of its time is that of starting the
CDK. Every function has the rights of its own role and no more. What an example needs beside AWS (a MinIO, a
WebDAV server, a public data set) is run by the tests.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import sys
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import boto3
import pytest

from local_cloud.cloud import Cloud
from tests import examples, oci_images
from tests.cloud.cdk_cli import Cdk
from tests.cloud.embedded import CloudUnderTest, keys, until
from tests.synth.s3_server import S3Server, running_s3_server
from tests.unit.runtime.storage.servers import LOGIN, PASSWORD, Running, webdav_server

pytestmark = pytest.mark.cloud

DEPLOYED = [
    "filters",
    "http-endpoint",
    "image-file",
    "lambda-batch",
    "several-providers",
    "shared-input",
    "single-function",
    "sns-fed",
    "vpc-efs",
]
TEXT = b"The cat and the dog. And, THE end\n"


@dataclass(frozen=True)
class Examples:
    """All examples that can run on the embedded cloud, deployed there."""

    cloud: CloudUnderTest
    lab: S3Server
    office: Running

    def put(self, bucket: str, key: str, body: bytes = TEXT) -> None:
        self.cloud.client("s3").put_object(Bucket=bucket, Key=key, Body=body)

    def results(self, bucket: str, *expected: str, within_s: float = 120) -> list[bytes]:
        """What these keys hold, once all of them are there."""
        s3 = self.cloud.client("s3")
        until(
            lambda: set(expected) - set(keys(self.cloud, bucket, "")), lambda missing: not missing, within_s
        )
        return [s3.get_object(Bucket=bucket, Key=key)["Body"].read() for key in expected]

    def summaries(self, group: str) -> list[dict[str, Any]]:
        """The runner's last words on each run."""
        pages = self.cloud.client("logs").get_paginator("filter_log_events").paginate(logGroupName=group)
        lines = [event["message"].strip() for page in pages for event in page["events"]]
        records = [json.loads(line) for line in lines if line.startswith("{")]
        return [record for record in records if record.get("message") == "summary"]

    def call(
        self, body: bytes | None = None, query: str = "", headers: Mapping[str, str] | None = None
    ) -> Answer:
        """GET, or POST a body to, the HTTP endpoint, at the address that it has on the embedded cloud."""
        (stack,) = self.cloud.client("cloudformation").describe_stacks(StackName="http-endpoint")["Stacks"]
        (output,) = [o["OutputValue"] for o in stack["Outputs"] if o["OutputKey"] == "ScarWorkflow"]
        (function,) = json.loads(output)["functions"]
        address = urllib.parse.urlsplit(function["api_url"])
        assert address.hostname is not None
        api = address.hostname.partition(".execute-api.")[0]
        url = f"{self.cloud.endpoint}/_aws/execute-api/{api}{address.path}{query}"
        request = urllib.request.Request(url, data=body, headers=dict(headers or {}))
        try:
            with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request) as response:
                return Answer(response.status, response.headers["Content-Type"], response.read().decode())
        except urllib.error.HTTPError as error:
            with error:
                return Answer(error.code, error.headers["Content-Type"], error.read().decode())


@dataclass(frozen=True)
class Answer:
    """Of the HTTP endpoint."""

    status: int
    content_type: str
    text: str


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CloudUnderTest]:
    """One for the examples alone."""
    embedded = Cloud(tmp_path_factory.mktemp("cloud"))
    running = embedded.start(tied=True)
    yield CloudUnderTest(embedded, running)
    embedded.stop()


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with running_s3_server(tmp_path_factory.mktemp("lab")) as server:
        server.client().create_bucket(Bucket="deliveries")
        yield server


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with webdav_server(tmp_path_factory.mktemp("office")) as server:
        yield server


@pytest.fixture(scope="module")
def deployed(
    cloud: CloudUnderTest, lab: S3Server, office: Running, tmp_path_factory: pytest.TempPathFactory
) -> Examples:
    if not examples.busybox_layers():
        pytest.skip("a static busybox is needed (Debian: apt install busybox-static)")
    folder = tmp_path_factory.mktemp("examples")
    oci_images.write_layout(folder / "docker.io" / "library" / "busybox", {"1.37": examples.busybox_image()})
    oci_images.write_layout(folder / "docker.io" / "ncbi" / "blast", {"latest": examples.busybox_image()})
    for name in DEPLOYED:
        copy = examples.copied(name, folder / "fdl")
        if name == "several-providers":
            # Its servers are on loopback here, which image functions of the embedded cloud do not reach.
            file = examples.fdl_of(copy)
            file.write_text(
                file.read_text().replace("    container:", "    runtime: python3.13\n      container:")
            )
    public_data_set(cloud)
    cloud.client("secretsmanager").create_secret(
        Name="scar-examples/office-webdav", SecretString=json.dumps({"login": LOGIN, "password": PASSWORD})
    )
    variables = {
        **examples.VARIABLES,
        "LAB_MINIO_ENDPOINT": lab.endpoint,
        "OFFICE_WEBDAV": office.url,
    }
    Cdk({**cloud.environment(), **variables}, folder / "cdk.out")(
        "deploy",
        folder / "fdl",
        *("--app", f"{sys.executable} -m tests.cloud.examples_app", "--all", "--concurrency", "4"),
        registry_mirrors=f"docker.io=file://{folder / 'docker.io'}",
    )
    return Examples(cloud, lab, office)


PUBLIC_BUCKET = "noaa-goes19"
TOPIC = "arn:aws:sns:us-east-1:123901341784:NewGOES19Object"


def owner(cloud: CloudUnderTest, service: str) -> Any:
    """A client of the account that the topic belongs to: the emulator takes its number for an access key."""
    account = TOPIC.split(":")[4]
    return boto3.client(
        service,
        endpoint_url=cloud.endpoint,
        region_name="us-east-1",
        aws_access_key_id=account,
        aws_secret_access_key=cloud.running.credentials.secret_access_key,
    )


def public_data_set(cloud: CloudUnderTest) -> None:
    """A bucket that all may read and a topic that all may subscribe to, in somebody else's account."""

    def everybody(action: str, resource: str) -> str:
        statement = {"Effect": "Allow", "Principal": "*", "Action": action, "Resource": resource}
        return json.dumps({"Version": "2012-10-17", "Statement": [statement]})

    sns, s3 = owner(cloud, "sns"), owner(cloud, "s3")
    assert sns.create_topic(Name=TOPIC.rpartition(":")[2])["TopicArn"] == TOPIC
    sns.set_topic_attributes(
        TopicArn=TOPIC, AttributeName="Policy", AttributeValue=everybody("sns:Subscribe", TOPIC)
    )
    s3.create_bucket(Bucket=PUBLIC_BUCKET)
    s3.delete_public_access_block(Bucket=PUBLIC_BUCKET)
    policy = everybody("s3:GetObject", f"arn:aws:s3:::{PUBLIC_BUCKET}/*")
    s3.put_bucket_policy(Bucket=PUBLIC_BUCKET, Policy=policy)


def test_single_function(deployed: Examples) -> None:
    deployed.put("scar-words", "texts/cats and dogs.txt")
    (counts,) = deployed.results("scar-words", "counts/cats and dogs.txt.words")
    assert [line.split() for line in counts.decode().splitlines()] == [
        ["3", "the"],
        ["2", "and"],
        ["1", "cat"],
        ["1", "dog"],
        ["1", "end"],
    ]


def test_filters(deployed: Examples) -> None:
    table = b"10:00,20.5\n10:01,broken\n"
    deployed.put("scar-measurements", "incoming/probe-1.csv", table)
    deployed.put("scar-measurements", "incoming/sensor-1.txt", table)
    deployed.put("scar-measurements", "incoming/sensor-1.csv", table)
    deployed.put("scar-measurements", "by-hand/ann.csv", table)
    expected = {
        "good/good-sensor-1.csv": b"10:00,20.5\n",
        "good/good-ann.csv": b"10:00,20.5\n",
        "bad/bad-sensor-1.csv": b"10:01,broken\n",
        "bad/bad-ann.csv": b"10:01,broken\n",
        "archive/good-sensor-1.csv": b"10:00,20.5\n",
        "archive/good-ann.csv": b"10:00,20.5\n",
        "archive/bad-sensor-1.csv": b"10:01,broken\n",
        "archive/bad-ann.csv": b"10:01,broken\n",
        "archive/summary-sensor-1.csv.txt": b"1 good, 1 bad\n",
        "archive/summary-ann.csv.txt": b"1 good, 1 bad\n",
    }
    assert deployed.results("scar-measurements", *expected) == list(expected.values())
    results = [
        key
        for key in keys(deployed.cloud, "scar-measurements", "")
        if not key.startswith(("incoming/", "by-hand/")) and not key.endswith("/")
    ]
    assert sorted(results) == sorted(expected)


def test_shared_input(deployed: Examples) -> None:
    deployed.put("scar-shared", "incoming/letter.txt")
    packed, checksum = deployed.results(
        "scar-shared", "compressed/letter.txt.gz", "checksums/letter.txt.sha256"
    )
    assert gzip.decompress(packed) == TEXT
    assert checksum.decode().split() == [hashlib.sha256(TEXT).hexdigest(), "letter.txt"]


def test_http_endpoint(deployed: Examples) -> None:
    expected = {"bytes": len(TEXT), "md5": hashlib.md5(TEXT).hexdigest()}
    assert deployed.call().text.startswith("POST a file here.")
    answer = deployed.call(TEXT, "?algorithm=md5")
    assert (answer.status, answer.content_type, json.loads(answer.text)) == (
        200,
        "application/json",
        expected,
    )
    accepted = deployed.call(TEXT, "?algorithm=md5", {"X-Amz-Invocation-Type": "Event"})
    assert accepted.status == 202
    request_id = json.loads(accepted.text)["request_id"]
    (result,) = deployed.results("scar-checksums", f"answers/{request_id}.json")
    assert json.loads(result) == expected
    refused = deployed.call(TEXT, "?algorithm=rot13")
    assert (refused.status, json.loads(refused.text)["error"]) == (500, "ScriptFailed")


def test_lambda_batch(deployed: Examples) -> None:
    deployed.put("scar-crunch", "orders/long", b"11\n")
    deployed.put("scar-crunch", "orders/short", b"1\n")
    assert deployed.results("scar-crunch", "results/short.done", "results/long.done") == [
        b"1 steps\n",
        b"11 steps\n",
    ]
    until(lambda: deployed.summaries("/aws/batch/crunch"))
    assert [summary["status"] for summary in deployed.summaries("/aws/batch/crunch")] == ["done"]
    in_lambda = {summary["status"] for summary in deployed.summaries("/aws/lambda/crunch")}
    assert in_lambda == {"done", "delegated"}


def test_image_file(deployed: Examples) -> None:
    deployed.put("scar-letters", "plain/letter.txt", b"Veni, vidi, vici\n")
    assert deployed.results("scar-letters", "shifted/letter.txt") == [b"Yhql, ylgl, ylfl\n"]


def test_several_providers(deployed: Examples) -> None:
    deployed.put("scar-deliveries", "incoming/letter.txt")
    packed, report = deployed.results("scar-deliveries", "done/letter.txt.gz", "done/letter.txt.txt")
    assert gzip.decompress(packed) == TEXT
    assert hashlib.sha256(TEXT).hexdigest() in report.decode()
    # The bucket of the function's own account is the first of the outputs: the others may come later.
    lab = deployed.lab.client()

    def in_the_lab() -> list[str]:
        return [entry["Key"] for entry in lab.list_objects_v2(Bucket="deliveries").get("Contents", [])]

    assert until(in_the_lab) == ["packed/letter.txt.gz"]
    assert lab.get_object(Bucket="deliveries", Key="packed/letter.txt.gz")["Body"].read() == packed
    assert until(deployed.office.watch.files) == {"reports/deliveries/letter.txt.txt": report}


def test_sns_fed(deployed: Examples) -> None:
    def publish(key: str) -> None:
        record = {
            "eventVersion": "2.1",
            "eventSource": "aws:s3",
            "awsRegion": "us-east-1",
            "eventTime": "2026-01-02T03:04:05.678Z",
            "eventName": "ObjectCreated:Put",
            "s3": {
                "s3SchemaVersion": "1.0",
                "bucket": {"name": PUBLIC_BUCKET, "arn": f"arn:aws:s3:::{PUBLIC_BUCKET}"},
                "object": {"key": key, "size": len(TEXT)},
            },
        }
        sns.publish(
            TopicArn=TOPIC, Subject="Amazon S3 Notification", Message=json.dumps({"Records": [record]})
        )

    sns, s3 = owner(deployed.cloud, "sns"), owner(deployed.cloud, "s3")
    name = "OR_ABI-L2-LSTF-M6_G19_s20260020300.nc"
    wanted = f"ABI-L2-LSTF/2026/002/03/{name}"
    s3.put_object(Bucket=PUBLIC_BUCKET, Key=wanted, Body=TEXT)
    publish("ABI-L1b-RadF/2026/002/03/OR_ABI-L1b-RadF-M6C01_G19.nc")  # which is not there
    publish(wanted)
    (description,) = deployed.results("scar-satellite", f"descriptions/{name}.json")
    assert json.loads(description) == {
        "key": wanted,
        "bytes": len(TEXT),
        "sha256": hashlib.sha256(TEXT).hexdigest(),
    }
    summaries = deployed.summaries("/aws/lambda/new-satellite-files")
    assert [summary["status"] for summary in summaries] == ["done"]


def test_vpc_efs_is_deployed_though_there_is_no_file_system(deployed: Examples) -> None:
    (stack,) = deployed.cloud.client("cloudformation").describe_stacks(StackName="vpc-efs")["Stacks"]
    assert stack["StackStatus"] == "CREATE_COMPLETE"


def test_all_examples_are_deployed_but_for_the_one_that_has_tests_of_its_own() -> None:
    assert sorted([*DEPLOYED, "video-process"]) == examples.names()
