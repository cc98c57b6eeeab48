"""The roles of a workflow: enough for the work, and for nothing else.

A file goes through a Lambda function and a Batch job that hold nothing but the roles that the template gives
them. Then a probe runs in each of those roles and tries what it must not do.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest

from local_cloud.cloud import Cloud
from tests import oci_images
from tests.cloud.deployments import deploy
from tests.cloud.embedded import CloudUnderTest, finished, job_image, keys, log_of, make_queue, until, zipped
from tests.registry_server import REGISTRY_PROGRAM, real_registry

pytestmark = pytest.mark.cloud

BUCKET = "guarded-files"
OTHER = "someone-elses"

DEPLOYER = "arn:aws:iam::000000000000:role/cdk-hnb659fds-deploy-role-000000000000-us-east-1"

FDL = f"""functions:
  aws:
    - lambda:
        name: guarded-copy
        init_script: copy.sh
        container: {{image: scar/tools:1}}
        input: [{{storage_provider: s3, path: {BUCKET}/in}}]
        output: [{{storage_provider: s3, path: {BUCKET}/mid}}]
    - lambda:
        name: guarded-job
        init_script: copy.sh
        execution_mode: batch
        container: {{image: scar/tools:1}}
        input: [{{storage_provider: s3, path: {BUCKET}/mid}}]
        output: [{{storage_provider: s3, path: {BUCKET}/out}}]
"""

COPY = """#!/bin/sh
case "$INPUT_FILE_PATH" in */fails*) echo as it was told; exit 7 ;; esac
cp -- "$INPUT_FILE_PATH" "$TMP_OUTPUT_DIR/"
"""

PROBE = """
import json
import boto3
from botocore.exceptions import ClientError, NoCredentialsError

def attempt(service, call, wanted):
    try:
        getattr(boto3.client(service), call)(**wanted)
    except ClientError as error:
        return error.response["Error"]["Code"]
    return "allowed"

def attempts(wanted):
    try:
        who = boto3.client("sts").get_caller_identity()["Arn"].split("/")[1]
    except NoCredentialsError:
        return {"error": "NoCredentialsError"}
    return {"role": who, "answers": [attempt(*one) for one in wanted]}

def handle(event, context):
    return attempts(event)
