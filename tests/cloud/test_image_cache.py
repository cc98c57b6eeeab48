"""Images that are pulled once: a burst of processes, a claim whose holder is killed, and a deployed stack.

The registry counts; S3 is the embedded cloud's, with its conditional writes.
"""

from __future__ import annotations

import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from local_cloud.cloud import Cloud
from tests import oci_images
from tests.cloud.cdk_cli import REPOSITORY, Cdk
from tests.cloud.embedded import CloudUnderTest, keys, until
from tests.oci_images import File, Image, tar_of
from tests.unit.runtime_images.tier_world import CountingRegistry

pytestmark = pytest.mark.cloud

BURST = 16
START = """
import sys, time
from pathlib import Path
from runtime.images import ImageSource, prepare_image, s3_tier, s3_tier_claim

s3_tier_claim.LEASE_S, s3_tier.POLL_S = float(sys.argv[3]), 0.1
root = prepare_image(
    ImageSource.registry(sys.argv[1]),
    store=Path(sys.argv[2]),
    mirrors="",
    architecture="amd64",
    deadline=time.monotonic() + 120,
)
root.finish(time.monotonic() + 60)
print((root.path / "hello").read_text())
"""


@pytest.fixture
def registry() -> Iterator[CountingRegistry]:
    # More than one chunk of an upload.
    files = [File("hello", b"hello"), *(File(f"random{number}", os.urandom(1 << 20)) for number in range(12))]
    counting = CountingRegistry(Image([tar_of(files)]))
    with counting.server:
        yield counting
        counting.pause.set()


class Environments:
    """Processes that start with an empty disk each, and share a bucket."""

    def __init__(self, cloud: CloudUnderTest, registry: CountingRegistry, folder: Path) -> None:
        bucket = f"cache-{uuid.uuid4().hex[:12]}"
        cloud.client("s3").create_bucket(Bucket=bucket)
        self._environment = {**cloud.environment(), "SCAR_IMAGE_CACHE": f"s3://{bucket}"}
        self._registry, self._folder, self._count = registry, folder, 0
        self.cloud, self.bucket = cloud, bucket

    def start(self, lease_s: float = 15.0) -> subprocess.Popen[str]:
        self._count += 1
        disk = self._folder / f"disk{self._count}"
        command = [sys.executable, "-c", START, self._registry.name, str(disk), str(lease_s)]
        return subprocess.Popen(
            command, cwd=REPOSITORY, env=self._environment, stdout=subprocess.PIPE, text=True
        )

    def keys(self, prefix: str) -> list[str]:
        return keys(self.cloud, self.bucket, prefix)


@pytest.fixture
def environments(cloud: CloudUnderTest, registry: CountingRegistry, tmp_path: Path) -> Environments:
    return Environments(cloud, registry, tmp_path)


def test_a_burst_of_processes_does_one_pull(environments: Environments, registry: CountingRegistry) -> None:
    started = [environments.start() for _ in range(BURST)]
    assert [process.communicate(timeout=120)[0] for process in started] == ["hello\n"] * BURST
    assert registry.asked("GET", "blobs/") == 2  # configuration and layer
    assert registry.asked("GET", "manifests/") == 1
    assert len(environments.keys("index/")) == len(environments.keys("parts/")) == 1


def test_others_go_on_when_the_one_that_pulls_is_killed(
    environments: Environments, registry: CountingRegistry
) -> None:
    registry.pause_blobs = True
    first = environments.start(lease_s=1.0)
    until(lambda: registry.asked("GET", "blobs/") > 0)
    others = [environments.start(lease_s=1.0) for _ in range(3)]
    until(lambda: registry.asked("HEAD", "manifests/") + registry.asked("GET", "manifests/") >= 1)
    first.kill()
    first.communicate()
    registry.pause_blobs = False
    registry.pause.set()
    assert [process.communicate(timeout=120)[0] for process in others] == ["hello\n"] * 3
    # The one that was killed, and one of the others: configuration and layer of each, at most.
    assert registry.asked("GET", "blobs/") <= 4
    assert registry.asked("GET", "manifests/") == 2
    assert len(environments.keys("index/")) == 1


# -- a stack
# ----------------------------------------------------------------------------------------------------

FDL = """functions:
  aws:
    - lambda:
        name: {stack}-first
        init_script: run.sh
        environment: {{Variables: {{SCAR_STORE: {folder}/first}}}}
        container: {{image: scar/tools}}
    - lambda:
        name: {stack}-second
        init_script: run.sh
        environment: {{Variables: {{SCAR_STORE: {folder}/second}}}}
        container: {{image: scar/tools}}
"""


def test_functions_of_a_stack_pull_an_image_once_and_the_stack_takes_it_along(tmp_path: Path) -> None:
    """The functions' roles are enough for it."""
    layer = oci_images.busybox_layer()
    if layer is None:
        pytest.skip("a static busybox is needed (see tests/tools.sh)")
    stack = f"cached-{uuid.uuid4().hex[:8]}"
    (tmp_path / "run.sh").write_text("#!/bin/sh\necho it runs\n")
    fdl = tmp_path / f"{stack}.yaml"
    fdl.write_text(FDL.format(stack=stack, folder=tmp_path / "disks"))
    registry = CountingRegistry(Image([layer, tar_of([File("unique", uuid.uuid4().bytes)])]))
    embedded = Cloud(tmp_path / "cloud")
    with registry.server:
        try:
            cloud = CloudUnderTest(embedded, embedded.start(tied=True))
            cdk = Cdk(cloud.environment(), tmp_path / "cdk.out")
            mirror = f"docker.io={registry.server.address}"
            cdk("deploy", fdl, registry_mirrors=mirror)
            (bucket,) = _buckets(cloud)
            assert "it runs" in _run(cloud, f"{stack}-first")
            assert len(keys(cloud, bucket, "index/")) == 1
            pulled = registry.asked("GET")
            assert pulled > 0
            registry.status = 429
            assert "it runs" in _run(cloud, f"{stack}-second")
            assert registry.asked("GET") == pulled
            cdk("destroy", fdl, registry_mirrors=mirror)
            assert _buckets(cloud) == []
        finally:
            embedded.stop()


def _run(cloud: CloudUnderTest, function: str) -> str:
    answer: dict[str, Any] = cloud.client("lambda").invoke(FunctionName=function, Payload=b"{}")
    return str(answer["Payload"].read().decode())


def _buckets(cloud: CloudUnderTest) -> list[str]:
    found = cloud.client("s3").list_buckets()["Buckets"]
    return [one["Name"] for one in found if "imagecache" in one["Name"].lower()]
