"""Damaged image stores: on this machine (records, locks, links) and in the second tier (index and parts)."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from runtime.errors import RunnerError
from runtime.images import rootfs
from runtime.images.layout import LayoutFolder
from runtime.images.manifest import ImageConfig
from runtime.images.mirrors import Place
from runtime.images.pull import WantedImage
from runtime.images.reference import parse_reference
from runtime.images.s3_tier_bucket import TierBucket
from runtime.images.s3_tier_index import FORMAT, RECORD, DamagedEntry, decode
from runtime.images.s3_tier_pack import Packer, compressor, take_stock
from runtime.images.s3_tier_restore import restore
from runtime.images.store import ImageStore
from tests.fuzz.layers import Disk, require_documented, require_harmless
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
                    assert root.path.resolve() == root.path, "an image outside of the store"
                    assert (root.path / "d" / "a").read_bytes() == b"one"
            except RunnerError as error:
                require_documented(error)

    yield check


def _document(folder: Path) -> tuple[dict[str, Any], list[bytes]]:
    """The index of the image, and its parts' content."""
    root = folder / "packed"
    (root / "d").mkdir(parents=True)
    (root / "d" / "a").write_bytes(b"one")
    (root / "big").write_bytes(b"x" * (2 << 20))
    os.link(root / "d" / "a", root / "d" / "h")
    (root / "f").write_bytes(b"two")
    (root / "l").symlink_to("d")
    stock = take_stock(os.fsencode(root))
    packer, parts = Packer(stock, os.fsencode(root)), list[bytes]()
    while part := packer.next_part():
        parts.append(bytes(part))
    shutil.rmtree(root)
    listed = {
        name: getattr(stock, name) for name in ("directories", "symlinks", "hard_links", "fifos", "large")
    }
    about = {"format": FORMAT, "subject": "s", "digest": _DIGEST, "architecture": "amd64"}
    return {**about, "config": asdict(_CONFIG), **listed, "content_key": "k"}, parts


_SAMPLE: dict[str, Any] = {
    "format": FORMAT,
    "subject": "s",
    "digest": _DIGEST,
    "architecture": "amd64",
    "config": asdict(_CONFIG),
    "directories": [[0, "", 0o755, 0, 0, 0], [0, "d", 0o755, 0, 0, 0], [1, "e", 0o4755, 0, 0, 0]],
    "symlinks": [[0, "l", 0, 0, "d"], [1, "m", 0, 0, "../../outside"]],
    "hard_links": [[1, "h", 1, "a"], [0, "i", 0, "l"]],
    "fifos": [[0, "p", 0o644, 0, 0]],
    "large": [[0, "big", 0o644, 0, 0, 0, 20], None],
    "content_key": "k",
}
_WORDS = st.sampled_from(
    ["..", ".", "", "/", "../../outside/secret", f"{OUTSIDE}/secret", "d/a", "l", "a\0", "a", "d", "\udcff"]
)
_NUMBERS = st.sampled_from([0, 1, 2, 3, -1, 2**31, 2**32 - 1, 2**62, 2**63, 2**70, 0o7777, 1.5, True, None])
_RECORDS = st.lists(
    st.tuples(
        st.sampled_from([1, 1, 2, 0, 3]),  # kind
        _WORDS,
        st.sampled_from([0o644, 0o4755, 0, 0xFFFF]),
        st.sampled_from([0, 1, 2, 3, 2**32 - 1]),  # directory, or number of a large file
        st.sampled_from([0, 5, 2**32 - 1]),
        st.sampled_from([0, 1, 19, -1, 2**63 - 1, -(2**63)]),  # time, or offset
        st.sampled_from([0, 3, 20, 2**40, 2**64 - 1]),
        st.binary(max_size=20),
    ).map(list),
    max_size=4,
)
TIER_CASES = st.fixed_dictionaries(
    {
        "index": mutated([_SAMPLE], st.one_of(_WORDS, _NUMBERS), 4),
        "records": st.lists(_RECORDS, max_size=2),
    },
    optional={
        "own_parts": mutated([[[10, "0" * 64, 10]]], st.one_of(_WORDS, _NUMBERS)),
        "real": st.just(True),
        "edits": EDITS,
        "part_edits": EDITS,
        "answers": EDITS,
    },
)


class _Memory(TierBucket):
    """A bucket that holds the parts of one image."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    def pieces(self, key: str, total: int, places: Sequence[tuple[int, int]]) -> Iterator[bytes]:
        """What is there: a piece may be shorter than was asked for."""
        for offset, size in places:
            yield self._content[offset : offset + size]


def _part(records: Sequence[Any]) -> bytes:
    parts = bytearray()
    for kind, name, mode, parent, owner, moment, size, data in records:
        written = name.encode("utf-8", "surrogateescape")
        parts += (
            RECORD.pack(kind, min(255, len(written)), mode, parent, owner, owner, moment, size)
            + written
            + data
        )
    return bytes(parts)


@contextmanager
def _tier(folder: Path) -> Iterator[Check]:
    watch()
    document, contents = _document(folder)
    sandbox = Sandbox(folder)
    compress = compressor()

    def check(case: Any) -> None:
        plain = contents if case.get("real") else [_part(one) for one in case["records"]]
        packed = [edited(compress(one), case.get("part_edits", ())) for one in plain]
        index = json.loads(
            json.dumps(document if case.get("real") else case["index"]).replace(OUTSIDE, str(sandbox.outside))
        )
        if isinstance(index, dict):
            index["parts"] = case.get(
                "own_parts",
                [
                    [len(one), hashlib.sha256(one).hexdigest(), len(two)]
                    for one, two in zip(packed, plain, strict=True)
                ],
            )
        written = compress(edited(json_bytes(index), case.get("edits", ())))
        stored = b"scar image index 1 " + hashlib.sha256(written).hexdigest().encode() + b"\n" + written
        with sandbox.running() as work:
            root = work / "root"
            root.mkdir()
            disk = Disk()
            try:
                decoded = decode(stored, "s", "amd64")
                restore(
                    decoded,
                    _Memory(edited(b"".join(packed), case.get("answers", ()))),
                    os.fsencode(root),
                    disk.charge,
                )
                if case.get("real") and "edits" not in case and "part_edits" not in case:
                    assert (root / "d" / "a").read_bytes() == b"one", "another content"
                    assert (root / "big").read_bytes() == b"x" * (2 << 20), "another content"
                assert isinstance(decoded.config, ImageConfig)
            except DamagedEntry:
                pass
            except RunnerError as error:
                require_documented(error)
            require_harmless(root, disk)

    yield check


STORE_TARGET = Target("store", STORE_CASES, _store)
TIER_TARGET = Target("tier", TIER_CASES, _tier)
