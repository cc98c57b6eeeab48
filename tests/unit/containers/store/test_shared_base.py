"""Images that differ in their last layer alone share what is below it."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from containers.image.layout import LayoutFolder
from containers.image.origin import ByteStream, FoundImage, Layer, find_image
from containers.store.pull import obtain_image
from containers.store.shared_base import obtain_image_on_shared_base
from containers.store.store import ImageStore
from tests.oci_images import File, Image, directory, hard_link, symlink, tar_of, write_layout

BASE = tar_of(
    [
        directory("bin", 0o755),
        File("bin/tool", b"\x7f" * 9000, 0o755),
        hard_link("bin/same", "bin/tool"),
        symlink("bin/link", "tool"),
        directory("data", 0o700),
        *(File(f"data/{number}", os.urandom(5000)) for number in range(9)),
        File("changed", b"before", 0o444),
        directory("emptied"),
        File("emptied/x", b"x"),
        symlink("elsewhere", "bin"),
    ]
)


def top(*files: File) -> bytes:
    return tar_of([directory(".scar"), File(".scar/script", b"one"), *files])


CHANGES = (
    File("changed", b"after", 0o600),
    File("data/.wh.3"),
    File("emptied/.wh..wh..opq"),
    File("emptied/new", b"new"),
    File("elsewhere/new", b"new"),
    directory("data", 0o750),
    hard_link("bin/third", "bin/tool"),
)


class Images:
    """Found images whose layers are counted when they are read."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.read: Counter[str] = Counter()

    def __call__(self, *layers: bytes) -> FoundImage:
        name = f"image-{len(list(self._folder.iterdir()))}"
        digest = write_layout(self._folder / name, {"1": Image(list(layers), {"Cmd": [name]})})["1"]
        found = find_image(LayoutFolder(self._folder / name, name), digest, "amd64", name)
        return replace(found, layers=tuple(map(self._counted, found.layers)))

    def _counted(self, layer: Layer) -> Layer:
        def opened() -> ByteStream:
            self.read[layer.digest or ""] += 1
            return layer.open()

        return replace(layer, open=opened)


@pytest.fixture
def images(tmp_path: Path) -> Images:
    (tmp_path / "layouts").mkdir()
    return Images(tmp_path / "layouts")


def root_of(found: FoundImage, store: Path, *, shared: bool = True) -> Path:
    obtain = obtain_image_on_shared_base if shared else obtain_image
    with obtain(found, ImageStore(store), "image test", lambda *_: None) as root:
        assert root.config == found.load_config()
        return root.path


def tree(root: Path) -> dict[str, tuple[object, ...]]:
    found: dict[str, tuple[object, ...]] = {}
    for path in (root, *root.rglob("*")):
        status = path.lstat()
        content = path.readlink() if path.is_symlink() else path.read_bytes() if path.is_file() else None
        times = () if path.is_symlink() or path.parent.name == "etc" else (status.st_mtime,)
        found[str(path.relative_to(root))] = (
            oct(status.st_mode), status.st_uid, status.st_gid, content, *times
        )  # fmt: skip
    return found


def test_a_changed_script_reads_and_writes_the_last_layer_alone(images: Images, tmp_path: Path) -> None:
    first, second = images(BASE, top()), images(BASE, top(File(".scar/script", b"two")))
    roots = [root_of(found, tmp_path / "store") for found in (first, second)]
    assert sorted(images.read.values()) == [1, 1, 1]
    assert len({(root / "bin/tool").stat().st_ino for root in roots}) == 1
    assert [(root / ".scar/script").read_bytes() for root in roots] == [b"one", b"two"]


def test_the_image_is_as_if_it_were_unpacked_whole_and_the_base_stays(images: Images, tmp_path: Path) -> None:
    plain, changed = images(BASE, top()), images(BASE, top(*CHANGES))
    plain_root = root_of(plain, tmp_path / "store")
    before = tree(plain_root)
    assert tree(root_of(changed, tmp_path / "store")) == tree(
        root_of(changed, tmp_path / "whole", shared=False)
    )
    assert tree(plain_root) == before == tree(root_of(plain, tmp_path / "whole", shared=False))


def test_an_image_stays_whole_when_the_base_is_evicted(images: Images, tmp_path: Path) -> None:
    root = root_of(images(BASE, top()), tmp_path / "store")
    before = tree(root)
    store = ImageStore(tmp_path / "store")
    base = next(folder for folder in store.folder.glob("*/root") if folder != root).parent
    os.utime(base / "image.json", (0, 0))
    enough = iter([0, 0, 1 << 40])
    store.free_bytes = lambda: next(enough)  # type: ignore[method-assign]
    assert store.make_room(1) == [base.name]
    assert tree(root) == before


def test_a_file_system_without_hard_links_gets_the_whole_image(
    images: Images, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object, **__: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refused)
    found = images(tar_of([File("a", b"a" * 50_000)]), top())
    assert (root_of(found, tmp_path / "store") / ".scar/script").read_bytes() == b"one"


def test_a_large_last_layer_is_not_worth_it(images: Images, tmp_path: Path) -> None:
    root_of(images(BASE, top(File("large", os.urandom(100_000)))), tmp_path / "store")
    assert len(list(ImageStore(tmp_path / "store").folder.glob("*/image.json"))) == 1
