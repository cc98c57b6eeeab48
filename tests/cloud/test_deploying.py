"""Deploying, previewing, deploying again and destroying with the real cdk.

What changes, what is downloaded and stored, what is kept, and what a kill does."""

from __future__ import annotations

import json
import os
import re
import signal
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.cloud.cdk_cli import Cdk
from tests.cloud.embedded import CloudUnderTest, keys, until
from tests.examples import busybox_image
from tests.oci_images import File, Image, push, tar_of
from tests.registry_server import REGISTRY_PROGRAM, Answer, Request, ScriptedServer, real_registry

pytestmark = [pytest.mark.cloud, pytest.mark.skipif(REGISTRY_PROGRAM is None, reason="needs docker-registry")]

STACK = "assembled"
BUCKET = "bucket-of-before"
OWN_BUCKET = "bucket-of-the-stack"
FDL = f"""functions:
  aws:
  - lambda:
      name: assembled-hello
      memory: 512
      timeout: 60
      init_script: hello.sh
      container: {{image: "library/hello:1"}}
      input: [{{storage_provider: s3, path: {BUCKET}/in}}]
      output: [{{storage_provider: s3, path: {OWN_BUCKET}/out}}]
"""
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@dataclass
class Source:
    """A docker-registry behind a proxy that lists requests.

    It waits for `go_on` before each answer. While `stumbles`, it refuses the first request for each manifest,
    and cuts off the first answer with each blob.
    """

    registry: str
    stumbles: bool = False
    asked: list[str] = field(default_factory=list)
    go_on: threading.Event = field(default_factory=threading.Event)

    def answer(self, request: Request) -> Answer:
        first = request.path not in self.asked
        self.asked.append(request.path)
        self.go_on.wait(30)
        if self.stumbles and first and "/manifests/" in request.path:
            return Answer(429, b"", {"Retry-After": "1"})
        headers = {name: value for name, value in request.headers.items() if name in ("Accept", "Range")}
        asked = urllib.request.Request(self.registry + request.path, headers=headers, method=request.method)
        try:
            with _OPENER.open(asked, timeout=30) as given:
                body = given.read()
                cut_at = len(body) // 2 if self.stumbles and first and "/blobs/" in request.path else None
                return Answer(given.status, body, dict(given.headers.items()), cut_at)
        except urllib.error.HTTPError as error:
            with error:
                return Answer(error.code, error.read(), dict(error.headers.items()))


@dataclass
class Deploying:
    cloud: CloudUnderTest
    folder: Path
    source: Source
    mirror: str

    @property
    def assembly(self) -> tuple[str, str]:
        """Arguments that take what the last run synthesized, which saves a synthesis."""
        return "--app", str(self.folder / "cdk.out")

    def cdk(self, verb: str, *arguments: str) -> str:
        run = Cdk(self.cloud.environment(), self.folder / "cdk.out")
        settings = {"registry_mirrors": f"docker.io={self.mirror}", "existing_buckets": BUCKET}
        file = self.folder / f"{STACK}.yaml"
        return run(verb, file, *arguments, check=True, **settings).stdout_and_stderr

    def memory(self, mib: int) -> None:
        (self.folder / f"{STACK}.yaml").write_text(FDL.replace("512", str(mib)))

    def script(self, text: str) -> None:
        (self.folder / "hello.sh").write_text(f"#!/bin/sh\n{text}\n")

    def push(self, *files: File) -> None:
        base = busybox_image()
        push(self.source.registry, "library/hello", "1", Image([*base.layers, tar_of([*files])], base.config))

    def says(self) -> str:
        """What the function's script prints."""
        answer = self.cloud.client("lambda").invoke(FunctionName="assembled-hello", Payload="{}")
        told = json.loads(answer["Payload"].read())
        assert "FunctionError" not in answer, told
        return str(told)

    def stored_bytes(self) -> int:
        """What the stack's repository holds."""
        files = (self.cloud.cloud.state / "ecr").rglob("*")
        return sum(file.stat().st_size for file in files if file.is_file())

    def assemblers(self) -> list[int]:
        """Processes of the assembler's invocations."""
        mark = b"AWS_LAMBDA_FUNCTION_NAME=" + STACK.encode()
        found = []
        for folder in Path("/proc").iterdir():
            if folder.name.isdigit():
                try:
                    variables = (folder / "environ").read_bytes().split(b"\0")
                except OSError:
                    continue
                name = next((entry for entry in variables if entry.startswith(mark)), b"")
                if b"Assembler" in name:
                    found.append(int(folder.name))
        return found

    def status(self) -> str | None:
        """Of the stack; None: there is none."""
        stacks = self.cloud.client("cloudformation").list_stacks()["StackSummaries"]
        found = (entry["StackStatus"] for entry in stacks if entry["StackName"] == STACK)
        return next((str(status) for status in found if status != "DELETE_COMPLETE"), None)

    def precious(self, bucket: str) -> bytes:
        """A file in a bucket that no deployment knows."""
        answer = self.cloud.client("s3").get_object(Bucket=bucket, Key="data/precious.txt")
        content: bytes = answer["Body"].read()
        return content

    def repositories(self) -> list[str]:
        """Those of the stack."""
        found = self.cloud.client("ecr").describe_repositories()["repositories"]
        return [one["repositoryName"] for one in found if one["repositoryName"].startswith(STACK)]


