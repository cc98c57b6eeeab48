"""Storage servers on loopback, and a Secrets Manager."""

from __future__ import annotations

import json
import shlex
import subprocess
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import boto3
import pytest

from containers import aws, aws_secrets
from runtime.storage import http
from tests.unit.runtime.conftest import (  # noqa: F401 (fixtures)
    aws_environment,
    cloud,
    emulator,
    log_lines,
)
from tests.unit.runtime.storage.places import SPACE
from tests.unit.runtime.storage.servers import Running, onedata_server, webdav_server


@pytest.fixture(scope="session")
def dav_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with webdav_server(tmp_path_factory.mktemp("dav")) as running:
        yield running


@pytest.fixture
def dav(dav_server: Running) -> Running:
    dav_server.watch.reset()
    return dav_server


@pytest.fixture(scope="session")
def cdmi_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with onedata_server(tmp_path_factory.mktemp("onedata"), SPACE) as running:
        yield running


@pytest.fixture
def onedata(cdmi_server: Running) -> Running:
    cdmi_server.watch.reset()
    return cdmi_server


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Certificate and key of 127.0.0.1, signed by itself."""
    folder = tmp_path_factory.mktemp("tls")
    subprocess.run(
        shlex.split(
            "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 "
            "-subj /CN=test -addext subjectAltName=IP:127.0.0.1 -keyout key.pem -out cert.pem"
        ),
        cwd=folder,
        check=True,
        capture_output=True,
    )
    return folder / "cert.pem", folder / "key.pem"


@pytest.fixture(autouse=True)
def no_long_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retries come soon; how long they wait is tested by itself."""
    monkeypatch.setattr("runtime.storage.http.PATIENCE", replace(http.PATIENCE, first_pause_s=0.01))


@pytest.fixture(autouse=True)
def new_execution_environment() -> None:
    """Secrets that another test has read are forgotten."""
    aws_secrets._read.clear()


@dataclass
class S3Server:
    """A server that speaks S3, checks signatures, and knows one account besides its root."""

    endpoint: str
    access_key: str
    secret_key: str
    admin: Any

    def bucket(self) -> str:
        name = f"bucket-{uuid.uuid4().hex}"
        self.admin.create_bucket(Bucket=name)
        return name

    def files(self, bucket: str) -> dict[str, bytes]:
        found = self.admin.list_objects_v2(Bucket=bucket).get("Contents", [])
        return {
            entry["Key"]: self.admin.get_object(Bucket=bucket, Key=entry["Key"])["Body"].read()
            for entry in found
        }


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """A second emulator, which checks signatures, stands for a MinIO or another account."""
    with emulator(tmp_path_factory.mktemp("s3"), AUTH="true") as endpoint:
        root = boto3.session.Session("test", "test", region_name="us-east-1")
        iam = root.client("iam", endpoint_url=endpoint)
        iam.create_user(UserName="partner")
        iam.put_user_policy(
            UserName="partner",
            PolicyName="s3",
            PolicyDocument=json.dumps(
                {
                    "Version": "2012-10-17",
                    "Statement": [
                        {"Effect": "Allow", "Action": ["s3:GetObject", "s3:PutObject"], "Resource": "*"},
                        {"Effect": "Deny", "Action": "s3:*", "Resource": "arn:aws:s3:::*/forbidden/*"},
                    ],
                }
            ),
        )
        admin = root.client("s3", endpoint_url=endpoint)
        key = iam.create_access_key(UserName="partner")["AccessKey"]
        yield S3Server(endpoint, key["AccessKeyId"], key["SecretAccessKey"], admin)


@dataclass
class Vault:
    """Secrets Manager."""

    client: Any

    def keep(self, value: object) -> str:
        """A new secret; its name. What is no text is kept as JSON."""
        name = f"scar/test-{uuid.uuid4().hex}"
        text = value if isinstance(value, str) else json.dumps(value)
        self.client.create_secret(Name=name, SecretString=text)
        return name

    def change(self, name: str, value: str) -> None:
        self.client.put_secret_value(SecretId=name, SecretString=value)

    def arn(self, name: str) -> str:
        return str(self.client.describe_secret(SecretId=name)["ARN"])


@pytest.fixture
def vault(aws_environment: dict[str, str]) -> Vault:  # noqa: F811
    return Vault(aws.client("secretsmanager"))
