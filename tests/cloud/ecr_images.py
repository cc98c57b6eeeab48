"""Images for the embedded ECR, and a runtime of a few lines of shell that does what its event says."""

from __future__ import annotations

import base64
import json
import subprocess
import tempfile
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest

from tests.cloud.embedded import CloudUnderTest, any_role
from tests.oci_images import File, Image, busybox_layer, symlink, tar_of, write_layout

_APPLETS = "wget sed base64 tail cut dd wc grep printf kill hostname stat date"
# Answers each event with the output of the shell text in its `run`, both in base64, as a string of JSON.
# Descriptor 3 is the log.
RUNTIME = """#!/bin/sh
exec 3>&1
api="http://$AWS_LAMBDA_RUNTIME_API/2018-06-01/runtime"
[ -z "$AT_START" ] || eval "$AT_START"
while :; do
  wget -q -S -O /tmp/.event "$api/invocation/next" 2>/tmp/.headers || exit 9
  id=$(sed -n 's/.*Lambda-Runtime-Aws-Request-Id: \\([^\\r]*\\)\\r*$/\\1/p' /tmp/.headers | tr -d '\\r')
  sed -n 's/.*"run": *"\\([^"]*\\)".*/\\1/p' /tmp/.event | base64 -d >/tmp/.run
  . /tmp/.run >/tmp/.output 2>&1
  { printf '"'; base64 /tmp/.output | tr -d '\\n'; printf '"'; } >/tmp/.answer
  wget -q -O /dev/null --post-file=/tmp/.answer "$api/invocation/$id/response"
done
"""


def shell_image(*files: File, runtime: str = RUNTIME, **config: object) -> Image:
    """An image of a static busybox with the runtime as its entry point."""
    layer = busybox_layer()
    if layer is None:
        pytest.skip("busybox-static is not installed")
    top = tar_of(
        [
            File("runtime", runtime.encode(), 0o755),
            *(symlink(f"bin/{name}", "busybox") for name in _APPLETS.split()),
            *files,
        ]
    )
    return Image(
        [layer, top], {"Entrypoint": ["/runtime"], "Env": ["PATH=/bin", "OF_THE_IMAGE=yes"], **config}
    )


@dataclass(frozen=True)
class Pushed:
    """An image in the embedded ECR."""

    repository: str
    uri: str
    digest: str

    @property
    def by_digest(self) -> str:
        return f"{self.uri.rpartition(':')[0]}@{self.digest}"


def login(cloud: CloudUnderTest, *credentials: str) -> tuple[str, str]:
    """The registry's address (host:port), and the password for the user AWS.

    `credentials` are an access key and its secret, other than the cloud's own.
    """
    ecr = cloud.client("ecr")
    if credentials:
        key, secret = credentials
        ecr = boto3.client(
            "ecr",
            endpoint_url=cloud.endpoint,
            region_name=cloud.running.region,
            aws_access_key_id=key,
            aws_secret_access_key=secret,
        )
    data = ecr.get_authorization_token()["authorizationData"][0]
    password = base64.b64decode(data["authorizationToken"]).decode().removeprefix("AWS:")
    return data["proxyEndpoint"].removeprefix("http://"), password


def skopeo(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["skopeo", *arguments], capture_output=True, text=True, timeout=120, check=False)


def make_repository(cloud: CloudUnderTest, **settings: Any) -> str:
    name = f"tests/{uuid.uuid4().hex[:8]}"
    cloud.client("ecr").create_repository(repositoryName=name, **settings)
    return name


def push(cloud: CloudUnderTest, image: Image, tag: str = "v1", repository: str | None = None) -> Pushed:
    """Push with skopeo; into a new repository unless one is named."""
    name = repository or make_repository(cloud)
    host, password = login(cloud)
    with tempfile.TemporaryDirectory() as folder:
        digest = write_layout(Path(folder), {tag: image})[tag]
        done = skopeo(
            *("copy", "--dest-tls-verify=false", f"--dest-creds=AWS:{password}", "--preserve-digests"),
            *(f"oci:{folder}:{tag}", f"docker://{host}/{name}:{tag}"),
        )
    assert done.returncode == 0, done.stderr
    found = cloud.client("ecr").describe_repositories(repositoryNames=[name])["repositories"][0]
    return Pushed(name, f"{found['repositoryUri']}:{tag}", digest)


@dataclass(frozen=True)
class ImageFunction:
    """A function made of the shell runtime."""

    cloud: CloudUnderTest
    name: str

    def run(self, text: str) -> str:
        """The output of a piece of shell in the function."""
        answer = self.invoke(text)
        assert "FunctionError" not in answer, answer
        return base64.b64decode(json.loads(answer["Payload"])).decode()

    def invoke(self, text: str) -> dict[str, Any]:
        """What Lambda answers; its payload is read. The log's end is in `Log`."""
        event = {"run": base64.b64encode(text.encode()).decode()}
        answer: dict[str, Any] = self.cloud.client("lambda").invoke(
            FunctionName=self.name, Payload=json.dumps(event), LogType="Tail"
        )
        answer["Payload"] = answer["Payload"].read()
        answer["Log"] = base64.b64decode(answer.get("LogResult", "")).decode()
        return answer

    def error(self, text: str) -> dict[str, Any]:
        """The error that an invocation ends with."""
        answer = self.invoke(text)
        assert "FunctionError" in answer, answer
        error: dict[str, Any] = json.loads(answer["Payload"])
        return error


def make_image_function(
    cloud: CloudUnderTest, uri: str, *, variables: Mapping[str, str] | None = None, **settings: Any
) -> ImageFunction:
    name = f"image-{uuid.uuid4().hex[:8]}"
    cloud.client("lambda").create_function(
        FunctionName=name,
        PackageType="Image",
        Code={"ImageUri": uri},
        Role=any_role(cloud),
        Environment={"Variables": dict(variables or {})},
        **{"Timeout": 20, **settings},
    )
    return ImageFunction(cloud, name)
