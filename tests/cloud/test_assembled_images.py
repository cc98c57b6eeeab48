"""Assembled images from deployment to deployment: what is moved, what is asked, and what a kill does."""

from __future__ import annotations

import json
import os
import signal
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.cloud.cdk_cli import Cdk
from tests.cloud.embedded import CloudUnderTest, until
from tests.examples import busybox_image
from tests.oci_images import File, Image, push, tar_of
from tests.registry_server import REGISTRY_PROGRAM, Answer, Request, ScriptedServer, real_registry

pytestmark = [pytest.mark.cloud, pytest.mark.skipif(REGISTRY_PROGRAM is None, reason="needs docker-registry")]

STACK = "assembled"
FDL = """functions:
  aws:
  - lambda:
      name: assembled-hello
      timeout: 60
      init_script: hello.sh
      container: {image: "library/hello:1"}
"""
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@dataclass
class Source:
    """A docker-registry behind a proxy that lists requests; `hold` makes it wait before each answer."""

    registry: str
    asked: list[str] = field(default_factory=list)
    go_on: threading.Event = field(default_factory=threading.Event)

    def answer(self, request: Request) -> Answer:
        self.asked.append(request.path)
        self.go_on.wait(30)
        headers = {name: value for name, value in request.headers.items() if name in ("Accept", "Range")}
        asked = urllib.request.Request(self.registry + request.path, headers=headers, method=request.method)
        try:
            with _OPENER.open(asked, timeout=30) as given:
                return Answer(given.status, given.read(), dict(given.headers.items()))
        except urllib.error.HTTPError as error:
            with error:
                return Answer(error.code, error.read(), dict(error.headers.items()))


@dataclass
class Deploying:
    cloud: CloudUnderTest
    folder: Path
    source: Source
    mirror: str

    def cdk(self, verb: str, *arguments: str, check: bool = True, **context: str) -> str:
        run = Cdk(self.cloud.environment(), self.folder / "cdk.out")
        mirrors = {"registry_mirrors": f"docker.io={self.mirror}"}
        file = self.folder / f"{STACK}.yaml"
        return run(verb, file, *arguments, check=check, **mirrors, **context).stdout_and_stderr

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

    def statuses(self) -> dict[str, str]:
        stacks = self.cloud.client("cloudformation").list_stacks()["StackSummaries"]
        return {entry["StackName"]: entry["StackStatus"] for entry in stacks}

    def repositories(self) -> list[str]:
        """Those that are not of the bootstrap stack."""
        found = self.cloud.client("ecr").describe_repositories()["repositories"]
        return [one["repositoryName"] for one in found if not one["repositoryName"].startswith("cdk-")]


@pytest.fixture
def deploying(cloud: CloudUnderTest, tmp_path: Path) -> Iterator[Deploying]:
    (tmp_path / "registry").mkdir()
    with real_registry(tmp_path / "registry") as registry:
        source = Source(registry)
        source.go_on.set()
        with ScriptedServer(source.answer) as server:
            (tmp_path / f"{STACK}.yaml").write_text(FDL)
            deploying = Deploying(cloud, tmp_path, source, server.address)
            deploying.script("echo one")
            deploying.push(File("version", b"1"))
            yield deploying
            source.go_on.set()


@pytest.mark.timeout(600)
def test_a_changed_script_moves_little_and_asks_no_registry(deploying: Deploying) -> None:
    deploying.cdk("deploy")
    assert deploying.source.asked
    assert "one" in deploying.says()
    assert "\nThere were no differences" in deploying.cdk("diff")

    before = deploying.stored_bytes()
    assert before > 5 << 20, "the runner's layer is in it"
    deploying.source.asked.clear()
    deploying.push(File("version", b"2"))
    deploying.script("cat /version; echo two")
    deploying.cdk("deploy")
    assert "1two" in deploying.says().replace("\\n", "").replace("\n", "")
    assert deploying.source.asked == []
    assert deploying.stored_bytes() - before < 1 << 20

    deploying.cdk("deploy", refresh_images="now")
    assert deploying.source.asked
    assert "2two" in deploying.says().replace("\\n", "").replace("\n", "")

    deploying.cdk("destroy", refresh_images="now")
    assert STACK not in {name for name, status in deploying.statuses().items() if status != "DELETE_COMPLETE"}
    assert deploying.repositories() == []


@pytest.mark.timeout(600)
def test_an_assembler_that_is_killed_goes_on(deploying: Deploying) -> None:
    deploying.source.go_on.clear()
    ended: list[str] = []
    deployment = threading.Thread(target=lambda: ended.append(deploying.cdk("deploy")))
    deployment.start()
    until(lambda: deploying.source.asked, within_s=120)
    victims = deploying.assemblers()
    for process in victims:
        os.kill(process, signal.SIGKILL)
    deploying.source.go_on.set()
    deployment.join()
    assert victims
    assert ended
    assert "one" in deploying.says()
    deploying.cdk("destroy")
    assert deploying.repositories() == []
