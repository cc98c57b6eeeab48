"""Thirty invocations in a row, and eight at once, of the packaged runner on the embedded cloud.

Nothing is left of any of them: no process, no mount, no file, no descriptor."""

from __future__ import annotations

import io
import json
import os
import shutil
import uuid
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from local_cloud.cloud import Cloud
from scar_constructs.functions.runner_asset import build_runner
from tests.cloud.embedded import CloudUnderTest, any_role, keys, until
from tests.function_configs import function_config
from tests.oci_images import Image, busybox_layer, write_layout

pytestmark = [
    pytest.mark.cloud,
    pytest.mark.skipif(busybox_layer() is None, reason="busybox-static is not installed"),
]

AT_ONCE = 8
UNCHANGED = 10
"""So many looks in a row that show the same: nothing is on its way."""
SECONDS = 2_000_000 + os.getpid()  # tells our processes from those of other tests
# Leaves what it can: a file in every place, and a process that does not want to end.
UNTIDY = f"""#!/bin/sh
touch /left /tmp/left "$TMP_INPUT_DIR/left"
setsid sleep {SECONDS} &
cat "$INPUT_FILE_PATH" > "$TMP_OUTPUT_DIR/${{INPUT_FILE_PATH##*/}}"
"""


@pytest.fixture(scope="module")
def wide_cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CloudUnderTest]:
    """A cloud where eight invocations run at once, whatever this machine has."""
    embedded = Cloud(Path(tmp_path_factory.mktemp("wide-cloud")))
    running = embedded.start(parallel=AT_ONCE, tied=True)
    yield CloudUnderTest(embedded, running)
    embedded.stop()


@dataclass
class Function:
    """A function on the packaged runner."""

    cloud: CloudUnderTest
    name: str
    bucket: str
    store: Path

    def invoke(self, key: str) -> None:
        """Upload an object, and wait for its event to be processed."""
        self.cloud.client("s3").put_object(Bucket=self.bucket, Key=f"in/{key}", Body=key.encode())
        self.process(self.cloud.client("lambda"), key)

    def process(self, client: Any, key: str) -> None:
        """Let the event of an object be processed."""
        record = {
            "eventSource": "aws:s3",
            "eventName": "ObjectCreated:Put",
            "awsRegion": "us-east-1",
            "s3": {"bucket": {"name": self.bucket}, "object": {"key": f"in/{key}", "size": len(key)}},
        }
        answer = client.invoke(FunctionName=self.name, Payload=json.dumps({"Records": [record]}))
        told = json.loads(answer["Payload"].read())
        assert told.get("status") == "ok", told

    def output(self, key: str) -> bytes:
        answer = self.cloud.client("s3").get_object(Bucket=self.bucket, Key=f"out/{key}")
        content: bytes = answer["Body"].read()
        return content

    def workers(self) -> list[int]:
        """The processes that run the function, and those that end them with the cloud."""
        mark = f"AWS_LAMBDA_FUNCTION_NAME={self.name}".encode()
        return [pid for pid in _processes() if mark in _read(pid, "environ").split(b"\0")]


@pytest.fixture
def function(wide_cloud: CloudUnderTest, tmp_path: Path) -> Function:
    """Deployed as a template does it: a layer, two files, a bucket."""
    name = f"untidy-{uuid.uuid4().hex[:8]}"
    layer = busybox_layer()
    assert layer is not None
    write_layout(tmp_path / "images/many/tools", {None: Image([layer])})
    build_runner(tmp_path / "layer")
    archive = shutil.make_archive(str(tmp_path / "layer"), "zip", tmp_path / "layer")
    client = wide_cloud.client("lambda")
    content = {"ZipFile": Path(archive).read_bytes()}
    version = client.publish_layer_version(LayerName=name, Content=content)["LayerVersionArn"]
    client.create_function(
        FunctionName=name,
        Runtime="python3.13",
        Role=any_role(wide_cloud),
        Handler="runtime.handler.handle",
        Code={"ZipFile": package(name)},
        Layers=[version],
        Timeout=120,
        Environment={
            "Variables": {
                "SCAR_STORE": str(tmp_path / "store"),
                "SCAR_REGISTRY_MIRRORS": f"docker.io=file://{tmp_path}/images",
            }
        },
    )
    wide_cloud.client("s3").create_bucket(Bucket=name)
    return Function(wide_cloud, name, name, tmp_path / "store")


