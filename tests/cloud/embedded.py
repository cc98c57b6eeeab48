"""What the tests of the embedded cloud share: the `scar local` command, functions, queues, and patience."""

from __future__ import annotations

import base64
import io
import json
import os
import subprocess
import sys
import time
import uuid
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Protocol

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from local_cloud.cloud import Cloud, Running
from tests import oci_images
from tests.examples import busybox_image

SCAR = [sys.executable, "-m", "scar_cli"]


@dataclass(frozen=True)
class CloudUnderTest:
    """A running embedded cloud, and how to talk to it."""

    cloud: Cloud
    running: Running

    @property
    def endpoint(self) -> str:
        """URL of every service."""
        return self.running.endpoint

    def client(self, service: str) -> Any:
        """A boto3 client of the cloud, whatever this process's own environment says."""
        return _client(service, self.running)

    def environment(self) -> dict[str, str]:
        """The environment of a process that is to talk to the cloud, such as the CDK CLI."""
        ours = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        journals = {"XDG_STATE_HOME": str(self.cloud.state.with_name("xdg-state"))}
        return {**ours, **journals, **self.running.environment()}


@cache
def _client(service: str, running: Running) -> Any:
    """One for all calls: tests that wait ask often, and a client takes longer to create than to use."""
    environment = running.environment()
    return boto3.client(
        service,
        endpoint_url=running.endpoint,
        region_name=running.region,
        aws_access_key_id=environment["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=environment["AWS_SECRET_ACCESS_KEY"],
        config=Config(
            signature_version="s3v4" if service == "s3" else None,  # of presigned URLs
            retries={"max_attempts": 10, "mode": "standard"},
            read_timeout=300,
            proxies={},
        ),
    )


class Shell:
    """The `scar local` command on a state folder of its own; every process that it starts bears a mark."""

    def __init__(self, state: Path) -> None:
        self.state = state
        self.mark = f"SCAR_TEST_MARK={uuid.uuid4().hex}"

    @property
    def visible_state(self) -> Path:
        """Path of the state folder for this process."""
        return self.state

    def scar(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        name, _equals, value = self.mark.partition("=")
        environment = {**os.environ, name: value, "SCAR_LOCAL_STATE": str(self.state)}
        return subprocess.run(
            [*SCAR, *arguments], env=environment, capture_output=True, text=True, timeout=120, check=False
        )

    def json(self, *arguments: str) -> dict[str, Any]:
        done = self.scar(*arguments, "--json")
        answer: dict[str, Any] = json.loads(done.stdout)
        return answer

    def running(self) -> dict[str, Any]:
        """Process ids of the cloud that runs, among others."""
        running: dict[str, Any] = json.loads((self.state / "running.json").read_text())
        return running

    def client(self, service: str) -> Any:
        """A boto3 client of the cloud that runs now."""
        running = Cloud(self.visible_state).running()
        assert running is not None
        return _client(service, running)

    def processes(self) -> list[int]:
        """Every process that carries the mark."""
        found = []
        for folder in Path("/proc").iterdir():
            if folder.name.isdigit():
                try:
                    environment = (folder / "environ").read_bytes()
                except OSError:
                    continue
                if self.mark.encode() in environment.split(b"\0"):
                    found.append(int(folder.name))
        return found


def until(probe: Callable[[], Any], wanted: Callable[[Any], bool] = bool, within_s: float = 30.0) -> Any:
    """Ask again until the answer is as wanted: often at first, then less often, as each question takes time
    that what is waited for needs."""
    deadline, pause_s = time.monotonic() + within_s, 0.05
    while not wanted(answer := probe()):
        assert time.monotonic() < deadline, f"still {answer!r} after {within_s:g} s"
        time.sleep(pause_s)
        pause_s = min(pause_s * 1.2, 0.25)
    return answer


def has_ended(process: int) -> bool:
    """Whether a process is no more than a zombie."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except OSError:
        return True


@contextmanager
def ended(processes: Sequence[subprocess.Popen[str]]) -> Iterator[None]:
    """Kill those that still run at the end of the block: a test that fails leaves none behind."""
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


def zipped(**files: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, text in files.items():
            archive.writestr(name.replace("__", "."), text)
    return buffer.getvalue()


class Clients(Protocol):
    """What has clients of a cloud."""

    def client(self, service: str) -> Any: ...


def any_role(cloud: Clients) -> str:
    """The role of functions whose rights do not matter to a test: it has all."""
    try:
        return str(cloud.client("iam").get_role(RoleName="any")["Role"]["Arn"])
    except ClientError:
        return make_role(cloud, "any", [{"Effect": "Allow", "Action": "*", "Resource": "*"}])


def make_role(cloud: Clients, name: str, statements: list[dict[str, Any]]) -> str:
    """A role for functions and jobs: its ARN."""
    services = ["lambda.amazonaws.com", "ecs-tasks.amazonaws.com"]
    trust = [{"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"Service": services}}]
    iam = cloud.client("iam")
    policy = {"Version": "2012-10-17", "Statement": statements}
    role = iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps({**policy, "Statement": trust}))
    if statements:
        iam.put_role_policy(RoleName=name, PolicyName="rights", PolicyDocument=json.dumps(policy))
    return str(role["Role"]["Arn"])


def make_function(cloud: CloudUnderTest, name: str, source: str, **settings: Any) -> str:
    created = cloud.client("lambda").create_function(
        FunctionName=name,
        Runtime="python3.13",
        Role=any_role(cloud),
        Handler="index.handle",
        Code={"ZipFile": zipped(index__py=source)},
        **settings,
    )
    return str(created["FunctionArn"])


def job_image(cloud: Clients) -> str:
    """The name of busybox in the cloud's ECR, where it is pushed to if it is missing."""
    image, ecr = busybox_image(), cloud.client("ecr")
    if not image.layers:
        pytest.skip("busybox-static is not installed")
    for repository in ecr.describe_repositories()["repositories"]:
        if repository["repositoryName"] == "busybox":
            return f"{repository['repositoryUri']}:1"
    repository = ecr.create_repository(repositoryName="busybox")["repository"]
    login = ecr.get_authorization_token()["authorizationData"][0]
    token = base64.b64decode(login["authorizationToken"]).decode()
    oci_images.push(login["proxyEndpoint"].replace("://", f"://{token}@"), "busybox", "1", image)
    return f"{repository['repositoryUri']}:1"


def make_queue(cloud: Clients, command: list[str], **definition: Any) -> tuple[str, str]:
    """A job queue and a job definition: their ARNs. The image is busybox unless `definition` names one."""
    batch, container = cloud.client("batch"), definition.pop("containerProperties", {})
    name = f"test-{uuid.uuid4().hex[:8]}"
    environment = batch.create_compute_environment(
        computeEnvironmentName=name,
        type="MANAGED",
        computeResources={"type": "FARGATE", "maxvCpus": 2, "subnets": ["subnet-1"]},
    )
    queue = batch.create_job_queue(
        jobQueueName=name,
        priority=1,
        computeEnvironmentOrder=[{"order": 1, "computeEnvironment": environment["computeEnvironmentArn"]}],
    )
    properties = {
        "image": container.get("image") or job_image(cloud),
        "command": command,
        "environment": [{"name": "GIVEN", "value": "by the definition"}],
        "resourceRequirements": [{"type": "VCPU", "value": "1"}, {"type": "MEMORY", "value": "512"}],
        **container,
    }
    registered = batch.register_job_definition(
        jobDefinitionName=name, type="container", containerProperties=properties, **definition
    )
    return queue["jobQueueArn"], registered["jobDefinitionArn"]


def queue_for_rules(cloud: Clients, name: str) -> tuple[str, str]:
    """A new queue to which EventBridge may send: its URL and ARN."""
    sqs = cloud.client("sqs")
    url = sqs.create_queue(QueueName=name)["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    principal = {"Service": "events.amazonaws.com"}
    allowed = {"Effect": "Allow", "Principal": principal, "Action": "sqs:SendMessage", "Resource": arn}
    policy = {"Version": "2012-10-17", "Statement": [allowed]}
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": json.dumps(policy)})
    return url, arn


def finished(cloud: CloudUnderTest, job_id: str) -> Any:
    def describe() -> Any:
        return cloud.client("batch").describe_jobs(jobs=[job_id])["jobs"][0]

    return until(describe, lambda job: job["status"] in ("SUCCEEDED", "FAILED"), within_s=90)


def log_of(cloud: CloudUnderTest, job: Any) -> list[str]:
    options = (job["container"].get("logConfiguration") or {}).get("options", {})
    events = cloud.client("logs").get_log_events(
        logGroupName=options.get("awslogs-group", "/aws/batch/job"),
        logStreamName=job["container"]["logStreamName"],
        startFromHead=True,
    )
    return [event["message"] for event in events["events"]]


def notify(cloud: CloudUnderTest, bucket: str, functions: dict[str, str]) -> None:
    cloud.client("s3").put_bucket_notification_configuration(
        Bucket=bucket,
        NotificationConfiguration={
            "LambdaFunctionConfigurations": [
                {
                    "LambdaFunctionArn": arn,
                    "Events": ["s3:ObjectCreated:*"],
                    "Filter": {"Key": {"FilterRules": [{"Name": "prefix", "Value": prefix}]}},
                }
                for prefix, arn in functions.items()
            ]
        },
    )


def keys(cloud: CloudUnderTest, bucket: str, prefix: str) -> list[str]:
    pages = cloud.client("s3").get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
    return [entry["Key"] for page in pages for entry in page.get("Contents", [])]
