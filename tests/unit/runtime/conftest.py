"""A real S3 on loopback, what an API of Batch was sent, and a function with an image that runs.

The emulator and the image are made once for all tests of this folder; each test has a bucket of its own.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from containers import aws
from runtime import handler
from runtime.config import FunctionConfig, StorageFolder
from tests import oci_images


@pytest.fixture(scope="session")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The endpoint of an emulated AWS that ends with the tests."""
    with emulator(tmp_path_factory.mktemp("cloud")) as endpoint:
        yield endpoint


@contextmanager
def emulator(folder: Path, **settings: str) -> Iterator[str]:
    """An emulated AWS on a free port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    environment |= {"GATEWAY_PORT": str(port), "BIND_HOST": "127.0.0.1", "HOME": str(folder), **settings}
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
        return [json.loads(line) for line in lines if line.startswith('{"scar": 1, "time"')]

    return read


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of OCI layouts, to be a mirror of docker.io, and a store where they stay unpacked."""
    folder = tmp_path_factory.mktemp("images")
    oci_images.write_layout(
        folder / "mirror/test/shell",
        {
            "latest": oci_images.Image(
                [oci_images.host_shell_layer()],
                {
                    "Env": ["PATH=/usr/bin:/bin", "FROM_IMAGE=image", "BOTH=image"],
                    "Entrypoint": ["/bin/echo", "entry"],
                    "Cmd": ["command"],
                    "WorkingDir": "/tmp",
                },
            ),
            "worker": oci_images.Image(
                [oci_images.host_shell_layer()], {"Env": ["PATH=/usr/bin:/bin"], "User": "worker"}
            ),
        },
    )
    return folder


@dataclass
class Context:
    """Lambda's context object."""

    aws_request_id: str = "request-1"
    remaining_ms: int = 60_000

    def get_remaining_time_in_millis(self) -> int:
        return self.remaining_ms


@dataclass
class Function:
    """A deployed function: `deploy` writes what a template would, `invoke` does what Lambda would."""

    folder: Path
    bucket: Bucket
    store: Path
    settings: dict[str, Any] = field(default_factory=dict)

    def deploy(self, script: str | bytes | None = None, **settings: Any) -> None:
        self.settings = {
            "version": 1,
            "name": "shrink",
            "execution_mode": "lambda",
            "log_level": "INFO",
            "timeout_s": 60,
            "timeout_threshold_s": 5,
            "init_script": None if script is None else "init_script",
            "image": "test/shell",
            "container_environment": {},
            "inputs": [
                {"provider": "s3", "bucket": self.bucket.name, "folder": "in", "prefixes": [], "suffixes": []}
            ],
            "outputs": [
                {
                    "provider": "s3",
                    "bucket": self.bucket.name,
                    "folder": "out",
                    "prefixes": [],
                    "suffixes": [],
                }
            ],
            "batch": None,
            **settings,
        }
        self.folder.mkdir(exist_ok=True)
        if script is not None:
            content = script if isinstance(script, bytes) else script.encode()
            (self.folder / "init_script").write_bytes(content)
        (self.folder / "function_config.json").write_text(json.dumps(self.settings))

    def invoke(self, event: object, *, remaining_ms: int = 60_000) -> Any:
        answer = handler.handle(event, Context(remaining_ms=remaining_ms))
        return json.loads(json.dumps(answer))  # as Lambda hands it on

    def leftovers(self) -> list[str]:
        """What invocations left on the disk."""
        return [path.name for path in (self.store / "run").iterdir() if path.name != ".lock"]


@pytest.fixture
def function(
    bucket: Bucket,
    images: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Function:
    monkeypatch.setenv("SCAR_STORE", str(images / "store"))
    monkeypatch.setenv("SCAR_REGISTRY_MIRRORS", f"docker.io=file://{images}/mirror")
    monkeypatch.setenv("LAMBDA_TASK_ROOT", str(tmp_path / "function"))
    return Function(tmp_path / "function", bucket, images / "store")


@dataclass
class BatchApi:
    """What was submitted."""

    requests: list[dict[str, Any]] = field(default_factory=list)
    refuse: bool = False

    def environment(self) -> dict[str, str]:
        """Of the last job."""
        return {
            entry["name"]: entry["value"] for entry in self.requests[-1]["containerOverrides"]["environment"]
        }


@pytest.fixture
def batch_api(aws_environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[BatchApi]:
    """An endpoint that takes SubmitJob as AWS Batch does; the emulator's own forgets what a job was given."""
    api = BatchApi()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            api.requests.append(request)
            name = request.get("jobName", "")
            answer = (
                {"message": "no"} if api.refuse else {"jobId": f"job-{len(api.requests)}", "jobName": name}
            )
            content = json.dumps(answer).encode()
            self.send_response(400 if api.refuse else 200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    monkeypatch.setenv("AWS_ENDPOINT_URL_BATCH", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("SCAR_JOB_QUEUE", "arn:aws:batch:us-east-1:1:job-queue/q")
    monkeypatch.setenv("SCAR_JOB_DEFINITION", "arn:aws:batch:us-east-1:1:job-definition/d:1")
    yield api
    server.shutdown()
    thread.join()
    server.server_close()
