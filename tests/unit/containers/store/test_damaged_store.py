"""An image store of which something was damaged: the image is pulled again, or the error says what to do."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from containers.errors import ExplainedError
from containers.image.layout import LayoutFolder
from containers.registry.mirrors import Place
from containers.registry.references import parse_reference
from containers.store import RootFilesystem
from containers.store.pull import WantedImage, pull
from containers.store.store import ImageStore
from tests.oci_images import File, Image, tar_of, write_layout

IMAGE = Image([tar_of([File("a", b"one")])], {"Cmd": ["/a"], "User": "somebody"})


@pytest.fixture
def obtain(tmp_path: Path) -> Callable[[], RootFilesystem]:
    """Gets the image from the store, or from where it came from."""
    write_layout(tmp_path / "layout", {"latest": IMAGE})
    places = [Place("folder", False, lambda: LayoutFolder(tmp_path / "layout", "image test"))]
    wanted = WantedImage(parse_reference("r.test/i"), places, "", "amd64")

    def get() -> RootFilesystem:
        with pull(wanted, "latest", ImageStore(tmp_path / "store"), lambda _message, _fields: None) as root:
            return root

    return get


def record_of(root: RootFilesystem) -> Path:
    return root.path.parent / "image.json"


def test_damaged_byte_of_a_record_starts_no_other_program(obtain: Callable[[], RootFilesystem]) -> None:
    root = obtain()
    record = record_of(root)
    record.write_text(record.read_text().replace("/a", "/b").replace("somebody", "somebodx"))
    again = obtain()
    assert not again.cached
    assert (again.config.cmd, again.config.user) == (("/a",), "somebody")
    assert obtain().cached


@pytest.mark.parametrize("content", ["[" * 100_000, '{"digest": 1}', "null", ""])
def test_record_that_is_none_is_written_anew(obtain: Callable[[], RootFilesystem], content: str) -> None:
    root = obtain()
    record_of(root).write_text(content)
    assert (obtain().path / "a").read_bytes() == b"one"
    assert obtain().cached


@pytest.mark.parametrize("place", ["root", "."])
def test_link_in_place_of_an_image_is_not_run(
    obtain: Callable[[], RootFilesystem], tmp_path: Path, place: str
) -> None:
    root = obtain()
    other = tmp_path / "other"
    shutil.copytree(root.path.parent, other)
    (other / "root" / "a").write_bytes(b"two")
    replaced = root.path.parent / place
    shutil.rmtree(replaced)
    replaced.symlink_to(other if place == "." else other / "root")
    again = obtain()
    assert (again.path / "a").read_bytes() == b"one"
    assert again.path.resolve() == again.path
    assert (other / "root" / "a").read_bytes() == b"two"


def test_image_whose_files_are_gone_is_pulled_again(obtain: Callable[[], RootFilesystem]) -> None:
    shutil.rmtree(obtain().path)
    assert (obtain().path / "a").read_bytes() == b"one"


@pytest.mark.parametrize("there", ["folder", "link"])
def test_damaged_lock_is_an_error_that_says_what_to_do(
    obtain: Callable[[], RootFilesystem], tmp_path: Path, there: str
) -> None:
    root = obtain()
    lock = root.path.parents[1] / "locks" / root.path.parent.name
    lock.unlink()
    if there == "folder":
        lock.mkdir()
    else:
        lock.symlink_to(tmp_path / "outside")
    with pytest.raises(ExplainedError, match="Remove the folder") as caught:
        obtain()
    assert caught.value.kind == "StoreUnusable"
    assert not (tmp_path / "outside").exists()


@pytest.mark.parametrize("digest", ["sha256:../../../outside", "", 7, ["sha256:"], "sha256:" + "0" * 63])
def test_name_that_stands_for_no_digest_is_looked_up_again(tmp_path: Path, digest: object) -> None:
    images = ImageStore(tmp_path)
    images.remember("n", "sha256:" + "0" * 64)
    assert images.recall("n") is not None
    (record,) = (tmp_path / "images" / "refs").iterdir()
    record.write_text(json.dumps({"name": "n", "digest": digest}))
    assert images.recall("n") is None
