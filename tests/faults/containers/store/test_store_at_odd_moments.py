"""The store keeps its promises when processes die, when many come at once, and when the disk is short."""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from containers.store import ImageSource, prepare_image
from tests.oci_images import File, Image, digest_of, directory, symlink, tar_of, write_layout
from tests.registry_server import Answer, ScriptedServer

REPOSITORY = Path(__file__).resolve().parents[4]
ME = Path(__file__).resolve()


# What Python tells its auditors before it asks the kernel.
TRACES = frozenset({"open", "os.mkdir", "os.rename", "os.chmod", "os.utime", "os.remove", "os.symlink"})


def layered_image() -> Image:
    """Three layers with a few hundred entries of every kind."""
    bottom = [directory(f"d{n}", 0o555) for n in range(20)]
    bottom += [File(f"d{n % 20}/file{n}", b"%d" % n * 500) for n in range(150)]
    middle = [File(f"d{n}/.wh.file{n}") for n in range(0, 20, 2)] + [symlink("link", "d1")]
    top = [File(f"new{n}", b"top" * n) for n in range(50)] + [File("link/through", b"x")]
    return Image([tar_of(bottom), tar_of(middle), tar_of(top)])


def content_of(root: Path) -> dict[str, object]:
    """Every path with what it is."""
    return {
        str(path.relative_to(root)): str(path.readlink())
        if path.is_symlink()
        else (path.read_bytes() if path.is_file() else None)
        for path in root.rglob("*")
    }


def pull(store: Path, layouts: Path) -> Path:
    source = ImageSource.registry("some/image")
    mirrors = f"docker.io=file://{layouts}"
    with prepare_image(source, store=store, mirrors=mirrors, architecture="amd64") as root:
        return root.path


def die_at(moment: int, store: Path, layouts: Path) -> int | None:
    """Fork a process that pulls the image, and kills itself at its `moment`-th call of the system that leaves
    a trace on disk. None if it died; else how many such calls there were."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        seen = 0

        def count(name: str, _arguments: tuple[Any, ...]) -> None:
            nonlocal seen
            if name in TRACES:
                seen += 1
                if seen == moment:
                    os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(count)
        pull(store, layouts)
        os.write(write, str(seen).encode())
        os._exit(0)
    os.close(write)
    with os.fdopen(read) as pipe:
        told = pipe.read()
    os.waitpid(child, 0)
    return int(told) if told else None


def test_killed_at_any_moment_the_store_is_whole(tmp_path: Path) -> None:
    write_layout(tmp_path / "layouts/some/image", {"latest": layered_image()})
    expected = content_of(pull(tmp_path / "whole", tmp_path / "layouts"))
    # By a process without threads, which may fork.
    driver = subprocess.run(
        [sys.executable, str(ME), str(tmp_path)],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert driver.returncode == 0, driver.stderr
    assert int(driver.stdout) >= 40
    root = pull(tmp_path / "store", tmp_path / "layouts")
    assert content_of(root) == expected
    left = [path.name for path in (tmp_path / "store/images").iterdir()]
    assert sorted(left) == sorted(["locks", "refs", root.parent.name])


def die_many_times(folder: Path) -> None:
    """Many deaths in one store, each of a pull that finds what those before have left."""
    layouts = folder / "layouts"
    expected = content_of(pull(folder / "whole", layouts))
    total = die_at(0, folder / "counted", layouts)
    assert total is not None
    middle = random.Random(4).sample(range(15, total - 25), 20)
    died = 0
    for moment in [*range(1, 15), *middle, *range(total - 25, total + 1)]:
        died += die_at(moment, folder / "store", layouts) is None
        for record in (folder / "store").glob("images/*/image.json"):
            if not record.parent.name.startswith("tmp-"):  # visible: then it is whole
                assert content_of(record.parent / "root") == expected
                shutil.rmtree(record.parent)  # for the next one to begin anew
    print(died)


def pull_and_tell(store: Path, mirrors: str, results: Any, start: Any) -> None:
    start.wait(30)
    with prepare_image(
        ImageSource.registry("some/image"), store=store, mirrors=mirrors, architecture="amd64"
    ) as root:
        results.put((root.bytes_downloaded, len(content_of(root.path))))


def test_processes_that_come_at_once_do_one_download(tmp_path: Path) -> None:
    manifest, config, layers = layered_image().blobs()
    contents = {digest_of(content): content for content in (config, *layers)} | {"latest": manifest}
    with ScriptedServer(lambda request: Answer(200, contents[request.path.rpartition("/")[2]])) as server:
        context = multiprocessing.get_context("spawn")
        results, start = context.Queue(), context.Barrier(4)
        arguments = (tmp_path / "store", f"docker.io={server.address}", results, start)
        processes = [context.Process(target=pull_and_tell, args=arguments) for _ in range(4)]
        for process in processes:
            process.start()
        found = [results.get(timeout=60) for _ in processes]
        for process in processes:
            process.join()
        for layer in layers:
            assert sum(digest_of(layer) in request.path for request in server.requests) == 1
    assert sum(downloaded > 0 for downloaded, _ in found) == 1
    assert len({entries for _, entries in found}) == 1


# -- a disk that is really small

SMALL_DISK = """
set -e
mount -t tmpfs -o size=100m tmpfs "$1"
exec "$2" -c "$3" "$1" "$4"
"""
PULL_INTO_SMALL_DISK = """
import json, pathlib, sys
from containers.errors import ExplainedError
from containers.store import ImageSource, prepare_image
store, layouts = map(pathlib.Path, sys.argv[1:])
for name in ("first", "second", "huge"):
    try:
        source = ImageSource.registry(f"x/{name}")
        prepare_image(source, store=store, mirrors=f"docker.io=file://{layouts}").release()
        outcome = "ok"
    except ExplainedError as error:
        outcome = [error.kind, str(error)]
    images = len(list(store.glob("images/*/image.json")))
    used = sum(path.lstat().st_blocks * 512 for path in store.rglob("*")) >> 20
    print(json.dumps([name, outcome, images, used]))
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount")
def test_a_small_disk_makes_room_and_then_says_what_is_missing(tmp_path: Path) -> None:
    noise = random.Random(5).randbytes(1 << 20)
    for name, count in (("first", 40), ("second", 45), ("huge", 120)):
        files = [File(f"{name}{n}", b"%d" % n + noise) for n in range(count)]
        write_layout(tmp_path / f"layouts/x/{name}", {"latest": Image([tar_of(files)], compress="none")})
    disk = tmp_path / "disk"
    disk.mkdir()
    shell = ["unshare", "--mount", "--propagation", "private", "sh", "-c", SMALL_DISK, "sh"]
    done = subprocess.run(
        [*shell, str(disk), sys.executable, PULL_INTO_SMALL_DISK, str(tmp_path / "layouts")],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode and "mount" in done.stderr:
        pytest.skip(f"no mounts here: {done.stderr}")
    first, second, huge = (json.loads(line) for line in done.stdout.splitlines())
    assert first[1:3] == ["ok", 1]
    assert second[1:3] == ["ok", 1]  # the first one has given way
    kind, message = huge[1]
    assert kind == "DiskFull"
    assert "MiB free of 100 MiB" in message
    assert "ephemeral_storage" in message
    assert huge[3] <= second[3]  # nothing half-done stays behind


if __name__ == "__main__":
    die_many_times(Path(sys.argv[1]))
