# ruff: noqa: E501 - a table is easier to read in long lines
"""Images that are broken, odd, or not what AWS Lambda takes, and how each is to end."""

from __future__ import annotations

import gzip
import importlib
import json
import tarfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.faults.containers.assembly.world import Stored
from tests.oci_images import (
    CONFIG_TYPE,
    DOCKER_MANIFEST_TYPE,
    INDEX_TYPE,
    LAYER_TYPE,
    MANIFEST_TYPE,
    File,
    descriptor,
    digest_of,
    directory,
    hard_link,
    index_of,
    symlink,
    tar_of,
)

DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip"
DOCKER_FOREIGN = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
PROGRAM = b"\x7fELF\x02\x01" + bytes(100)
ROOT = [directory("bin"), directory("etc"), File("bin/sh", PROGRAM, 0o755)]
PASSWD = File("etc/passwd", b"root:x:0:0:root:/root:/bin/sh\n")
SHELL = tar_of([*ROOT, PASSWD])


@dataclass(frozen=True)
class Case:
    """`refused` are the kind of the error and parts of its message; without it the image is assembled,
    and then `files` (path and mode, None for a path that must not be there) and `texts` (parts of files)
    must be in it. `early`: refused before anything is pushed."""

    name: str
    stored: Callable[[], Stored]
    refused: tuple[str, ...] = ()
    early: bool = False
    files: Mapping[str, int | None] = field(default_factory=dict)
    texts: Mapping[str, bytes] = field(default_factory=dict)
    script: bool = True
    tools: bool = True
    maximum_bytes: int | None = None
    lenient: bool = False
    """The image is one that `docker-registry` does not take; others do."""


def zstd(content: bytes) -> bytes:
    for name in ("compression.zstd", "backports.zstd"):
        try:
            packed: bytes = importlib.import_module(name).compress(content)
        except ImportError:
            continue
        return packed
    raise AssertionError("needs backports.zstd")


def packed(content: bytes) -> bytes:
    return gzip.compress(content, 1, mtime=0)


def image(
    *plain: bytes,
    stored: Iterable[bytes] | None = None,
    layer_type: str = LAYER_TYPE,
    config: Mapping[str, Any] | None = None,
    config_type: str = CONFIG_TYPE,
    manifest_type: str = MANIFEST_TYPE,
    config_document: Mapping[str, Any] | None = None,
    manifest: Mapping[str, Any] | None = None,
    missing: bool = False,
    layers: Callable[[list[dict[str, Any]]], list[dict[str, Any]]] = lambda entries: entries,
) -> Stored:
    """An image with anything about it changed."""
    blobs = [packed(layer) for layer in plain] if stored is None else list(stored)
    document: dict[str, Any] = {
        "architecture": "amd64",
        "os": "linux",
        "config": dict(config or {"Cmd": ["/bin/sh"]}),
        "rootfs": {"type": "layers", "diff_ids": [digest_of(layer) for layer in plain]},
    }
    document.update(config_document or {})
    raw = json.dumps(document).encode()
    content: dict[str, Any] = {
        "schemaVersion": 2,
        "mediaType": manifest_type,
        "config": descriptor(raw, config_type),
        "layers": layers([descriptor(blob, layer_type) for blob in blobs]),
    }
    content.update(manifest or {})
    return Stored(
        json.dumps(content).encode(), manifest_type, [raw, *([] if missing else dict.fromkeys(blobs))]
    )


def indexed(*entries: tuple[Stored, Mapping[str, str]], media_type: str = INDEX_TYPE) -> Stored:
    """An index of images."""
    index = json.loads(index_of([(stored.manifest, platform) for stored, platform in entries]))
    index["mediaType"] = media_type
    for entry, (stored, _) in zip(index["manifests"], entries, strict=True):
        entry["mediaType"] = stored.media_type
    return Stored(
        json.dumps(index).encode(),
        media_type,
        [blob for stored, _ in entries for blob in stored.blobs],
        [(stored.manifest, stored.media_type) for stored, _ in entries],
    )