"""

DENIED = {"AccessDenied", "AccessDeniedException", "403"}
Attempt = tuple[str, str, dict[str, Any]]


@dataclass(frozen=True)
class Guarded:
    """The deployed workflow."""

    cloud: CloudUnderTest
    roles: dict[str, str]
    """ARN by a part of the logical id: `guardedcopyRole`, `guardedjobBatchJobRole`, …"""

    def role(self, part: str) -> str:
        (found,) = [arn for name, arn in self.roles.items() if part in name]
        return found


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    layer = oci_images.busybox_layer()
    if REGISTRY_PROGRAM is None or layer is None:
        pytest.skip("a registry server and a static busybox are needed (see tests/tools.sh)")
    folder = tmp_path_factory.mktemp("guarded")
    embedded = Cloud(folder / "cloud")
    with real_registry(tmp_path_factory.mktemp("registry")) as registry:
        oci_images.push(registry, "scar/tools", "1", oci_images.Image([layer]))
        (folder / "copy.sh").write_text(COPY)
        (folder / "guarded.yaml").write_text(FDL)
        try:
            cloud = CloudUnderTest(embedded, embedded.start(tied=True))
            deploy(
                cloud,
                folder / "cdk.out",
                fdl=str(folder / "guarded.yaml"),
                registry_mirrors=f"docker.io={registry}",
            )
            yield Guarded(cloud, _roles(cloud))
        finally:
            embedded.stop()


def _roles(cloud: CloudUnderTest) -> dict[str, str]:
    pages = cloud.client("cloudformation").get_paginator("list_stack_resources").paginate(StackName="guarded")
    return {
        entry["LogicalResourceId"]: f"arn:aws:iam::000000000000:role/{entry['PhysicalResourceId']}"
        for page in pages
        for entry in page["StackResourceSummaries"]
        if entry["ResourceType"] == "AWS::IAM::Role"
    }


def in_function(guarded: Guarded, role: str, wanted: list[Attempt]) -> dict[str, Any]:
    """What the attempts give in a Lambda function that has the role."""
    lambda_ = guarded.cloud.client("lambda")
    name = "probe-" + role.rpartition("/")[2][-40:]
    lambda_.create_function(
        FunctionName=name,
        Runtime="python3.13",
        Role=role,
        Handler="index.handle",
        Code={"ZipFile": zipped(index__py=PROBE)},
        Timeout=60,
    )
    answer = json.loads(lambda_.invoke(FunctionName=name, Payload=json.dumps(wanted))["Payload"].read())
    assert isinstance(answer, dict)
    return answer


def in_job(guarded: Guarded, role: str | None, wanted: list[Attempt]) -> dict[str, Any]:
    """What the attempts give with the credentials of a Batch job that has the role, on the workflow's own
    queue."""
    batch = guarded.cloud.client("batch")
    (queue,) = batch.describe_job_queues()["jobQueues"]
    definition = batch.register_job_definition(
        jobDefinitionName="probe",
        type="container",
        containerProperties={
            "image": job_image(guarded.cloud),
            "command": ["sh", "-c", "env; echo ready; exec sleep 300"],
            "resourceRequirements": [{"type": "VCPU", "value": "1"}, {"type": "MEMORY", "value": "512"}],
            **({"jobRoleArn": role} if role else {}),
        },
    )
    job_id = batch.submit_job(
        jobName="probe", jobQueue=queue["jobQueueArn"], jobDefinition=definition["jobDefinitionArn"]
    )["jobId"]

    def printed() -> list[str]:
        (job,) = batch.describe_jobs(jobs=[job_id])["jobs"]
        return log_of(guarded.cloud, job) if "logStreamName" in job["container"] else []

    # The address of its credentials is valid as long as it runs.
    *lines, _ready = until(printed, lambda lines: "ready" in lines)
    script = f"{PROBE}\nprint(json.dumps(attempts(json.loads({json.dumps(wanted)!r}))))"
    environment = dict(line.split("=", 1) for line in lines)
    try:
        probed = subprocess.run(
            [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True
        )
    finally:
        batch.terminate_job(jobId=job_id, reason="The test has seen its credentials")
        finished(guarded.cloud, job_id)
    answer = json.loads(probed.stdout)
    assert isinstance(answer, dict)
    return answer


def get(key: str, bucket: str = BUCKET) -> Attempt:
    return "s3", "get_object", {"Bucket": bucket, "Key": key}


def put(key: str, bucket: str = BUCKET) -> Attempt:
    return "s3", "put_object", {"Bucket": bucket, "Key": key}


FORBIDDEN_TO_ALL: list[Attempt] = [
    put("mid-elsewhere/x"),
    put("x"),
    get("x"),
    get("in/x", OTHER),
    put("mid/x", OTHER),
    ("s3", "list_buckets", {}),
    ("s3", "list_objects_v2", {"Bucket": BUCKET}),
    ("s3", "list_objects_v2", {"Bucket": OTHER}),
    ("s3", "delete_object", {"Bucket": BUCKET, "Key": "mid/x"}),
    ("s3", "get_bucket_policy", {"Bucket": BUCKET}),
    ("s3", "put_bucket_notification_configuration", {"Bucket": BUCKET, "NotificationConfiguration": {}}),
    ("s3", "create_bucket", {"Bucket": "of-my-own"}),
    ("lambda", "list_functions", {}),
    ("lambda", "invoke", {"FunctionName": "guarded-copy", "Payload": "{}"}),
    ("iam", "list_roles", {}),
    ("sqs", "list_queues", {}),
    ("logs", "describe_log_groups", {}),
    ("cloudformation", "delete_stack", {"StackName": "guarded"}),
    ("secretsmanager", "list_secrets", {}),
    ("sts", "assume_role", {"RoleArn": DEPLOYER, "RoleSessionName": "intruder"}),
]


@pytest.fixture(scope="module")
def other_files(guarded: Guarded) -> None:
    s3 = guarded.cloud.client("s3")
    s3.create_bucket(Bucket=OTHER)
    s3.put_object(Bucket=OTHER, Key="in/x", Body=b"")
    for key in ("x", "in/x.probe", "mid/x.probe", "out/x"):  # empty, so that nothing runs for them
        s3.put_object(Bucket=BUCKET, Key=key, Body=b"")


def test_a_file_goes_through_both_functions_on_their_own_roles(guarded: Guarded) -> None:
    s3 = guarded.cloud.client("s3")
    s3.put_object(Bucket=BUCKET, Key="in/a b+ü.txt", Body=b"through all of it")
    until(lambda: "out/a b+ü.txt" in keys(guarded.cloud, BUCKET, "out/"), within_s=60)
    assert s3.get_object(Bucket=BUCKET, Key="out/a b+ü.txt")["Body"].read() == b"through all of it"


def test_what_fails_for_good_reaches_the_failure_queues(guarded: Guarded) -> None:
    """They too ask for TLS, and take messages from those alone who are named."""
    failing = {"in/fails": "guardedcopy", "mid/fails": "guardedjob"}
    sqs = guarded.cloud.client("sqs")
    for key in failing:
        guarded.cloud.client("s3").put_object(Bucket=BUCKET, Key=key, Body=b"x")
    for key, function in failing.items():
        (url,) = [url for url in sqs.list_queues()["QueueUrls"] if f"{function}FailureQueue" in url]
        (message,) = until(partial(_messages, sqs, url), within_s=60)
        assert key in message["Body"]


def _messages(sqs: Any, url: str) -> Any:
    return sqs.receive_message(QueueUrl=url, WaitTimeSeconds=1).get("Messages")


def outcomes(answer: dict[str, Any], role: str, allowed: list[Attempt], forbidden: list[Attempt]) -> None:
    """The probe ran in that very role; what it may do worked, and everything else was refused."""
    assert answer["role"] == role.rpartition("/")[2]
    assert answer["answers"][: len(allowed)] == ["allowed"] * len(allowed)
    refused = answer["answers"][len(allowed) :]
    assert [one for one, said in zip(forbidden, refused, strict=True) if said not in DENIED] == []


@pytest.mark.usefixtures("other_files")
def test_a_function_reads_its_input_writes_its_output_and_nothing_else(guarded: Guarded) -> None:
    role = guarded.role("guardedcopyRole")
    allowed = [get("in/x.probe"), put("mid/folder/"), put("mid//twice/")]
    forbidden = [get("mid/x"), get("out/x"), put("in/x"), put("out/x"), put("mid"), *FORBIDDEN_TO_ALL]
    outcomes(in_function(guarded, role, allowed + forbidden), role, allowed, forbidden)


@pytest.mark.usefixtures("other_files")
def test_a_job_reads_its_input_writes_its_output_and_nothing_else(guarded: Guarded) -> None:
    role = guarded.role("guardedjobBatchJobRole")
    allowed = [get("mid/x.probe"), put("out/folder/")]
    forbidden = [get("in/x.probe"), get("out/x"), put("mid/x"), put("in/x"), *FORBIDDEN_TO_ALL]
    forbidden.append(("batch", "submit_job", {"jobName": "x", "jobQueue": "x", "jobDefinition": "x"}))
    outcomes(in_job(guarded, role, allowed + forbidden), role, allowed, forbidden)


def test_a_job_without_a_role_has_no_credentials_at_all(guarded: Guarded) -> None:
    said = in_job(guarded, None, [("s3", "list_buckets", {})])
    assert said == {"error": "NoCredentialsError"}


@pytest.mark.usefixtures("other_files")
def test_what_submits_the_jobs_may_submit_this_job_to_this_queue_alone(guarded: Guarded) -> None:
    role = guarded.role("guardedjobRole")
    batch = guarded.cloud.client("batch")
    (queue,) = [entry["jobQueueArn"] for entry in batch.describe_job_queues()["jobQueues"]]
    definition = next(
        entry["jobDefinitionArn"]
        for entry in batch.describe_job_definitions(status="ACTIVE")["jobDefinitions"]
        if entry["jobDefinitionName"] != "probe"
    )
    other_queue, other_definition = make_queue(guarded.cloud, ["true"])

    def submit(to: str, what: str) -> Attempt:
        override = {"command": ["true"]}
        wanted = {"jobName": "x", "jobQueue": to, "jobDefinition": what, "containerOverrides": override}
        return "batch", "submit_job", wanted

    allowed = [submit(queue, definition), submit(queue.rpartition("/")[2], definition.rpartition("/")[2])]
    forbidden = [
        submit(other_queue, definition),
        submit(queue, other_definition),
        submit(other_queue, other_definition),
        get("mid/x.probe"),
        put("out/x"),
        ("batch", "terminate_job", {"jobId": "any", "reason": "mischief"}),
        ("batch", "list_jobs", {"jobQueue": queue}),
        *FORBIDDEN_TO_ALL,
    ]
    try:
        outcomes(in_function(guarded, role, allowed + forbidden), role, allowed, forbidden)
    finally:
        batch.delete_job_queue(jobQueue=other_queue)


@pytest.mark.usefixtures("other_files")
def test_what_makes_the_folders_may_make_them_alone(guarded: Guarded) -> None:
    assert {"in/", "mid/", "out/"} <= set(keys(guarded.cloud, BUCKET, ""))
    role = guarded.role("BucketFoldersProviderRole")
    allowed = [put("in/"), put("out/")]
    forbidden = [put("in"), put("in/x"), put("in//"), get("in/x.probe"), get("in/", OTHER), put("in/", OTHER)]
    outcomes(in_function(guarded, role, allowed + forbidden), role, allowed, forbidden)


def test_the_buckets_of_the_workflow_still_ask_for_tls(guarded: Guarded) -> None:
    """Else the way over plain HTTP on loopback, which counts as secure there, was never tried."""
    policy = guarded.cloud.client("s3").get_bucket_policy(Bucket=BUCKET)["Policy"]
    assert any(
        statement["Effect"] == "Deny" and statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
        for statement in json.loads(policy)["Statement"]
        if "Condition" in statement
    )
