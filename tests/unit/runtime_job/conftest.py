"""A real S3 and a real Batch API on loopback (the emulator, once for all tests of this folder), and a function."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from runtime import aws
from runtime.config import FunctionConfig, StorageFolder


@pytest.fixture(scope="session")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The endpoint of an emulated AWS that ends with the tests."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    folder = tmp_path_factory.mktemp("cloud")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    environment |= {"GATEWAY_PORT": str(port), "BIND_HOST": "127.0.0.1", "HOME": str(folder)}
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "ministack"],
            cwd=folder,
            env=environment,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    endpoint = f"http://127.0.0.1:{port}"
    try:
        until = time.monotonic() + 60
        while not _is_up(endpoint):
            assert process.poll() is None, (folder / "log").read_text()
            assert time.monotonic() < until, "the emulator did not start"
            time.sleep(0.05)
        yield endpoint
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _is_up(endpoint: str) -> bool:
    try:
        with urllib.request.urlopen(f"{endpoint}/_ministack/health", timeout=5):
            return True
    except (urllib.error.URLError, OSError):
        return False


@pytest.fixture
def aws_environment(cloud: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, str]:
    """The runner's environment is pointed at the emulator, for this test."""
    for name in [name for name in os.environ if name.startswith(("AWS_", "SCAR_", "CONT_VAR_"))]:
        monkeypatch.delenv(name)
    variables = {
        "AWS_ENDPOINT_URL": cloud,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
        "SCAR_STORE": str(tmp_path / "store"),
    }
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    return variables


@dataclass
class Bucket:
    """One bucket of this test alone."""

    name: str
    client: Any

    def put(self, key: str, content: bytes = b"content") -> str:
        self.client.put_object(Bucket=self.name, Key=key, Body=content)
        return key

    def get(self, key: str) -> bytes:
        content: bytes = self.client.get_object(Bucket=self.name, Key=key)["Body"].read()
        return content

    def content_type(self, key: str) -> str:
        return str(self.client.head_object(Bucket=self.name, Key=key)["ContentType"])

    def keys(self, prefix: str = "") -> list[str]:
        found = self.client.list_objects_v2(Bucket=self.name, Prefix=prefix)
        return [entry["Key"] for entry in found.get("Contents", [])]


@pytest.fixture
def bucket(aws_environment: dict[str, str]) -> Bucket:
    made = Bucket(f"bucket-{uuid.uuid4().hex}", aws.client("s3"))
    made.client.create_bucket(Bucket=made.name)
    return made


@pytest.fixture
def config() -> FunctionConfig:
    """A function that reads bucket/in and writes bucket/out, where nothing else matters."""
    return FunctionConfig(
        name="f",
        execution_mode="lambda",
        log_level="INFO",
        timeout_s=60,
        timeout_threshold_s=5,
        init_script=None,
        extra_payload=None,
        image="x",
        container_environment={},
        inputs=(StorageFolder("s3", "bucket", "in"),),
        outputs=(StorageFolder("s3", "bucket", "out"),),
        batch=None,
    )


@pytest.fixture
def log_lines(capsys: pytest.CaptureFixture[str]) -> Callable[[], list[dict[str, Any]]]:
    """The JSON lines that were written since the last call."""

    def read() -> list[dict[str, Any]]:
        lines = capsys.readouterr().out.splitlines()
        return [json.loads(line) for line in lines if line.startswith('{"time"')]

    return read