AMD64 = {"os": "linux", "architecture": "amd64"}
ARM64 = {"os": "linux", "architecture": "arm64"}
UNKNOWN = {"os": "unknown", "architecture": "unknown"}


def attestation() -> Stored:
    statement = json.dumps({"_type": "https://in-toto.io/Statement/v0.1"}).encode()
    return image(
        statement,
        stored=[statement],
        layer_type="application/vnd.in-toto+json",
        config_document={"os": "unknown", "architecture": "unknown"},
    )


def shell(**changes: Any) -> Stored:
    return image(SHELL, **changes)


def with_files(*files: File, **changes: Any) -> Stored:
    return image(tar_of([*ROOT, PASSWD, *files]), **changes)


def history(count: int, empty: int = 0) -> dict[str, Any]:
    return {"history": [{"created_by": "RUN"}] * count + [{"created_by": "ENV", "empty_layer": True}] * empty}


def broken_tar(content: bytes) -> Stored:
    return image(content)


def raw_name(name: bytes) -> bytes:
    """A tar with one file of a name that `tarfile` would not write."""
    content = bytearray(tar_of([File("x" * len(name), b"1")], tarfile.USTAR_FORMAT))
    content[: len(name)] = name
    content[148:156] = b" " * 8
    content[148:156] = b"%06o\0 " % sum(content[:512])
    return bytes(content)


def start(mode: int, size: int = 20, **changes: Any) -> Stored:
    script = b"#!/bin/sh\n" + b"#" * size
    return with_files(File("start.sh", script, mode), config={"Entrypoint": ["/start.sh"]}, **changes)


LARGE = 100 << 10


def _no_json() -> Stored:
    good = shell()
    raw = b"{ not json"
    manifest = json.loads(good.manifest)
    manifest["config"] = descriptor(raw, CONFIG_TYPE)
    return Stored(json.dumps(manifest).encode(), blobs=[raw, *good.blobs])


def _empty_link() -> bytes:
    return tar_of([File("x", kind=tarfile.SYMTYPE, link="")])


def _replaced() -> Stored:
    below = tar_of([*ROOT, PASSWD, File("start.sh", b"#!/bin/sh\n" + bytes(LARGE), 0o700)])
    above = tar_of([File("start.sh", b"#!/bin/sh\n", 0o755)])
    return image(below, above, config={"Entrypoint": ["/start.sh"]})