def package(bucket: str) -> bytes:
    config = function_config("untidy", "many/tools", bucket, timeout_s=120, init_script="init_script")
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("function_config.json", json.dumps(config))
        script = zipfile.ZipInfo("init_script")
        script.external_attr = 0o100755 << 16
        archive.writestr(script, UNTIDY)
    return buffer.getvalue()


def _processes() -> list[int]:
    return [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]


def _read(pid: int, name: str) -> bytes:
    try:
        return Path(f"/proc/{pid}/{name}").read_bytes()
    except OSError:
        return b""  # it has ended meanwhile


def left_running() -> list[bytes]:
    """Processes of containers that have ended."""
    return [line for pid in _processes() if b"sleep\0%d" % SECONDS in (line := _read(pid, "cmdline"))]


def children(pid: int) -> int:
    return len(b"".join(_read(pid, f"task/{task.name}/children") for task in _tasks(pid)).split())


def _tasks(pid: int) -> list[Path]:
    return list(Path(f"/proc/{pid}/task").iterdir())


@dataclass(frozen=True)
class Traces:
    """What can be seen of the workers from outside."""

    files: frozenset[str]
    workers: dict[int, tuple[int, int, int, int]]
    """Descriptors, children, mounts, threads of each."""

    @classmethod
    def of(cls, function: Function) -> Traces:
        places = (function.store, function.cloud.cloud.state / "tmp")
        walks = (walk for place in places for walk in os.walk(place))  # in a fifth of the time of `rglob`
        return cls(
            frozenset(f"{path}/{name}" for path, folders, files in walks for name in (*folders, *files)),
            {
                pid: (
                    len(list(Path(f"/proc/{pid}/fd").iterdir())),
                    children(pid),
                    len(_read(pid, "mountinfo").splitlines()),
                    len(_tasks(pid)),
                )
                for pid in function.workers()
            },
        )


def settled(function: Function) -> Traces:
    """The traces as soon as they stay the same: what the first invocations opened may still be closing."""
    seen: list[Traces] = []

    def unchanged() -> bool:
        seen.append(Traces.of(function))
        return len(seen) >= UNCHANGED and all(one == seen[-1] for one in seen[-UNCHANGED:])

    until(unchanged)
    return seen[-1]


def folder_of_worker(path: str) -> str:
    """The folder of the worker that a file belongs to; empty: of none."""
    return next((part for part in Path(path).parts if part.startswith("ministack-lambda-")), "")


def test_thirty_in_a_row_leave_nothing(function: Function) -> None:
    for key in ("first", "second"):  # the image is pulled, connections are made
        function.invoke(key)
    before = settled(function)
    client = function.cloud.client("lambda")
    for _ in range(30):
        function.process(client, "first")
    assert settled(function) == before
    assert left_running() == []
    assert function.output("first") == b"first"


def test_eight_at_once_leave_nothing(function: Function) -> None:
    function.invoke("first")
    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(function.invoke, [f"early-{number}" for number in range(AT_ONCE)]))
        before = settled(function)
        list(pool.map(function.invoke, [f"late-{number}" for number in range(AT_ONCE)]))
    after = settled(function)
    assert len(keys(function.cloud, function.bucket, "out/")) == 1 + 2 * AT_ONCE
    assert left_running() == []
    assert set(after.workers.values()) <= set(before.workers.values())
    assert len(after.workers) >= len(before.workers) > 4
    # A worker that the second wave was given has a folder of its own.
    known = {folder_of_worker(path) for path in before.files}
    late = {path for path in after.files if folder_of_worker(path) not in known}
    assert after.files - late == before.files, (after.files - late) ^ before.files
    assert len({folder_of_worker(path) for path in late}) <= len(after.workers) - len(before.workers)
