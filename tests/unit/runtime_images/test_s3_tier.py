"""The second tier: images that one environment has pulled, for all others."""

from __future__ import annotations

import hashlib
import os
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from runtime.errors import RunnerError
from runtime.images import rootfs, s3_tier, s3_tier_bucket, s3_tier_claim, s3_tier_store, transport
from runtime.images.manifest import ImageConfig
from runtime.images.s3_signature import object_url, signed_headers
from runtime.images.s3_tier_bucket import TierBucket
from runtime.images.s3_tier_index import RECORD, WHOLE_FILE, DamagedEntry, ImageIndex, decode, encode
from runtime.images.s3_tier_pack import Packer, compressor, take_stock
from runtime.images.s3_tier_restore import restore
from runtime.images.s3_tier_upload import Upload
from tests.object_server import SMALLEST_CHUNK_BYTES, ObjectServer
from tests.oci_images import File, Image, directory, hard_link, symlink, tar_of, write_layout
from tests.unit.runtime_images.tier_world import CountingRegistry, Environments, make_old, tree_of

# (With the mount points of every container, or the unpacker makes them with the time of day.)
HELLO = Image(
    [tar_of([File("hello", b"one", 0o755), File("etc/hosts"), File("etc/resolv.conf")])],
    {"Cmd": ["/hello"], "Env": ["A=b"]},
)
OTHER = Image([tar_of([File("hello", b"two")])])


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A new process, and no long pauses."""
    monkeypatch.setattr(rootfs, "_resolved", {})
    short = transport.Patience(timeout_s=10, attempts=2, first_pause_s=0.01)
    monkeypatch.setattr(transport, "DEFAULT_PATIENCE", short)
    short = transport.Patience(timeout_s=10, attempts=8, first_pause_s=0.002, longest_pause_s=0.01)
    monkeypatch.setattr(s3_tier_bucket, "PATIENCE", short)
    monkeypatch.setattr(s3_tier, "POLL_S", 0.01)
    monkeypatch.setattr(s3_tier_claim, "LEASE_S", 1.0)


@pytest.fixture
def bucket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ObjectServer]:
    server = ObjectServer(tmp_path / "objects")
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    yield server
    server.close()


@pytest.fixture
def registry() -> Iterator[CountingRegistry]:
    counting = CountingRegistry(HELLO)
    with counting.server:
        yield counting


@pytest.fixture
def environments(tmp_path: Path, registry: CountingRegistry, bucket: ObjectServer) -> Environments:
    return Environments(tmp_path, registry)


# -- what is stored comes back
# ----------------------------------------------------------------------------------------------------


def test_the_second_environment_asks_the_registry_for_nothing(
    environments: Environments, registry: CountingRegistry, bucket: ObjectServer
) -> None:
    first = environments.start()
    asked = len(registry.server.requests)
    second = environments.start()
    assert len(registry.server.requests) == asked
    assert tree_of(second.path) == tree_of(first.path)
    assert (second.digest, second.config) == (first.digest, first.config)
    assert (second.config.cmd, second.config.env) == (("/hello",), ("A=b",))
    assert not second.cached
    assert second.bytes_downloaded > 0
    assert environments.said("image stored in the cache") == 1


def test_everything_that_a_tree_can_hold_comes_back(
    environments: Environments, registry: CountingRegistry, bucket: ObjectServer
) -> None:
    large = os.urandom(2_500_000)
    files = [
        directory("empty", 0o711, uid=7, gid=8, mtime=1_600_000_001),
        directory("tmp", 0o1777),
        File("plain", b"text", 0o640, uid=1000, gid=1001, mtime=1_500_000_000),
        File("nothing", b"", 0o400),
        File("secret", b"not for its owner either", 0o000),
        File("large", large, 0o555, uid=3, mtime=1_500_000_001),
        hard_link("large-too", "large"),
        hard_link("plain-too", "plain"),
        symlink("absolute", "/etc/passwd"),
        symlink("dangling", "../../nowhere"),
        hard_link("dangling-too", "dangling"),
        File("odd \udcff\n name", b"x"),
        File("fifo", kind=b"6", mode=0o622),
        *(File(f"many/{number}", bytes([number]) * number) for number in range(200)),
        File("zeros", bytes(3_000_000)),
    ]
    registry.push(Image([tar_of(files)]))
    first = tree_of(environments.start().path)
    second = environments.start()
    assert tree_of(second.path) == first
    assert environments.said("reading image from the cache") == 1
    assert len(first) > 215


def test_a_large_image_is_one_object_that_is_read_in_a_few_ranges(
    environments: Environments, registry: CountingRegistry, bucket: ObjectServer
) -> None:
    files = [File(f"file{number}", os.urandom(700_000)) for number in range(20)]
    registry.push(Image([tar_of(files)]))
    first = environments.start()
    (key,) = bucket.keys("parts/")
    assert bucket.path(f"cache/{key}").stat().st_size > 2 * SMALLEST_CHUNK_BYTES
    assert bucket.count("POST", key) == 2
    bucket.cuts = 2
    second = environments.start()
    assert tree_of(second.path) == {**tree_of(first.path)}
    assert 4 <= bucket.count("GET", key) <= 6  # 14 MB in ranges of 4, and two again
    assert environments.said("reading image from the cache") == 1


def test_a_bucket_that_wants_us_to_slow_down_is_waited_for(
    environments: Environments, registry: CountingRegistry, bucket: ObjectServer
) -> None:
    environments.start()
    pulls = registry.asked("GET")
    busy = iter([503] * 5)
    bucket.fault = lambda _method, key: next(busy, None) if key.startswith("parts/") else None
    environments.start()
    assert registry.asked("GET") == pulls
    assert next(busy, None) is None


def test_holes_stay_holes(tmp_path: Path, bucket: ObjectServer) -> None:
    root = tmp_path / "root"
    root.mkdir()
    with (root / "sparse").open("wb") as file:
        file.seek(5_000_000)
        file.write(b"middle")
        file.truncate(9_000_000)
    restored = _there_and_back(root, tmp_path / "restored", bucket)
    assert tree_of(restored) == tree_of(root)
    assert (restored / "sparse").stat().st_blocks <= (root / "sparse").stat().st_blocks + 4096


def test_files_that_an_engine_has_emptied_meanwhile_are_left_out(
    tmp_path: Path, bucket: ObjectServer
) -> None:
    root = tmp_path / "root"
    (root / "tmp").mkdir(parents=True)
    (root / "kept").write_bytes(b"k")
    (root / "tmp/small").write_bytes(b"s")
    (root / "tmp/large").write_bytes(bytes(range(256)) * 8192)

    def use() -> None:
        (root / "tmp/small").unlink()
        (root / "tmp/large").unlink()

    restored = _there_and_back(root, tmp_path / "restored", bucket, use)
    assert {path.name for path in restored.rglob("*")} == {"tmp", "kept"}


def _there_and_back(
    root: Path, target: Path, bucket: ObjectServer, meanwhile: Callable[[], None] = lambda: None
) -> Path:
    """A tree by way of index and parts."""
    index = _packed(root, bucket, meanwhile)
    target.mkdir()
    restore(index, TierBucket("s3://cache"), os.fsencode(target), lambda _: None)
    return target


def _packed(root: Path, bucket: ObjectServer, meanwhile: Callable[[], None] = lambda: None) -> ImageIndex:
    stock = take_stock(os.fsencode(root))
    meanwhile()
    packer, compress, tier = Packer(stock, os.fsencode(root)), compressor(), TierBucket("s3://cache")
    upload = Upload(tier, "content")
    with upload.writer() as writer:
        while part := packer.next_part():
            writer.add(compress(part), len(part))
    parts = upload.complete()
    index = ImageIndex(
        subject="sha256:" + "a" * 64,
        digest="sha256:" + "b" * 64,
        architecture="amd64",
        config=ImageConfig(),
        directories=stock.directories,
        symlinks=stock.symlinks,
        hard_links=stock.hard_links,
        fifos=stock.fifos,
        large=stock.large,
        content_key="content",
        parts=parts,
    )
    return decode(encode(index, compress), index.subject, "amd64")


# -- names
# ----------------------------------------------------------------------------------------------------


def test_an_old_record_of_a_name_is_checked_without_a_pull(
    environments: Environments, registry: CountingRegistry, bucket: ObjectServer
) -> None:
    environments.start()
    pulls = registry.asked("GET")
    make_old(bucket, "names/")
    environments.start()
    assert registry.asked("GET") == pulls
    assert registry.asked("HEAD") == 2  # Docker Hub counts GET as a pull, HEAD not
    environments.start()
    assert registry.asked("HEAD") == 2  # the record was renewed


def test_a_tag_that_has_moved_is_noticed(
    environments: Environments, registry: CountingRegistry, bucket: ObjectServer
) -> None:
    environments.start()
    digest = registry.push(OTHER)
    make_old(bucket, "names/")
    moved = environments.start()
    assert moved.digest == digest
    assert (moved.path / "hello").read_bytes() == b"two"
    assert (environments.start().path / "hello").read_bytes() == b"two"
    assert environments.said("image stored in the cache") == 2


@pytest.mark.parametrize("status", [429, 503])
def test_a_registry_that_refuses_is_not_needed(
    environments: Environments, registry: CountingRegistry, bucket: ObjectServer, status: int
) -> None:
    environments.start()
    make_old(bucket, "names/")
    registry.status = status
    assert (environments.start().path / "hello").read_bytes() == b"one"
    assert environments.said("registry does not answer") == 1


def test_an_image_that_does_not_exist_is_still_an_error(
    environments: Environments, registry: CountingRegistry
) -> None:
    registry.status = 404
    with pytest.raises(RunnerError) as caught:
        environments.start()
    assert caught.value.kind == "ImageNotFound"


def test_a_digest_needs_no_registry_to_be_understood(
    environments: Environments, registry: CountingRegistry, bucket: ObjectServer, tmp_path: Path
) -> None:
    root = environments.start()
    asked = len(registry.server.requests)
    source = rootfs.ImageSource.registry(f"{registry.name}@{root.digest}")
    with rootfs.prepare_image(source, store=tmp_path / "pinned", mirrors="", architecture="amd64") as pinned:
        assert (pinned.path / "hello").exists()
    assert len(registry.server.requests) == asked


# -- damage
# ----------------------------------------------------------------------------------------------------


def _flip(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


@pytest.mark.parametrize(
    ("prefix", "damage"),
    [
        ("index/", _flip),
        ("index/", lambda content: content[:-3]),
        ("index/", lambda _: b""),
        ("parts/", _flip),
        ("parts/", lambda content: content[:-3]),
    ],
)
def test_a_damaged_entry_is_noticed_and_replaced(
    environments: Environments,
    registry: CountingRegistry,
    bucket: ObjectServer,
    prefix: str,
    damage: Callable[[bytes], bytes],
) -> None:
    whole = tree_of(environments.start().path)
    (key,) = bucket.keys(prefix)
    path = bucket.path(f"cache/{key}")
    path.write_bytes(damage(path.read_bytes()))
    assert tree_of(environments.start().path) == whole
    assert environments.said("image cache entry is damaged") == 1
    assert environments.said("image stored in the cache") == 2
    pulls = registry.asked("GET")
    assert tree_of(environments.start().path) == whole
    assert registry.asked("GET") == pulls


def test_an_entry_with_a_missing_part_is_replaced(
    environments: Environments, registry: CountingRegistry, bucket: ObjectServer
) -> None:
    environments.start()
    (key,) = bucket.keys("parts/")
    bucket.path(f"cache/{key}").unlink()
    environments.start()
    assert environments.said("is missing") == 1
    pulls = registry.asked("GET")
    environments.start()
    assert registry.asked("GET") == pulls


def test_a_half_read_image_leaves_nothing_behind(
    environments: Environments, bucket: ObjectServer, tmp_path: Path
) -> None:
    environments.start()
    bucket.fault = lambda method, key: 500 if method == "GET" and key.startswith("parts/") else None
    assert (environments.start().path / "hello").exists()
    assert environments.said("image cache not used") == 1
    assert environments.said("image stored in the cache") == 1  # it may be whole: it is left as it is
    assert list((tmp_path / "disk2/images").glob("tmp-*")) == []


# -- tampering
# ----------------------------------------------------------------------------------------------------

_EMPTY = ImageIndex(
    subject="sha256:" + "a" * 64,
    digest="sha256:" + "b" * 64,
    architecture="amd64",
    config=ImageConfig(),
    directories=[[0, "", 0o755, 0, 0, 0], [0, "etc", 0o755, 0, 0, 0]],
    symlinks=[],
    hard_links=[],
    fifos=[],
    large=[],
    content_key="part",
    parts=[],
)


@pytest.mark.parametrize(
    "tampered",
    [
        replace(_EMPTY, directories=[*_EMPTY.directories, [0, "../outside", 0o755, 0, 0, 0]]),
        replace(_EMPTY, directories=[*_EMPTY.directories, [0, "..", 0o755, 0, 0, 0]]),
        replace(_EMPTY, directories=[*_EMPTY.directories, [-1, "x", 0o755, 0, 0, 0]]),
        replace(_EMPTY, directories=[*_EMPTY.directories, [7, "x", 0o755, 0, 0, 0]]),
        replace(_EMPTY, directories=[*_EMPTY.directories, [0, "etc", 0o755, 0, 0, 0]]),
        replace(_EMPTY, symlinks=[[0, "a/b", 0, 0, "x"]]),
        replace(_EMPTY, symlinks=[[0, "etc", 0, 0, "/"]]),
        replace(_EMPTY, symlinks=[[0, "a", 0, 0, ""]]),
        replace(_EMPTY, hard_links=[[0, "a", 0, "../outside/secret"]]),
        replace(_EMPTY, hard_links=[[0, "a", 0, "etc"]]),
        replace(_EMPTY, fifos=[[0, "../pipe", 0o644, 0, 0]]),
        replace(_EMPTY, large=[[0, "../file", 0o644, 0, 0, 0, 10]]),
        replace(_EMPTY, large=[[0, "file", 0o644, 0, 0, 0, 1 << 70]]),
        replace(_EMPTY, directories=[[0, "", 0o755, 0, 0, 1 << 100]]),
    ],
)
def test_an_index_cannot_lead_out_of_the_root(
    tmp_path: Path, bucket: ObjectServer, tampered: ImageIndex
) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/secret").write_text("s")
    root = tmp_path / "root"
    root.mkdir()
    before = tree_of(tmp_path / "outside")
    with pytest.raises(DamagedEntry):
        restore(tampered, TierBucket("s3://cache"), os.fsencode(root), lambda _: None)
    assert tree_of(tmp_path / "outside") == before
    assert {path.name for path in tmp_path.iterdir()} == {"objects", "outside", "root"}
    assert (tmp_path / "outside/secret").stat().st_nlink == 1


def _record(
    name: bytes, data: bytes, *, size: int | None = None, parent: int = 0, mode: int = 0o644
) -> bytes:
    length = len(data) if size is None else size
    return RECORD.pack(WHOLE_FILE, len(name), mode, parent, 0, 0, 0, length) + name + data


@pytest.mark.parametrize(
    ("content", "told_size"),
    [
        (_record(b"../outside", b"x"), None),
        (_record(b"..", b"x"), None),
        (_record(b"etc", b"x"), None),
        (_record(b"x", b"x", parent=9), None),
        (_record(b"x", b"x", size=100), None),
        (_record(b"x", b"x") + _record(b"x", b"y"), None),
        (_record(b"bomb", bytes(9_000_000)), 1000),
        (RECORD.pack(2, 0, 0, 0, 0, 0, 0, 3) + b"abc", None),
        (RECORD.pack(9, 0, 0, 0, 0, 0, 0, 0), None),
        (b"short", None),
    ],
)
def test_a_part_cannot_lead_out_of_the_root(
    tmp_path: Path, bucket: ObjectServer, content: bytes, told_size: int | None
) -> None:
    packed = compressor()(content)
    tier = TierBucket("s3://cache")
    tier.put("part", packed)
    digest = hashlib.sha256(packed).hexdigest()
    large: list[list[Any] | None] = [[0, "f", 0o644, 0, 0, 0, 2]]
    index = replace(_EMPTY, large=large, parts=[[len(packed), digest, told_size or len(content)]])
    root = tmp_path / "root"
    root.mkdir()
    with pytest.raises(DamagedEntry):
        restore(index, tier, os.fsencode(root), lambda _: None)
    assert {path.name for path in tmp_path.iterdir()} == {"objects", "root"}
    assert sum(path.stat().st_size for path in root.rglob("*") if path.is_file()) < 3_000_000


def test_set_uid_bits_do_not_come_back(tmp_path: Path, bucket: ObjectServer) -> None:
    packed = compressor()(_record(b"su", b"#!", mode=0o6755))
    tier = TierBucket("s3://cache")
    tier.put("part", packed)
    index = replace(
        _EMPTY,
        directories=[*_EMPTY.directories, [0, "tmp", 0o7777, 0, 0, 0]],
        parts=[[len(packed), hashlib.sha256(packed).hexdigest(), 100]],
    )
    root = tmp_path / "root"
    root.mkdir()
    restore(index, tier, os.fsencode(root), lambda _: None)
    assert (root / "su").stat().st_mode & 0o7777 == 0o755
    assert (root / "tmp").stat().st_mode & 0o7777 == 0o1777


# -- a burst
# ----------------------------------------------------------------------------------------------------


def test_a_burst_does_one_pull(
    environments: Environments, registry: CountingRegistry, bucket: ObjectServer
) -> None:
    roots: list[Path] = []
    threads = [threading.Thread(target=lambda: roots.append(environments.start().path)) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(roots) == 16
    assert registry.asked("GET", "blobs/") == 2  # configuration and layer
    assert registry.asked("GET", "manifests/") == 1
    assert len({str(sorted(tree_of(root).items())) for root in roots}) == 1
    assert bucket.count("PUT", "parts/") == 1


def test_whoever_waits_takes_over_from_one_that_stands_still(
    environments: Environments,
    registry: CountingRegistry,
    bucket: ObjectServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(s3_tier_claim, "LEASE_S", 0.1)
    holder = TierBucket("s3://cache")
    environments.start()
    (index,) = bucket.keys("index/")
    place = index.removeprefix("index/")
    bucket.path(f"cache/{index}").unlink()
    holder.put(f"claims/{place}", b'{"holder": "dead", "beats": 3, "released": false}')
    started = time.monotonic()
    environments.start()
    assert 0.1 <= time.monotonic() - started < 5
    assert environments.said("waiting for another environment") == 1
    assert environments.said("image stored in the cache") == 2


def test_waiting_ends_when_half_of_the_time_is_gone(
    environments: Environments,
    registry: CountingRegistry,
    bucket: ObjectServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(s3_tier_claim, "LEASE_S", 60.0)
    environments.start()
    (index,) = bucket.keys("index/")
    bucket.path(f"cache/{index}").unlink()
    claim = f"claims/{index.removeprefix('index/')}"
    TierBucket("s3://cache").put(claim, b'{"holder": "slow", "beats": 3, "released": false}')
    pulls = registry.asked("GET", "blobs/")
    started = time.monotonic()
    assert (environments.start(seconds=0.4).path / "hello").exists()
    assert time.monotonic() - started < 2
    assert registry.asked("GET", "blobs/") == 2 * pulls
    assert bucket.keys("index/") == []  # storing is the other's business


def test_when_time_is_up_the_claim_is_free_at_once(
    environments: Environments,
    registry: CountingRegistry,
    bucket: ObjectServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(s3_tier_claim, "LEASE_S", 60.0)
    going_on = threading.Event()

    def slow(method: str, key: str) -> int | None:
        if method == "PUT" and key.startswith("parts/"):
            going_on.wait(10)
        return None

    bucket.fault = slow
    monkeypatch.setattr(s3_tier_store, "_GIVING_UP_S", 0.2)
    root = environments.start(finish=False)
    root.finish(time.monotonic())
    assert bucket.keys("index/") == []
    going_on.set()
    bucket.fault = lambda _method, _key: None
    environments.start()
    assert environments.said("image stored in the cache") == 1
    assert len(bucket.keys("index/")) == 1


# -- without the tier
# ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("method", "status"), [("GET", 403), ("GET", 500), ("PUT", 403), ("PUT", 503)])
def test_a_bucket_that_refuses_does_no_harm(
    environments: Environments, registry: CountingRegistry, bucket: ObjectServer, method: str, status: int
) -> None:
    bucket.fault = lambda asked, _key: status if asked == method else None
    for _ in range(2):
        assert (environments.start().path / "hello").exists()


def test_a_server_that_is_not_there_does_no_harm(
    environments: Environments, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:1")
    assert (environments.start().path / "hello").exists()
    assert environments.said("image cache not used") == 1


def test_without_the_variable_nobody_asks_s3(
    environments: Environments, bucket: ObjectServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SCAR_IMAGE_CACHE")
    assert (environments.start().path / "hello").exists()
    assert bucket.requests == []


def test_images_in_a_folder_do_not_go_by_s3(
    environments: Environments, registry: CountingRegistry, bucket: ObjectServer, tmp_path: Path
) -> None:
    write_layout(tmp_path / "layouts/some/image", {"latest": HELLO})
    host = registry.name.partition("/")[0]
    assert (environments.start(mirrors=f"{host}=file://{tmp_path}/layouts").path / "hello").exists()
    assert (bucket.requests, registry.server.requests) == ([], [])


# -- requests
# ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("token", ["", "a/session+token=="])
def test_requests_are_signed_as_botocore_signs_them(token: str) -> None:
    url = object_url("bucket", "parts/sha256-ab/x_y~z", "eu-west-1", {})
    assert url == "https://bucket.s3.eu-west-1.amazonaws.com/parts/sha256-ab/x_y~z"
    keys = {"AWS_ACCESS_KEY_ID": "AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY": "secret/key+"}
    if token:
        keys["AWS_SESSION_TOKEN"] = token
    ours = signed_headers(
        "PUT", url, {"If-None-Match": "*"}, b"body", region="eu-west-1", credentials=keys, now=1_700_000_000
    )
    request = AWSRequest("PUT", url, headers={**ours}, data=b"body")
    del request.headers["Authorization"]
    request.context.update(timestamp=ours["X-Amz-Date"], payload_signing_enabled=True)
    identity = Credentials(keys["AWS_ACCESS_KEY_ID"], keys["AWS_SECRET_ACCESS_KEY"], token or None)
    signer = S3SigV4Auth(identity, "s3", "eu-west-1")
    signature = signer.signature(signer.string_to_sign(request, signer.canonical_request(request)), request)
    assert ours["Authorization"].endswith(f"Signature={signature}")


def test_objects_of_other_partitions_and_endpoints() -> None:
    assert object_url("b", "k", "cn-north-1", {}) == "https://b.s3.cn-north-1.amazonaws.com.cn/k"
    environ = {"AWS_ENDPOINT_URL": "http://127.0.0.1:4566", "AWS_ENDPOINT_URL_S3": "http://127.0.0.1:9000/"}
    assert object_url("b", "k", "us-east-1", environ) == "http://127.0.0.1:9000/b/k"