CASES = [
    # -- what is not an image for Linux on this architecture
    Case("plain image", shell, tools=True),
    Case("docker schema 2", lambda: shell(
        layer_type=DOCKER_LAYER, config_type=DOCKER_CONFIG, manifest_type=DOCKER_MANIFEST_TYPE)),
    Case("docker manifest with OCI layers", lambda: shell(
        manifest_type=DOCKER_MANIFEST_TYPE, config_type=DOCKER_CONFIG)),
    Case("index", lambda: indexed((shell(), AMD64))),
    Case("index with attestation", lambda: indexed((shell(), AMD64), (attestation(), UNKNOWN))),
    Case("manifest list", lambda: indexed(
        (shell(layer_type=DOCKER_LAYER, config_type=DOCKER_CONFIG, manifest_type=DOCKER_MANIFEST_TYPE), AMD64),
        media_type=DOCKER_LIST)),
    Case("index without the architecture", lambda: indexed((shell(), ARM64)),
         ("WrongArchitecture", "no version for linux/amd64", "linux/arm64"), early=True),
    Case("index of nothing", lambda: Stored(index_of([]), INDEX_TYPE),
         ("WrongArchitecture", "only for nothing"), early=True),
    Case("attestation alone", attestation, ("BadImage", "application/vnd.in-toto+json"), early=True),
    Case("index of an index", lambda: indexed((indexed((shell(), AMD64)), AMD64)),
         ("BadImage", "points to another index"), early=True, lenient=True),
    Case("other architecture in the configuration", lambda: shell(config_document={"architecture": "arm64"}),
         ("WrongArchitecture", "linux/arm64"), early=True),
    Case("index that promises another architecture than there is", lambda: indexed(
        (shell(config_document={"architecture": "s390x"}), AMD64)),
        ("WrongArchitecture", "linux/s390x"), early=True),
    Case("windows", lambda: shell(config_document={"os": "windows"}),
         ("WrongArchitecture", "windows/amd64"), early=True),
    Case("helm chart", lambda: shell(config_type="application/vnd.cncf.helm.config.v1+json"),
         ("BadImage", "helm.config"), early=True),
    Case("artifact", lambda: shell(manifest={"artifactType": "application/x-model"}),
         ("BadImage", "application/x-model"), early=True),
    Case("layer that is no layer", lambda: shell(layer_type="application/vnd.wasm.content.layer.v1+wasm"),
         ("BadImage", "wasm"), early=True),
    Case("encrypted layer", lambda: shell(layer_type="application/vnd.oci.image.layer.v1.tar+gzip+encrypted"),
         ("BadImage", "encrypted"), early=True),
    Case("foreign layer", lambda: shell(
        layer_type=DOCKER_FOREIGN, manifest_type=DOCKER_MANIFEST_TYPE, config_type=DOCKER_CONFIG),
        ("UnsupportedImage", digest_of(packed(SHELL)), "foreign layer"), early=True, lenient=True),
    Case("layer with a URL", lambda: shell(
        layers=lambda entries: [{**entry, "urls": ["https://example.com/layer"]} for entry in entries]),
        ("UnsupportedImage", "foreign layer"), early=True, lenient=True),
    Case("no layers", image, ("BadImage", "no layers"), early=True),
    Case("125 layers", lambda: image(SHELL, *[tar_of([File("f", b"1")])] * 124),
         ("UnsupportedImage", "125 layers", "the maximum is 124"), early=True),
    Case("124 layers", lambda: image(SHELL, *[tar_of([File("f", b"1")])] * 123), tools=False),
    # -- configuration
    Case("no diff ids", lambda: shell(config_document={"rootfs": {"type": "layers"}})),
    Case("too few diff ids", lambda: image(
        SHELL, tar_of([File("a", b"1")]), config_document={"rootfs": {"diff_ids": [digest_of(SHELL)]}})),
    Case("wrong diff id", lambda: shell(config_document={"rootfs": {"diff_ids": [digest_of(b"x")]}})),
    Case("same layer twice", lambda: image(SHELL, SHELL)),
    Case("history that fits", lambda: image(SHELL, config_document=history(1, 2))),
    Case("history that does not fit", lambda: image(SHELL, config_document=history(7))),
    Case("history that is no list", lambda: image(SHELL, config_document={"history": {}})),
    Case("null configuration", lambda: shell(config_document={"config": None})),
    Case("entry point that is no list", lambda: shell(config={"Entrypoint": "/bin/sh"}),
         ("BadImage", "list of strings"), early=True),
    Case("large configuration", lambda: shell(config={"Labels": {"text": "x" * (5 << 20)}}),
         ("UnsupportedImage", "the maximum is 4194304"), early=True),
    Case("configuration that is no JSON", _no_json, ("BadImage", "not JSON"), early=True),
    # -- layers as they are stored
    Case("uncompressed layer", lambda: shell(
        stored=[SHELL], layer_type="application/vnd.oci.image.layer.v1.tar")),
    Case("uncompressed layer that says it is gzip", lambda: shell(stored=[SHELL])),
    Case("zstd layer", lambda: shell(
        stored=[zstd(SHELL)], layer_type="application/vnd.oci.image.layer.v1.tar+zstd")),
    Case("zstd layer that says it is gzip", lambda: shell(stored=[zstd(SHELL)])),
    Case("gzip in two members", lambda: shell(stored=[packed(SHELL[:512]) + packed(SHELL[512:])])),
    Case("empty layer", lambda: image(SHELL, tar_of([]))),
    Case("gzip that ends too early", lambda: shell(stored=[packed(SHELL)[:-20]]),
         ("BadImage", digest_of(packed(SHELL)[:-20]), "ends too early")),
    Case("no tar", lambda: image(b"hello" * 200), ("BadImage", "not a tar")),
    Case("tar that ends too early", lambda: image(SHELL[:1300]), ("BadImage", "ends in the middle")),
    Case("too large", shell, ("ImageTooLarge", "more than 4096 bytes"), maximum_bytes=4096),
    Case("bomb", lambda: shell(stored=[packed(SHELL + bytes(64 << 20))]),
         ("ImageTooLarge", "more than 1048576 bytes"), maximum_bytes=1 << 20),
    Case("wrong size in the manifest", lambda: shell(
        layers=lambda entries: [{**entry, "size": entry["size"] + 1} for entry in entries]),
        ("DigestMismatch",)),
    # -- what is in the layers
    Case("no parent directories", lambda: image(tar_of([*ROOT, PASSWD, File("usr/share/doc/a", b"1")])),
         files={"usr": 0o755, "usr/share": 0o755, "usr/share/doc": 0o755}),
    Case("parents in the layer below", lambda: image(SHELL, tar_of([File("etc/os-release", b"1")])),
         files={"etc/os-release": 0o644}),
    Case("parents in the layer above", lambda: image(
        SHELL, tar_of([File("srv/a", b"1")]), tar_of([directory("srv", 0o711)])), files={"srv": 0o711}),
    Case("parent that the layer below removes", lambda: image(
        tar_of([*ROOT, PASSWD, directory("srv")]), tar_of([File(".wh.srv")]), tar_of([File("srv/a", b"1")])),
        files={"srv/a": 0o644}),
    Case("parent that is a link", lambda: image(
        tar_of([*ROOT, PASSWD, directory("usr"), directory("usr/lib"), symlink("lib", "usr/lib")]),
        tar_of([File("lib/a", b"1")])), files={"lib/a": 0o644}, tools=False),
    Case("names with ./ and slashes", lambda: image(
        tar_of([directory("./bin"), File("./bin/sh", PROGRAM, 0o755), directory("./etc/"), File("./etc/passwd", b"")])),
        texts={"etc/passwd": b"sbx_user1051"}),
    Case("absolute names", lambda: image(
        tar_of([directory("/bin"), File("/bin/sh", PROGRAM, 0o755), directory("/etc")])),
        texts={"etc/passwd": b"root:x:0:0:"}),
    Case("name that leads out", lambda: with_files(File("../../etc/cron.d/x", b"1")),
         ("UnsafeImage", "../../etc/cron.d/x", "points outside the image")),
    Case("hard link that leads out", lambda: with_files(hard_link("x", "../../etc/shadow")),
         ("UnsafeImage", "../../etc/shadow")),
    Case("hard link to nothing", lambda: with_files(hard_link("x", "nothing/there")),
         ("BadImage", "'/x'", "'/nothing/there'")),
    Case("hard link to the layer below", lambda: image(SHELL, tar_of([hard_link("sh", "bin/sh")])), tools=False),
    Case("symbolic link to nothing", lambda: image(_empty_link()), ("UnsafeImage", "link without a target")),
    Case("odd whiteout", lambda: image(SHELL, tar_of([File("etc/.wh...", b"")])), ("UnsafeImage", "etc/.wh...")),
    Case("empty whiteout", lambda: image(SHELL, tar_of([File("etc/.wh.", b"")])), ("UnsafeImage", "etc/.wh.")),
    Case("whiteout of nothing", lambda: image(SHELL, tar_of([File("etc/.wh.missing", b"")])), tools=True),
    Case("aufs notes", lambda: image(SHELL, tar_of([directory(".wh..wh.plnk"), directory(".wh..wh.orph")])),
         tools=False),
    Case("opaque directory", lambda: image(
        SHELL, tar_of([directory("etc"), File("etc/.wh..wh..opq"), File("etc/new", b"1")])),
        texts={"etc/passwd": b"root:x:0:0:root:/root:/bin/sh\nsbx_user1051"}, files={"etc/new": 0o644}),
    Case("users removed", lambda: image(SHELL, tar_of([File("etc/.wh.passwd")])),
         texts={"etc/passwd": b"sbx_user1051"}),
    Case("users without a line end", lambda: image(
        tar_of([*ROOT, File("etc/passwd", b"root:x:0:0:::/bin/sh")])),
        texts={"etc/passwd": b"root:x:0:0:::/bin/sh\nsbx_user1051:"}),
    Case("user 993 is somebody", lambda: image(
        tar_of([*ROOT, File("etc/passwd", b"someone:x:993:1::/:\n"), File("etc/group", b"g:x:990:\n")])),
        texts={"etc/passwd": b"someone:x:993:1::/:\n"}),
    Case("users are a link", lambda: image(
        tar_of([*ROOT, directory("run"), File("run/passwd", b"x"), symlink("etc/passwd", "/run/passwd")])),
        files={"run/passwd": 0o644}, tools=False),
    Case("no users at all", lambda: image(tar_of([File("hello", PROGRAM, 0o755)]), config={"Cmd": ["/hello"]}),
         texts={"etc/passwd": b"root:x:0:0:", "etc/group": b"sbx_user1051:x:990:"}),
    Case("our folder", lambda: with_files(directory(".scar"), File(".scar/x", b"1")),
         ("UnsupportedImage", "'/.scar'", "reserved for the runner")),
    Case("device nodes and pipes", lambda: with_files(
        directory("dev"), File("dev/null", kind=tarfile.CHRTYPE), File("dev/pipe", kind=tarfile.FIFOTYPE)),
        tools=False),
    # -- what an unprivileged user may read
    Case("script for root alone", lambda: start(0o700), files={"start.sh": 0o705},
         texts={"start.sh": b"#!/bin/sh\n"}, script=False),
    Case("script that others may not read", lambda: start(0o711), files={"start.sh": 0o715}, script=False),
    Case("script for everybody", lambda: start(0o755), files={"start.sh": 0o755}, script=False),
    Case("program for root alone, large", lambda: start(0o700, LARGE),
         ("UnreadableFiles", "'/start.sh'", "0700", "chmod a+rx"), script=False),
    Case("program for root alone that no function runs", lambda: start(0o700, LARGE), files={"start.sh": 0o700}),
    Case("large script replaced by a readable one", _replaced, files={"start.sh": 0o755}, script=False),
    Case("interpreter for root alone", lambda: with_files(
        directory("opt", 0o700), File("opt/run", b"#!/bin/sh\n", 0o500), File("start", b"#!/opt/run -x\n", 0o755),
        config={"Entrypoint": ["/start"]}), files={"opt": 0o705, "opt/run": 0o505}, script=False),
    Case("interpreter found by env", lambda: with_files(
        directory("usr"), directory("usr/bin"), File("usr/bin/env", PROGRAM, 0o755),
        directory("opt", 0o750), File("opt/tool", b"#!/bin/sh\n", 0o750),
        File("start", b"#!/usr/bin/env -S tool\n", 0o755),
        config={"Entrypoint": ["start"], "Env": ["PATH=/:/opt:/usr/bin"]}),
        files={"opt": 0o755, "opt/tool": 0o755}, script=False),
    Case("working directory of root", lambda: with_files(
        directory("root", 0o700), directory("root/work", 0o700), config={"WorkingDir": "/root/work"}),
        files={"root": 0o705, "root/work": 0o705}),
    Case("working directory that does not exist", lambda: shell(config={"WorkingDir": "/no/where"}),
         files={"no": None}),
    Case("folder of PATH for root alone", lambda: with_files(
        directory("root", 0o700), directory("root/bin", 0o755), config={"Env": ["PATH=/root/bin:/bin"]}),
        files={"root": 0o705}),
    Case("secret of root stays one", lambda: with_files(File("etc/shadow", b"root:!::", 0o600)),
         files={"etc/shadow": 0o600}),
    Case("links in a circle", lambda: with_files(
        symlink("a", "b"), symlink("b", "a"), config={"Entrypoint": ["/a"]}), script=False),
]  # fmt: skip
