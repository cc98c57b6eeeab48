"""prepare_image from mirrors, layouts and a real registry; the store's promises."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from containers.errors import ExplainedError
from containers.patience import ServerPatience
from containers.registry import mirrors
from containers.store import ImageSource, RootFilesystem, prepare_image, rootfs
from containers.store.store import DiskBudget, ImageStore
from tests.oci_images import File, Image, directory, push, tar_of, write_layout
from tests.registry_server import REGISTRY_PROGRAM, Answer, ScriptedServer, real_registry

HELLO = Image(
    [tar_of([File("hello", b"one")])], {"Cmd": ["/hello"], "Env": ["A=b"], "User": "me", "WorkingDir": "/w"}
)


@pytest.fixture(autouse=True)
def fresh_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """No names known from another test, and no long waits for registries that are not there."""
    monkeypatch.setattr(rootfs, "_resolved", {})
    monkeypatch.setattr(
        mirrors, "REGISTRY_PATIENCE", ServerPatience(timeout_s=10, attempts=2, first_pause_s=0.01)
    )
    monkeypatch.delenv("SCAR_REGISTRY_MIRRORS", raising=False)


@pytest.fixture
def layouts(tmp_path: Path) -> Path:
    return tmp_path / "layouts"


def prepare(tmp_path: Path, name: str, mirrors: str = "") -> RootFilesystem:
    with prepare_image(
        ImageSource.registry(name), store=tmp_path / "store", mirrors=mirrors, architecture="amd64"
    ) as root:
        return root


def failing(tmp_path: Path, name: str, mirrors: str = "") -> ExplainedError:
    with pytest.raises(ExplainedError) as caught:
        prepare(tmp_path, name, mirrors)
    return caught.value


def test_image_from_a_folder_needs_no_server(tmp_path: Path, layouts: Path) -> None:
    digests = write_layout(layouts / "some/image", {"latest": HELLO})
    root = prepare(tmp_path, "some/image", f"docker.io=file://{layouts}")
    assert (root.path / "hello").read_bytes() == b"one"
    assert (root.digest, root.cached) == (digests["latest"], False)
    assert root.bytes_downloaded > 0
    assert (root.config.cmd, root.config.env, root.config.user, root.config.working_dir) == (
        ("/hello",),
        ("A=b",),
        "me",
        "/w",
    )
    again = prepare(tmp_path, "some/image", f"docker.io=file://{layouts}")
    assert (again.cached, again.bytes_downloaded, again.path) == (True, 0, root.path)


def test_official_images_and_tags_in_a_folder(tmp_path: Path, layouts: Path) -> None:
    other = Image([tar_of([File("hello", b"two")])])
    write_layout(layouts / "library/debian", {"12": HELLO, "13": other})
    mirrors = f"docker.io=file://{layouts}"
    assert (prepare(tmp_path, "debian:13", mirrors).path / "hello").read_bytes() == b"two"
    write_layout(layouts / "a/b", {None: other})
    assert (prepare(tmp_path, "a/b:anything", mirrors).path / "hello").read_bytes() == b"two"


def test_a_rebuilt_image_in_a_folder_is_noticed(tmp_path: Path, layouts: Path) -> None:
    mirrors = f"docker.io=file://{layouts}"
    write_layout(layouts / "some/image", {"latest": HELLO})
    prepare(tmp_path, "some/image", mirrors)
    write_layout(layouts / "some/image", {"latest": Image([tar_of([File("hello", b"rebuilt")])])})
    assert (prepare(tmp_path, "some/image", mirrors).path / "hello").read_bytes() == b"rebuilt"


def test_damaged_layer_in_a_folder_is_found_out_and_leaves_nothing(tmp_path: Path, layouts: Path) -> None:
    write_layout(layouts / "some/image", {"latest": HELLO})
    layer = max(
        (layouts / "some/image/blobs/sha256").iterdir(), key=lambda path: path.read_bytes()[:2] == b"\x1f\x8b"
    )
    content = bytearray(layer.read_bytes())
    content[9] ^= 1  # gzip's operating-system byte: decompresses all the same
    layer.write_bytes(content)
    error = failing(tmp_path, "localhost:1/some/image", f"localhost:1=file://{layouts}")
    assert "is damaged" in error.cause
    assert [
        path.name for path in (tmp_path / "store/images").iterdir() if path.name not in ("locks", "refs")
    ] == []


def test_a_mirror_that_fails_is_passed_over(tmp_path: Path, layouts: Path) -> None:
    write_layout(layouts / "some/image", {"latest": HELLO})
    with ScriptedServer(lambda _: Answer(404)) as broken:
        mirrors = f"docker.io={broken.address},docker.io=file://{tmp_path}/empty,docker.io=file://{layouts}"
        assert (prepare(tmp_path, "some/image", mirrors).path / "hello").exists()
        assert len(broken.requests) == 1


def test_when_nobody_has_the_image_all_are_named(tmp_path: Path) -> None:
    with ScriptedServer(lambda _: Answer(404)) as server:
        error = failing(
            tmp_path, f"127.0.0.1:{server.port}/a", f"127.0.0.1:{server.port}=file://{tmp_path}/empty"
        )
    assert error.kind == "ImageNotFound"
    assert f"127.0.0.1:{server.port}" in error.cause
    assert f"{tmp_path}/empty" in error.cause


@pytest.mark.parametrize(
    "mirrors", ["docker.io", "docker.io=ftp://x", "=https://x", "docker.io=file://", "a=https://"]
)
def test_malformed_mirrors_are_refused(tmp_path: Path, mirrors: str) -> None:
    assert failing(tmp_path, "a", mirrors).kind == "BadConfiguration"


def test_mirrors_come_from_the_environment(
    tmp_path: Path, layouts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_layout(layouts / "some/image", {"latest": HELLO})
    monkeypatch.setenv("SCAR_REGISTRY_MIRRORS", f"docker.io=file://{layouts}")
    with prepare_image(
        ImageSource.registry("some/image"), store=tmp_path / "s", architecture="amd64"
    ) as root:
        assert (root.path / "hello").exists()


def test_image_for_another_architecture_is_explained(tmp_path: Path, layouts: Path) -> None:
    write_layout(layouts / "some/image", {"latest": Image(HELLO.layers, architecture="arm64")})
    error = failing(tmp_path, "localhost:1/some/image", f"localhost:1=file://{layouts}")
    assert "linux/arm64" in error.cause


# -- a real registry


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    if REGISTRY_PROGRAM is None:
        pytest.skip("docker-registry is not installed")
    with real_registry(tmp_path_factory.mktemp("registry")) as address:
        yield address


def test_pull_from_a_registry_by_tag_and_digest(tmp_path: Path, registry: str) -> None:
    digest = push(registry, "some/image", "v1", HELLO)
    host = registry.removeprefix("http://")
    root = prepare(tmp_path, f"{host}/some/image:v1")
    assert (root.path / "hello").read_bytes() == b"one"
    assert root.digest == digest
    assert prepare(tmp_path, f"{host}/some/image@{digest}").cached


def test_registry_as_a_mirror_of_docker_hub(tmp_path: Path, registry: str) -> None:
    push(registry, "library/thing", "latest", HELLO)
    push(registry, "cache/library/thing", "latest", Image([tar_of([File("hello", b"cached")])]))
    assert (prepare(tmp_path, "thing", f"docker.io={registry}").path / "hello").read_bytes() == b"one"
    assert (
        prepare(tmp_path, "thing", f"docker.io={registry}/cache").path / "hello"
    ).read_bytes() == b"cached"


def test_forty_layers(tmp_path: Path, registry: str) -> None:
    layers = [tar_of([File(f"file{n}", b"%d" % n), File("last", b"%d" % n)]) for n in range(40)]
    push(registry, "many", "latest", Image(layers))
    root = prepare(tmp_path, f"{registry.removeprefix('http://')}/many")
    assert (root.path / "last").read_bytes() == b"39"
    assert len(list(root.path.glob("file*"))) == 40


def test_missing_image_in_a_real_registry(tmp_path: Path, registry: str) -> None:
    error = failing(tmp_path, f"{registry.removeprefix('http://')}/no/such:thing")
    assert error.kind == "ImageNotFound"
    assert "no/such:thing" in error.cause


def test_a_name_is_resolved_once_and_outlives_the_registry(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Resolving is skipped for registries that are not on this machine; the test's stands in for one.
    monkeypatch.setattr("containers.registry.mirrors.is_loopback", lambda _host: False)
    manifest, config, (layer,) = HELLO.blobs()
    contents = {name: content for content in (config, layer) for name in [_digest(content)]} | {
        "latest": manifest
    }
    with ScriptedServer(lambda request: Answer(200, contents[request.path.rpartition("/")[2]])) as server:
        mirrors = f"docker.io={server.address}"
        prepare(tmp_path, "some/image", mirrors)
        asked = len(server.requests)
        assert prepare(tmp_path, "some/image", mirrors).cached
        rootfs._resolved.clear()  # another process, within the quarter of an hour
        assert prepare(tmp_path, "some/image", mirrors).cached
        assert len(server.requests) == asked
    rootfs._resolved.clear()
    for ref in (tmp_path / "store/images/refs").iterdir():
        os.utime(ref, (0, 0))  # long ago: it must be asked for again, and nobody answers
    monkeypatch.setattr("containers.registry.mirrors._DOCKER_HUB_HOST", "registry.invalid")
    assert prepare(tmp_path, "some/image", mirrors).cached


def _digest(content: bytes) -> str:
    from tests.oci_images import digest_of

    return digest_of(content)


# -- the store


def test_two_at_once_do_one_download(tmp_path: Path) -> None:
    manifest, config, (layer,) = HELLO.blobs()
    contents = {_digest(content): content for content in (config, layer)} | {"latest": manifest}
    with ScriptedServer(lambda request: Answer(200, contents[request.path.rpartition("/")[2]])) as server:
        roots: list[RootFilesystem] = []
        threads = [
            threading.Thread(
                target=lambda: roots.append(prepare(tmp_path, "some/image", f"docker.io={server.address}"))
            )
            for _ in range(6)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        blobs = [request.path for request in server.requests if _digest(layer) in request.path]
    assert len(roots) == 6
    assert len(blobs) == 1
    assert sum(root.bytes_downloaded > 0 for root in roots) == 1


def test_what_a_killed_process_left_is_removed_by_the_next(tmp_path: Path, layouts: Path) -> None:
    write_layout(layouts / "some/image", {"latest": HELLO})
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    script = (
        "import sys, pathlib; from containers.store.store import ImageStore\n"
        f"store = ImageStore(pathlib.Path({str(tmp_path / 'store')!r})); digest = 'sha256:' + 'a' * 64\n"
        "with store.exclusive(digest), store.new_image(digest) as folder:\n"
        "    (folder / 'root/half').write_text('x'); print('ready', flush=True); sys.stdin.read()\n"
    )
    process = subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    prepare(tmp_path, "some/image", f"docker.io=file://{layouts}")
    assert len(list((tmp_path / "store/images").glob("tmp-*"))) == 1  # alive: left alone
    process.send_signal(signal.SIGKILL)
    process.communicate()
    ImageStore(tmp_path / "store").remove_leftovers()
    assert list((tmp_path / "store/images").glob("tmp-*")) == []


def test_eviction_takes_what_was_used_longest_ago_and_spares_leases(tmp_path: Path, layouts: Path) -> None:
    mirrors = f"docker.io=file://{layouts}"
    for name in ("a", "b", "c"):
        write_layout(layouts / f"x/{name}", {"latest": Image([tar_of([File("f", name.encode() * 100_000)])])})
    store = ImageStore(tmp_path / "store")
    roots = {name: prepare(tmp_path, f"x/{name}", mirrors) for name in ("a", "b", "c")}
    for age, name in enumerate(("c", "a", "b")):
        os.utime(roots[name].path.parent / "image.json", (1000 + age, 1000 + age))
    leased = prepare_image(
        ImageSource.registry("x/c"), store=tmp_path / "store", mirrors=mirrors, architecture="amd64"
    )
    os.utime(roots["c"].path.parent / "image.json", (1000, 1000))
    evicted = store.make_room(store.total_bytes() * 2)  # more than there is: everything that may go, goes
    assert evicted == [roots["a"].path.parent.name, roots["b"].path.parent.name]
    assert (leased.path / "f").exists()
    leased.release()
    assert store.make_room(store.total_bytes() * 2) == [roots["c"].path.parent.name]


def test_a_bomb_ends_with_the_numbers(tmp_path: Path) -> None:
    class SmallDisk(ImageStore):
        """A store on a disk of 100 MiB."""

        def free_bytes(self) -> int:
            used = sum(path.lstat().st_blocks * 512 for path in self.folder.rglob("*"))
            return (100 << 20) - used

        def total_bytes(self) -> int:
            return 100 << 20

    import io

    from containers.image.origin import Layer
    from containers.layers.unpack import Unpacker

    store = SmallDisk(tmp_path / "store")
    bomb = Image([tar_of([File("zeros", bytes(90 << 20))])]).blobs()[2][0]
    assert len(bomb) < 1 << 20
    budget = DiskBudget(store, "image bomb", len(bomb))
    root = store.folder / "root"
    root.mkdir()
    with pytest.raises(ExplainedError) as caught:
        Unpacker(root, charge=budget.charge, what="image bomb").apply(
            Layer(len(bomb), lambda: io.BytesIO(bomb))
        )
    assert caught.value.kind == "DiskFull"
    assert "MiB" in caught.value.cause
    assert "ephemeral_storage" in caught.value.advice


def test_image_too_large_for_the_disk_is_refused_before_the_download(tmp_path: Path) -> None:
    store = ImageStore(tmp_path / "store")
    with pytest.raises(ExplainedError) as caught:
        DiskBudget(store, "image huge", store.total_bytes())
    assert caught.value.kind == "DiskFull"


@pytest.mark.parametrize("claimed", [1 << 62, 40 << 20])
def test_what_a_manifest_claims_evicts_no_image(tmp_path: Path, layouts: Path, claimed: int) -> None:
    mirrors = f"docker.io=file://{layouts}"
    write_layout(layouts / "x/kept", {"latest": HELLO})
    kept = prepare(tmp_path, "x/kept", mirrors)

    class NearlyFull(ImageStore):
        """A store on a disk that has no more than 40 MiB free."""

        def free_bytes(self) -> int:
            return 40 << 20

    store = NearlyFull(tmp_path / "store")
    with pytest.raises(ExplainedError) as caught:  # the store's images are smaller than what is missing
        DiskBudget(store, "image liar", claimed)
    assert caught.value.kind == "DiskFull"
    assert (kept.path / "hello").exists()
    DiskBudget(store, "image that says little", 1000).charge(1000)
    assert (kept.path / "hello").exists()


def test_what_is_kept_is_counted_as_room_for_an_image(tmp_path: Path, layouts: Path) -> None:
    mirrors = f"docker.io=file://{layouts}"
    content = os.urandom(3 << 20)
    write_layout(layouts / "x/kept", {"latest": Image([tar_of([File("f", content)])])})
    kept = prepare(tmp_path, "x/kept", mirrors)

    class Disk(ImageStore):
        """A store on a disk where nothing is free beyond the reserve."""

        def free_bytes(self) -> int:
            used = sum(path.lstat().st_blocks * 512 for path in self.folder.rglob("*"))
            return (35 << 20) + 100_000 - used

    store = Disk(tmp_path / "store")
    budget = DiskBudget(store, "image that follows", 1 << 20)
    assert (kept.path / "f").exists(), "nothing has been read yet"
    with pytest.raises(ExplainedError):
        budget.charge(8 << 20)  # more than there is in all, but it has really come
    assert not (kept.path / "f").exists()


@pytest.mark.parametrize(
    "record", ["", "[]", '{"digest": "DIGEST"}', '{"digest": "DIGEST", "config": {"env": []}}']
)
def test_an_image_whose_record_cannot_be_read_is_unpacked_again(
    tmp_path: Path, layouts: Path, record: str
) -> None:
    # As a machine leaves it that lost its power, or another version of the runner in a shared store.
    write_layout(layouts / "some/image", {"latest": HELLO})
    mirrors = f"localhost:1=file://{layouts}"
    first = prepare(tmp_path, "localhost:1/some/image", mirrors)
    (first.path.parent / "image.json").write_text(record.replace("DIGEST", first.digest))
    (first.path / "hello").unlink()
    second = prepare(tmp_path, "localhost:1/some/image", mirrors)
    assert not second.cached
    assert (second.path / "hello").read_bytes() == b"one"
    assert second.config == first.config


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a folder for somebody else")
@pytest.mark.parametrize("folder", ["store", "store/images"])
def test_a_store_that_belongs_to_somebody_else_is_not_trusted(tmp_path: Path, folder: str) -> None:
    (tmp_path / "store/images").mkdir(parents=True)
    os.chown(tmp_path / folder, 12345, 12345)
    with pytest.raises(ExplainedError) as caught:
        ImageStore(tmp_path / "store")
    assert caught.value.kind == "StoreUnusable"


def test_locks_are_not_inherited_by_programs(tmp_path: Path, layouts: Path) -> None:
    write_layout(layouts / "some/image", {"latest": Image([tar_of([directory("d")])])})
    root = prepare_image(
        ImageSource.registry("some/image"),
        store=tmp_path / "store",
        mirrors=f"docker.io=file://{layouts}",
        architecture="amd64",
    )
    child = subprocess.Popen(
        [sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE, close_fds=False
    )
    root.release()
    lock = tmp_path / "store/images/locks" / root.path.parent.name
    with lock.open("rb+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # the kernel closes the child's copy while it executes the program
    child.communicate()


def test_a_store_that_is_open_to_others_is_closed(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "images").chmod(0o755)
    ImageStore(tmp_path)
    assert (tmp_path / "images").stat().st_mode & 0o777 == 0o700


def test_a_scratch_folder_that_is_open_to_others_is_closed(tmp_path: Path) -> None:
    from containers.engines.scratch import scratch_folder

    (tmp_path / "scratch").mkdir()
    (tmp_path / "scratch").chmod(0o755)
    with scratch_folder(tmp_path) as folder:
        assert folder.parent.stat().st_mode & 0o777 == 0o700