@pytest.fixture
def deploying(cloud: CloudUnderTest, tmp_path: Path) -> Iterator[Deploying]:
    (tmp_path / "registry").mkdir()
    with real_registry(tmp_path / "registry") as registry:
        source = Source(registry)
        source.go_on.set()
        with ScriptedServer(source.answer) as server:
            deploying = Deploying(cloud, tmp_path, source, server.address)
            deploying.memory(512)
            deploying.script("cat /version; echo one")
            deploying.push(File("version", b"1"))
            yield deploying
            source.go_on.set()
    for bucket in (BUCKET, OWN_BUCKET):
        empty(cloud, bucket)


def empty(cloud: CloudUnderTest, bucket: str) -> None:
    """Delete a bucket, which stacks keep."""
    s3 = cloud.client("s3")
    for key in keys(cloud, bucket, ""):
        s3.delete_object(Bucket=bucket, Key=key)
    s3.delete_bucket(Bucket=bucket)


@pytest.mark.timeout(600)
def test_life_of_a_stack(deploying: Deploying) -> None:
    """Its first assembler is killed, while the registry throttles and cuts connections. A bucket that was
    there before is used, and is afterwards as it was; one of the stack stays with its files."""
    s3 = deploying.cloud.client("s3")
    s3.create_bucket(Bucket=BUCKET)
    s3.put_object(Bucket=BUCKET, Key="data/precious.txt", Body=b"precious")
    deploying.source.stumbles = True
    deploying.source.go_on.clear()
    ended: list[str] = []
    deployment = threading.Thread(target=lambda: ended.append(deploying.cdk("deploy")))
    deployment.start()
    until(lambda: deploying.source.asked, within_s=120)
    victims = deploying.assemblers()
    for process in victims:
        with suppress(ProcessLookupError):  # it ended with the one before
            os.kill(process, signal.SIGKILL)
    deploying.source.go_on.set()
    deployment.join()
    assert victims
    assert any(deploying.source.asked.count(path) > 1 for path in deploying.source.asked if "/blobs/" in path)
    assert ended
    deploying.source.stumbles = False
    assert len(deploying.repositories()) == 1
    assert "1one" in deploying.says().replace("\\n", "").replace("\n", "")
    notifications = s3.get_bucket_notification_configuration(Bucket=BUCKET)
    assert len(notifications["LambdaFunctionConfigurations"]) == 1
    s3.put_object(Bucket=OWN_BUCKET, Key="data/precious.txt", Body=b"precious")

    deploying.memory(1024)
    changed = deploying.cdk("diff")
    lines = [line.strip(" │├└─") for line in changed.splitlines() if re.match(r"[ │├└─]*\[[~+-]]", line)]
    assert lines[0].startswith("[~] AWS::Lambda::Function ")
    assert lines[1:] == ["[~] MemorySize", "[-] 512", "[+] 1024"]

    deploying.source.asked.clear()
    deploying.push(File("version", b"2"))
    deploying.cdk("deploy", *deploying.assembly, "--parameters", "RefreshImages=now")
    assert deploying.source.asked
    assert "2one" in deploying.says().replace("\\n", "").replace("\n", "")

    stored = deploying.stored_bytes()
    assert stored > 5 << 20, "the runner's layer is in it"
    deploying.source.asked.clear()
    deploying.push(File("version", b"3"))
    deploying.script("cat /version; echo three")
    deploying.cdk("deploy")
    assert "2three" in deploying.says().replace("\\n", "").replace("\n", ""), "the image stays"
    assert deploying.source.asked == []
    assert deploying.stored_bytes() - stored < 1 << 20

    deploying.cdk("destroy", *deploying.assembly)
    assert deploying.status() is None
    assert deploying.repositories() == []
    queues = deploying.cloud.client("sqs").list_queues().get("QueueUrls", [])
    assert [url for url in queues if "FailureQueue" in url], "events of failed runs are kept"
    assert deploying.precious(BUCKET) == b"precious"
    assert deploying.precious(OWN_BUCKET) == b"precious"
    assert "LambdaFunctionConfigurations" not in s3.get_bucket_notification_configuration(Bucket=BUCKET)
