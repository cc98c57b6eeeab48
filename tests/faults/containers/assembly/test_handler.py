"""The custom resource `Custom::ScarAssembledImage`: what it takes from AWS, and how it answers
CloudFormation."""

from __future__ import annotations

import base64
import importlib.util
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from containers import asking, aws
from tests.faults.containers.assembly.images import SHELL
from tests.faults.containers.assembly.world import World, image_of, package
from tests.oci_images import docker_save
from tests.registry_server import Answer, Request, ScriptedServer, real_registry

PASSWORD = b"correct horse"
BCRYPT = "$2b$04$6G0/kD0HsI8pLe8cVT3gSu14tyXcUhQuGGLZZB8vTC06EBNqYzysa"
HANDLER = Path(__file__).parents[4] / "scar_constructs/handlers/assembler/index.py"


@pytest.fixture(scope="module")
def index() -> ModuleType:
    spec = importlib.util.spec_from_file_location("assembler_handler_index", HANDLER)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def ecr(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A registry that lets in whoever has the password of GetAuthorizationToken."""
    with real_registry(tmp_path_factory.mktemp("ecr"), htpasswd=f"AWS:{BCRYPT}\n") as address:
        yield address


@dataclass
class Aws:
    """Just those calls of AWS that the handler makes; what was answered and handed over is kept."""

    registry: str
    objects: dict[str, bytes] = field(default_factory=dict)
    answers: list[dict[str, Any]] = field(default_factory=list)
    handed_over: list[dict[str, Any]] = field(default_factory=list)
    functions: dict[str, tuple[int, dict[str, Any]]] = field(default_factory=dict)
    """Status and body of GetFunctionConfiguration, by name."""
    refuse_answers: int = 0
    address: str = ""

    def answer(self, request: Request) -> Answer:
        if request.path == "/answer":
            if self.refuse_answers:
                self.refuse_answers -= 1
                return Answer(503)
            self.answers.append(json.loads(request.body))
            return Answer()
        if "GetAuthorizationToken" in request.headers.get("X-Amz-Target", ""):
            token = base64.b64encode(b"AWS:" + PASSWORD).decode()
            data = [{"authorizationToken": token, "proxyEndpoint": self.registry}]
            return Answer(body=json.dumps({"authorizationData": data}).encode())
        if request.path.endswith("/configuration"):
            missing = 404, {"__type": "ResourceNotFoundException", "Message": "Function not found"}
            status, body = self.functions.get(request.path.split("/")[-2], missing)
            headers = {"X-Amzn-ErrorType": body.get("__type", "")}
            return Answer(status, json.dumps(body).encode(), headers)
        if "/invocations" in request.path:
            assert request.headers["X-Amz-Invocation-Type"] == "Event"
            self.handed_over.append(json.loads(request.body))
            return Answer(202)
        return self._object(request)

    def _object(self, request: Request) -> Answer:
        if "closed" in request.path:
            return Answer(403)
        content = self.objects.get(request.path)
        if content is None:
            return Answer(404)
        headers = {"ETag": '"1"', "Content-Length": str(len(content))}
        if given := request.headers.get("Range"):
            first, last = (int(number) for number in given.removeprefix("bytes=").split("-"))
            part = content[first : last + 1]
            headers |= {
                "Content-Range": f"bytes {first}-{last}/{len(content)}",
                "Content-Length": str(len(part)),
            }
            return Answer(206, part, headers)
        return Answer(200, content, headers)


@pytest.fixture
def cloud(ecr: str, monkeypatch: pytest.MonkeyPatch, index: ModuleType, world: World) -> Iterator[Aws]:
    given = Aws(ecr)
    monkeypatch.setattr(index, "this_runner", lambda _cache: world.runner)
    with ScriptedServer(given.answer) as server:
        given.address = server.address
        for name, value in {
            "AWS_ENDPOINT_URL": server.address,
            "AWS_REGION": "us-east-1",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
        }.items():
            monkeypatch.setenv(name, value)
        aws._client.cache_clear()
        given.objects["/assets/package.zip"] = package().getvalue()
        yield given
    asking.this_process_is(asking.FUNCTION)


class Context:
    invoked_function_arn = "arn:aws:lambda:us-east-1:000000000000:function:assembler"

    def __init__(self, seconds: float = 900) -> None:
        self._seconds = seconds

    def get_remaining_time_in_millis(self) -> int:
        return int(self._seconds * 1000)


def event(cloud: Aws, world: World, kind: str = "Create", **properties: str) -> dict[str, Any]:
    machine = {"amd64": "x86_64", "arm64": "arm64"}[_architecture()]
    given = {
        "FunctionName": "resize",
        "RepositoryName": world.name,
        "RepositoryUri": f"registry.example.org/{world.name}",
        "Architecture": machine,
        "Package": "s3://assets/package.zip",
        **properties,
    }
    return {
        "RequestType": kind,
        "ResponseURL": f"{cloud.address}/answer",
        "StackId": "stack",
        "RequestId": "request",
        "LogicalResourceId": "Image",
        "ResourceProperties": given,
    }


def _architecture() -> str:
    from containers.image.manifests import host_architecture

    return host_architecture()


def test_image_of_a_registry_is_assembled_and_its_address_answered(
    index: ModuleType, cloud: Aws, world: World
) -> None:
    source = world.push(image_of(SHELL, architecture=_architecture()))
    index.handler(event(cloud, world, Image=world.reference), Context())
    (answer,) = cloud.answers
    assert answer["Status"] == "SUCCESS", answer
    data = answer["Data"]
    assert data["ImageUri"] == f"registry.example.org/{world.name}@{data['Digest']}"
    assert data["SourceDigest"] == source
    assert answer["PhysicalResourceId"] == f"{world.name}/resize"
    assert index._target(world.name).find_manifest(data["Digest"]) is not None


def test_archive_in_s3_is_assembled(index: ModuleType, cloud: Aws, world: World, tmp_path: Path) -> None:
    path = docker_save(tmp_path / "image.tar", image_of(SHELL, architecture=_architecture()))
    cloud.objects["/assets/image.tar"] = path.read_bytes()
    index.handler(event(cloud, world, "Update", Archive="s3://assets/image.tar"), Context())
    assert cloud.answers[0]["Status"] == "SUCCESS", cloud.answers


def test_a_run_without_time_hands_over_and_answers_nothing(
    index: ModuleType, cloud: Aws, world: World
) -> None:
    world.push(image_of(SHELL, architecture=_architecture()))
    asked = event(cloud, world, Image=world.reference)
    index.handler(asked, Context(seconds=30))
    assert not cloud.answers
    (next_event,) = cloud.handed_over
    assert next_event == {**asked, "ScarRun": 2}
    index.handler(next_event, Context())
    assert [answer["Status"] for answer in cloud.answers] == ["SUCCESS"]


def test_the_last_run_says_that_time_was_not_enough(index: ModuleType, cloud: Aws, world: World) -> None:
    world.push(image_of(SHELL, architecture=_architecture()))
    asked = event(cloud, world, Image=world.reference)
    index.handler({**asked, "ScarRun": index.MAXIMUM_RUNS}, Context(seconds=30))
    assert not cloud.handed_over
    (answer,) = cloud.answers
    assert answer["Status"] == "FAILED"
    assert "not finished within an hour" in answer["Reason"]


@pytest.mark.parametrize(
    ("properties", "told"),
    [
        ({"Image": "127.0.0.1:1/nothing:1"}, "cannot be reached"),
        ({"Image": "127.0.0.1:1/nothing:1"}, "the assembler is outside your VPC"),
        ({"Archive": "s3://assets/closed.tar"}, "Check that the assembler's role may read it"),
        ({"Image": "Not A Name"}, "is not a valid image name"),
        ({"Archive": "s3://assets/missing.tar"}, "s3://assets/missing.tar does not exist"),
        ({"Package": "s3://assets/missing.zip"}, "s3://assets/missing.zip does not exist"),
        ({}, "no image was given"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_answered_in_one_message(
    index: ModuleType,
    cloud: Aws,
    world: World,
    *,
    properties: dict[str, str],
    told: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("containers.patience.ServerPatience.pause_s", lambda *_: 0.0)
    index.handler(event(cloud, world, **properties), Context())
    (answer,) = cloud.answers
    assert answer["Status"] == "FAILED"
    assert answer["Reason"].startswith("image of function resize: ")
    assert told in answer["Reason"]
    assert "Traceback" not in answer["Reason"]


def test_a_zip_function_of_that_name_is_reported_before_anything_is_moved(
    index: ModuleType, cloud: Aws, world: World
) -> None:
    world.push(image_of(SHELL, architecture=_architecture()))
    cloud.functions["resize"] = 200, {"FunctionName": "resize", "PackageType": "Zip"}
    index.handler(event(cloud, world, Image=world.reference, PackageType="Image"), Context())
    (answer,) = cloud.answers
    assert answer["Status"] == "FAILED"
    assert "resize is deployed as a zip function" in answer["Reason"]
    for remedy in ("scar rm -n resize", "another name", "`runtime: python3.13`"):
        assert remedy in answer["Reason"]
    assert not world.tags()


@pytest.mark.parametrize(
    "found",
    [
        (200, {"FunctionName": "resize", "PackageType": "Image"}),
        (403, {"__type": "AccessDeniedException", "Message": "not yet"}),
    ],
)
def test_an_image_function_of_that_name_or_one_that_cannot_be_seen_is_no_obstacle(
    index: ModuleType, cloud: Aws, world: World, found: tuple[int, dict[str, Any]]
) -> None:
    world.push(image_of(SHELL, architecture=_architecture()))
    cloud.functions["resize"] = found
    index.handler(event(cloud, world, Image=world.reference, PackageType="Image"), Context())
    assert cloud.answers[0]["Status"] == "SUCCESS", cloud.answers


def test_a_zip_function_that_only_submits_jobs_is_no_obstacle(
    index: ModuleType, cloud: Aws, world: World
) -> None:
    world.push(image_of(SHELL, architecture=_architecture()))
    cloud.functions["resize"] = 200, {"FunctionName": "resize", "PackageType": "Zip"}
    index.handler(event(cloud, world, Image=world.reference, PackageType="Zip"), Context())
    assert cloud.answers[0]["Status"] == "SUCCESS", cloud.answers


def test_delete_removes_nothing_and_keeps_the_name(index: ModuleType, cloud: Aws, world: World) -> None:
    asked = {**event(cloud, world, "Delete"), "PhysicalResourceId": "before"}
    index.handler(asked, Context())
    assert [(a["Status"], a["PhysicalResourceId"]) for a in cloud.answers] == [("SUCCESS", "before")]


def test_an_answer_that_gets_lost_is_given_again(
    index: ModuleType, cloud: Aws, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []
    cloud.refuse_answers = 2
    index._respond(f"{cloud.address}/answer", {"Status": "SUCCESS"}, pause=waits.append)
    assert len(cloud.answers) == 1
    assert waits == [1.0, 3.0]
