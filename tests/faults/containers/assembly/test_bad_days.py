"""Networks that break, registries that throttle, processes that are killed: the image is right, or there
is none."""

from __future__ import annotations

import random
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path

import pytest

from containers.assembly import target
from containers.errors import ExplainedError
from tests.faults.containers.assembly.bad_network import BadNetwork, Decide, Trouble
from tests.faults.containers.assembly.images import image
from tests.faults.containers.assembly.world import Stored, World
from tests.oci_images import File, digest_of, directory, tar_of

CHUNK = 64 << 10


def noise(size: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(size)


def layers(size: int = 300 << 10, count: int = 3) -> Stored:
    return image(
        tar_of([directory("bin"), directory("etc"), File("bin/sh", b"\x7fELF", 0o755)]),
        *(tar_of([File(f"data{number}", noise(size, number))]) for number in range(count)),
    )


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("containers.assembly.transfer.CHUNK_BYTES", CHUNK)


def sometimes(trouble: Trouble, method: str, part: str, every: int = 3) -> Decide:
    """Every third request of the kind. Of questions and ends of uploads the first for each path or blob, then
    every third: so that it does not depend on the order of threads whether one fails again and again."""
    lock = threading.Lock()
    seen: Counter[str] = Counter()

    def decide(_number: int, asked: str, path: str) -> Trouble | None:
        if asked != method or part not in path:
            return None
        key = path if method in ("GET", "HEAD") else path.partition("digest=")[2]
        with lock:
            seen[key] += 1
            return trouble if seen[key] % every == 1 else None

    return decide


TARGET_TROUBLES = {
    "chunks-throttled": sometimes(Trouble(429, {"Retry-After": "0"}), "PATCH", "uploads"),
    "chunks-fail": sometimes(Trouble(503), "PATCH", "uploads"),
    # After these the registry's own address of the upload is no good any more: the blob is sent anew.
    "chunks-cut": sometimes(Trouble(sent=20_000), "PATCH", "uploads", every=9),
    "chunks-cut-at-once": sometimes(Trouble(sent=0), "PATCH", "uploads"),
    "chunks-unanswered": sometimes(Trouble(received=0), "PATCH", "uploads", every=9),
    "upload-forgotten": sometimes(Trouble(404), "PATCH", "uploads", every=11),
    "starts-throttled": sometimes(Trouble(429, {"Retry-After": "0"}), "POST", "uploads", every=2),
    "starts-unanswered": sometimes(Trouble(received=0), "POST", "uploads"),
    "ends-throttled": sometimes(Trouble(429, {"Retry-After": "0"}), "PUT", "uploads"),
    "ends-unanswered": sometimes(Trouble(received=0), "PUT", "uploads", every=2),
    "ends-cut": sometimes(Trouble(sent=10), "PUT", "uploads"),
    "questions-fail": sometimes(Trouble(500), "HEAD", "blobs", every=2),
    "manifests-unanswered": sometimes(Trouble(received=0), "PUT", "manifests", every=2),
    "manifests-throttled": sometimes(Trouble(429, {"Retry-After": "0"}), "PUT", "manifests", every=2),
}


@pytest.mark.parametrize("name", TARGET_TROUBLES)
def test_a_target_that_stumbles_gets_the_whole_image(name: str, world: World) -> None:
    world.store(layers())
    with BadNetwork(world.target, TARGET_TROUBLES[name]) as network:
        world.proxy = network.address
        done = world.assemble()
    world.check(done.digest)


SOURCE_TROUBLES = {
    "blobs-cut": sometimes(Trouble(received=100_000), "GET", "blobs", every=2),
    "blobs-unanswered": sometimes(Trouble(received=0), "GET", "blobs"),
    "blobs-throttled": sometimes(Trouble(429, {"Retry-After": "0"}), "GET", "blobs"),
    "manifests-fail": sometimes(Trouble(502), "GET", "manifests", every=2),
}


@pytest.mark.parametrize("name", SOURCE_TROUBLES)
def test_a_source_that_stumbles_is_read_to_its_end(
    name: str, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("containers.patience.ServerPatience.pause_s", lambda *_: 0.01)
    world.store(layers())
    with BadNetwork(world.source, SOURCE_TROUBLES[name]) as network:
        world.source = network.address
        done = world.assemble()
    world.check(done.digest)


def test_ecrs_answers_to_chunks_are_understood(world: World) -> None:
    """201 instead of 202, and a Range that stays at the first chunk (aws/containers-roadmap 2831); here
    a chunk gets lost besides."""
    first: dict[str, str] = {}

    def like_ecr(status: int, headers: dict[str, str]) -> tuple[int, dict[str, str]]:
        upload = headers.get("Docker-Upload-Uuid", "")
        headers["Range"] = first.setdefault(upload, headers.get("Range", ""))
        return 201, headers

    def decide(number: int, method: str, _path: str) -> Trouble | None:
        if method == "PATCH":
            return Trouble(503) if number % 7 == 0 else Trouble(answered=like_ecr)
        return None

    world.store(layers())
    with BadNetwork(world.target, decide) as network:
        world.proxy = network.address
        done = world.assemble()
    world.check(done.digest)


def test_chunks_have_the_size_that_ecr_takes_and_say_where_they_belong(world: World) -> None:
    assert 5 << 20 <= target.CHUNK_BYTES <= 10 << 20
    world.store(layers(count=1))
    with BadNetwork(world.target, lambda *_: None) as network:
        world.proxy = network.address
        world.assemble()
    ranges = [tuple(map(int, given.split("-"))) for given in network.ranges]
    assert len(ranges) > 1
    assert [first for first, _ in ranges] == [0, *(last + 1 for _, last in ranges[:-1])]
    assert max(last - first for first, last in ranges) < CHUNK + (1 << 20)


@pytest.mark.parametrize("method", ["PATCH", "POST", "PUT"])
def test_a_target_that_stays_away_ends_in_one_message(method: str, world: World) -> None:
    world.store(layers(count=1))
    with BadNetwork(
        world.target, lambda _number, asked, _path: Trouble(503) if asked == method else None
    ) as network:
        world.proxy = network.address
        with pytest.raises(ExplainedError) as caught:
            world.assemble()
    assert "503" in str(caught.value)
    assert caught.value.advice
    assert not [tag for tag in world.tags() if tag.startswith(("resize-", "base-"))]


def test_a_role_without_rights_is_told_which_it_needs(world: World) -> None:
    world.store(layers(count=1))
    denied = Trouble(403)
    with BadNetwork(
        world.target, lambda _number, method, _path: denied if method == "POST" else None
    ) as network:
        world.proxy = network.address
        with pytest.raises(ExplainedError, match="ecr:InitiateLayerUpload"):
            world.assemble()


def test_wrong_bytes_are_never_put_under_a_digest(world: World) -> None:
    """The source serves other bytes than its manifest promises."""
    good, bad = tar_of([File("a", noise(200_000))]), tar_of([File("a", noise(200_000, 2))])
    stored = image(good)
    (config, layer), (_, wrong) = stored.blobs, image(bad).blobs
    lying = Stored(stored.manifest, stored.media_type, [config, layer])
    with world.lenient_source(lying) as content:
        content[digest_of(layer)] = wrong
        with pytest.raises(ExplainedError) as caught:
            world.assemble()
    assert caught.value.kind == "DigestMismatch"
    assert not [tag for tag in world.tags() if not tag.startswith("runner-")]
    assert world.repository().blob_size(digest_of(layer)) is None
    assert world.repository().blob_size(digest_of(wrong)) is None


def test_what_is_complete_is_not_moved_again_after_a_failure(world: World) -> None:
    stored = layers(count=3)
    world.store(stored)

    def no_manifest_of_the_image(_number: int, method: str, path: str) -> Trouble | None:
        return Trouble(400) if method == "PUT" and "manifests/resize-" in path else None

    with BadNetwork(world.target, no_manifest_of_the_image) as network:
        world.proxy = network.address
        with pytest.raises(ExplainedError, match="does not accept the manifest"):
            world.assemble()
        moved = network.bytes_to_registry
    assert moved > 900_000
    with BadNetwork(world.target, lambda *_: None) as network:
        world.proxy = network.address
        done = world.assemble()
    assert network.bytes_to_registry < 10_000
    assert done.bytes_read == 0
    world.check(done.digest)


def test_an_assembly_that_is_killed_again_and_again_goes_on(world: World) -> None:
    """Four times the process is killed while the registry answers its request, each time some requests
    later."""
    world.store(layers(count=4))
    chance = random.Random(7)
    moments = [chance.randrange(1, 40) for _ in range(4)]
    for moment in moments:
        killed = threading.Event()
        process: list[subprocess.Popen[str]] = []
        kill = _kill_from(moment, killed, process)
        with BadNetwork(world.target, kill) as network:
            process.append(_start(world, network.address))
            assert process[0].wait(60) in (-9, 0)
        assert not [tag for tag in world.tags() if tag.startswith("resize-")] or process[0].returncode == 0
    finished = _start(world, world.target)
    out, _ = finished.communicate(timeout=60)
    world.check(out.split()[0])


def _kill_from(moment: int, killed: threading.Event, process: list[subprocess.Popen[str]]) -> Decide:
    def kill(number: int, _method: str, _path: str) -> Trouble | None:
        if number < moment:
            return None
        if not killed.is_set():
            killed.set()
            process[0].kill()
        return Trouble(received=0)

    return kill


def test_memory_does_not_grow_with_the_layer(world: World) -> None:
    peaks = []
    for megabytes in (8, 64):
        world.tag = str(megabytes)
        block = noise(1 << 20)
        world.store(image(tar_of([File(f"data{megabytes}", block * megabytes)])))
        process = _start(world, world.target)
        out, _ = process.communicate(timeout=120)
        peaks.append(int(out.split()[1]) / 1024)
    assert peaks[1] - peaks[0] < 40, peaks


def _start(world: World, registry: str) -> subprocess.Popen[str]:
    module = "tests.faults.containers.assembly.assembly_process"
    command = [sys.executable, "-m", module, world.reference, registry, world.name, str(world.folder)]
    return subprocess.Popen(
        command, cwd=Path(__file__).parents[4], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
