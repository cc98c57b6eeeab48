"""Damaged image stores: records, locks and links that somebody has changed."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from containers.errors import ExplainedError
from containers.image.config import ImageConfig
from containers.image.layout import LayoutFolder
from containers.registry.mirrors import Place
from containers.registry.references import parse_reference
from containers.store import rootfs
from containers.store.pull import WantedImage
from containers.store.store import ImageStore
from tests.fuzz.layers import require_documented
from tests.fuzz.mutation import EDITS, edited, json_bytes, mutated
from tests.fuzz.sandbox import OUTSIDE, Sandbox, watch
from tests.fuzz.target import Check, Target
from tests.oci_images import File, Image, digest_of, directory, hard_link, symlink, tar_of, write_layout

_IMAGE = Image(
    [
        tar_of(
            [
                directory("d"),
                File("d/a", b"one"),
                hard_link("d/h", "d/a"),
                symlink("l", "d"),
                File("big", b"x" * 5000),
            ]
        )
    ],
    {"Env": ["A=1"], "Cmd": ["/a"], "User": "u"},
)
_CONFIG = ImageConfig(env=("A=1",), cmd=("/a",), user="u")
_DIGEST = digest_of(_IMAGE.blobs()[0])
_RECORD = {"digest": _DIGEST, "config": asdict(_CONFIG)}

_HARM = st.one_of(
    st.tuples(st.just("edit"), EDITS),
    st.tuples(st.just("truncate"), st.floats(0, 1)),
    st.tuples(st.just("json"), mutated([_RECORD, {"name": "n", "digest": _DIGEST}]).map(json_bytes)),
    st.tuples(
        st.just("link"),
        st.sampled_from([f"{OUTSIDE}/secret", f"{OUTSIDE}/folder", "nowhere", "image.json", ".."]),
    ),
    st.tuples(st.just("folder"), st.just("")),
    st.tuples(st.just("remove"), st.just("")),
).map(list)
STORE_CASES = st.fixed_dictionaries(
    {
        "harm": st.lists(st.tuples(st.integers(0, 30), _HARM).map(list), min_size=1, max_size=3),
        "evict": st.booleans(),
        "pinned": st.booleans(),
        "flip": st.one_of(st.none(), st.tuples(st.integers(0, 1000), st.integers(1, 255)).map(list)),
    }
)


def _harm(path: Path, kind: str, what: Any, outside: str) -> None:
    """Do it to a file or folder of the store; links are the rest's business."""
    if kind in ("edit", "truncate") and (path.is_symlink() or not path.is_file()):
        return
    if kind == "edit":
        path.write_bytes(edited(path.read_bytes(), what))
        return
    if kind == "truncate":
        os.truncate(path, int(what * path.stat().st_size))
        return
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
    if kind == "json":
        path.write_bytes(what)
    elif kind == "link":
        path.symlink_to(what.replace(OUTSIDE, outside))
    elif kind == "folder":
        path.mkdir()


@contextmanager
def _store(folder: Path) -> Iterator[Check]:
    watch()
    layout = folder / "layout"
    write_layout(layout, {"latest": _IMAGE})
    sandbox = Sandbox(folder)
    template = folder / "template"
    places = [Place("folder", False, lambda: LayoutFolder(layout, "image fuzz"))]
    wanted = {
        pinned: WantedImage(
            parse_reference("r.test/i" + (f"@{_DIGEST}" if pinned else "")), places, "", "amd64"
        )
        for pinned in (False, True)
    }

    def prepare(store: Path, *, pinned: bool) -> Any:
        rootfs._resolved.clear()
        return rootfs._prepare_reference(wanted[pinned], ImageStore(store), lambda _message, _fields: None)

    for pinned in (False, True):
        prepare(template, pinned=pinned).release()
    # A user may put the store's folders elsewhere, by a link.
    names = sorted(
        path.relative_to(template)
        for path in template.rglob("*")
        if "root" not in path.parent.parts and path.name not in ("images", "locks", "refs")
    )
    records = [name for name in names if name.suffix == ".json"]

    def check(case: Any) -> None:
        with sandbox.running() as work:
            shutil.copytree(template, work / "store", symlinks=True)
            if case["flip"] is not None:  # one byte of a record
                at, mask = case["flip"]
                file = work / "store" / records[at % len(records)]
                content = bytearray(file.read_bytes())
                content[at % len(content)] ^= mask
                file.write_bytes(content)
            for number, (kind, what) in case["harm"] if case["flip"] is None else ():
                path = work / "store" / names[number % len(names)]
                if path.parent.resolve() != path.parent:
                    continue  # an earlier harm has made this a way out
                if path.name == "root" and kind == "folder":
                    continue  # an image without files: a record says nothing of them
                with contextlib.suppress(OSError):  # or has taken it away
                    _harm(path, kind, what, str(sandbox.outside))
            try:
                if case["evict"]:
                    images = ImageStore(work / "store")
                    images.remove_leftovers()
                    images.make_room(images.free_bytes() + 1)
                with prepare(work / "store", pinned=case["pinned"]) as root:
                    assert root.digest == _DIGEST, "another image"
                    assert root.config == _CONFIG, "another configuration"
                    assert root.path.resolve() == root.path, "an image outside the store"
                    assert (root.path / "d" / "a").read_bytes() == b"one"
            except ExplainedError as error:
                require_documented(error)

    yield check


STORE_TARGET = Target("store", STORE_CASES, _store)
