"""Layers and image archives through `runtime.images`: nothing outside the root, documented errors only."""

from __future__ import annotations

import hashlib
import io
import json
import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from containers.errors import ErrorKind, ExplainedError
from containers.image.origin import Layer
from containers.layers.unpack import Unpacker
from containers.registry.ranges import FileSource
from containers.store.archive import find_in_archive
from tests.fuzz.mutation import EDITS, edited, json_bytes, mutated
from tests.fuzz.sandbox import Sandbox, watch
from tests.fuzz.target import Check, Target
from tests.fuzz.tars import LAYERS, MEMBERS, layer_bytes, member_bytes, members_of
from tests.oci_images import INDEX_TYPE, File, Image, digest_of, tar_of

IMAGE_KINDS = frozenset(
    "InvalidReference ImageNotFound ImagePrivate PullLimit RegistryUnavailable RegistryError"
    " WrongArchitecture UnsupportedImage BadImage DigestMismatch UnsafeImage DiskFull StoreUnusable"
    " BadConfiguration SecretUnavailable".split()
)
"""As `runtime.images` documents them."""
_DISK_BYTES = 24 << 20


class Disk:
    """As large as a case may fill it."""

    def __init__(self) -> None:
        self.charged = 0

    def charge(self, size: int) -> None:
        assert size >= 0, "a negative number of bytes was charged"
        self.charged += size
        if self.charged > _DISK_BYTES:
            raise ExplainedError("the disk is full", kind=ErrorKind.DISK_FULL)


def require_documented(error: ExplainedError) -> None:
    """Only kinds that the package documents, and a message that a log can hold on one line."""
    assert error.kind in IMAGE_KINDS, f"an error of kind {error.kind}"
    assert len(str(error)) < 4000, f"an error text of {len(str(error))} characters"
    assert str(error).isprintable(), f"an error text with control characters: {str(error)!a:.300}"


def require_harmless(root: Path, disk: Disk) -> None:
    """What unpacking left: no devices, no set-uid bits, no more bytes than were charged."""
    used = entries = 0
    for folder, folders, files in os.walk(os.fsencode(root)):
        for name in (*folders, *files):
            status = os.lstat(folder + b"/" + name)
            kind = stat.S_IFMT(status.st_mode)
            assert kind in (stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK, stat.S_IFIFO), (
                f"a file of kind {kind:o}"
            )
            assert not (kind == stat.S_IFREG and status.st_mode & 0o6000), "a set-uid file"
            used += status.st_blocks * 512 if kind == stat.S_IFREG else 0
            entries += 1
    assert used <= disk.charged + entries * 8192 + (2 << 20), (
        f"{used} bytes, of which {disk.charged} were charged"
    )


def unpack(layers: list[Layer], root: Path) -> None:
    """Unpack, and check what is there then."""
    root.mkdir()
    disk = Disk()
    try:
        unpacker = Unpacker(root, charge=disk.charge, what="image fuzz", maximum_entries=2000)
        unpacker.apply(*layers)
        unpacker.finish()
    finally:
        require_harmless(root, disk)


@contextmanager
def _layers(folder: Path) -> Iterator[Check]:
    watch()
    sandbox = Sandbox(folder)

    def check(case: Any) -> None:
        stored = [layer_bytes(layer, str(sandbox.outside)) for layer in case["layers"]]
        with sandbox.running() as work:
            try:
                unpack([Layer(len(one), lambda one=one: io.BytesIO(one)) for one in stored], work / "root")  # type: ignore[misc]
            except ExplainedError as error:
                require_documented(error)

    yield check


_IMAGE = Image(
    [tar_of([File("a", b"1")]), tar_of([File("b", b"2" * 1000)])], {"Entrypoint": ["/a"], "Env": ["A=1"]}
)
_MANIFEST, _CONFIG, _STORED = _IMAGE.blobs()
_SAVED = [{"Config": "config.json", "RepoTags": ["t:latest"], "Layers": ["0/layer.tar", "1/layer.tar"]}]
_INDEX = {
    "schemaVersion": 2,
    "manifests": [{"mediaType": INDEX_TYPE, "digest": digest_of(_MANIFEST), "size": len(_MANIFEST)}],
}
DOCUMENTS = [json.loads(_CONFIG), json.loads(_MANIFEST), _SAVED, _INDEX]


def _blob(content: bytes) -> tuple[str, bytes]:
    return f"blobs/sha256/{hashlib.sha256(content).hexdigest()}", content


def _archive_bytes(case: Mapping[str, Any], outside: str) -> bytes:
    """docker save's or OCI's form; documents that were changed have the digests that go with them."""
    config = json_bytes(case["config"])
    if case["oci"]:
        manifest = json.loads(_MANIFEST)
        manifest["config"] |= {"digest": digest_of(config), "size": len(config)}
        if "manifest" in case:
            manifest = case["manifest"]
        written = json_bytes(manifest)
        index = json.loads(json.dumps(_INDEX))
        index["manifests"][0] |= {"digest": digest_of(written), "size": len(written)}
        top = json_bytes(case.get("index", index))
        files = [_blob(config), _blob(written), *map(_blob, _STORED), ("index.json", top)]
    else:
        files = [
            ("0/layer.tar", _IMAGE.layers[0]),
            ("1/layer.tar", _IMAGE.layers[1]),
            ("config.json", config),
        ]
        files.append(("manifest.json", json_bytes(case["saved"])))
    members = [*members_of(files), *case.get("more", ())]
    content = b"".join(member_bytes(member, outside) for member in members) + bytes(1024)
    return edited(content, case.get("edits", ()))


@contextmanager
def _archives(folder: Path) -> Iterator[Check]:
    watch()
    sandbox = Sandbox(folder)

    def check(case: Any) -> None:
        content = _archive_bytes(case, str(sandbox.outside))
        with sandbox.running() as work:
            file = work / "image.tar"
            file.write_bytes(content)
            descriptor = os.open(file, os.O_RDONLY)
            try:
                found = find_in_archive(FileSource(descriptor), "amd64", "image archive fuzz")
                found.load_config()
                unpack(list(found.layers), work / "root")
            except ExplainedError as error:
                require_documented(error)
            finally:
                os.close(descriptor)

    yield check


LAYERS_TARGET = Target(
    "layers", st.fixed_dictionaries({"layers": st.lists(LAYERS, min_size=1, max_size=3)}), _layers
)
ARCHIVES_TARGET = Target(
    "archives",
    st.fixed_dictionaries(
        {
            "oci": st.booleans(),
            "config": mutated(DOCUMENTS[:1]),
            "saved": mutated([_SAVED]),
        },
        optional={
            "manifest": mutated(DOCUMENTS[1:2]),
            "index": mutated([_INDEX]),
            "more": st.lists(MEMBERS, max_size=3),
            "edits": EDITS,
        },
    ),
    _archives,
)
