"""A registry that counts, the bucket of the second tier, and environments that start with empty disks."""

from __future__ import annotations

import json
import os
import stat
import threading
import time
from collections.abc import Mapping
from pathlib import Path

from runtime.images import ImageSource, RootFilesystem, prepare_image
from tests.object_server import ObjectServer
from tests.oci_images import MANIFEST_TYPE, Image, digest_of
from tests.registry_server import Answer, Request, ScriptedServer

Lines = list[tuple[str, Mapping[str, object]]]


class CountingRegistry:
    """Serves one image under the tag `latest`, and everything that it ever served by digest."""

    def __init__(self, image: Image) -> None:
        self._blobs: dict[str, bytes] = {}
        self._tag = b""
        self.status: int | None = None
        """Answer everything with it."""
        self.pause_blobs = False
        """Let requests for blobs wait for `pause`."""
        self.pause = threading.Event()
        self.push(image)
        self.server = ScriptedServer(self._answer)

    @property
    def name(self) -> str:
        return f"127.0.0.1:{self.server.port}/some/image"

    def push(self, image: Image) -> str:
        """Let `latest` be this image from now on; its digest."""
        manifest, config, layers = image.blobs()
        for blob in (manifest, config, *layers):
            self._blobs[digest_of(blob)] = blob
        self._tag = manifest
        return digest_of(manifest)

    def asked(self, method: str = "GET", kind: str = "") -> int:
        """How often it was asked for manifests, blobs, or anything."""
        return sum(one.method == method and f"/{kind}" in one.path for one in self.server.requests)

    def _answer(self, request: Request) -> Answer:
        if self.pause_blobs and "/blobs/" in request.path:
            self.pause.wait(30)
        if self.status is not None:
            return Answer(self.status)
        version = request.path.rpartition("/")[2]
        content = self._tag if version == "latest" else self._blobs.get(version)
        if content is None:
            return Answer(404)
        headers = {"Docker-Content-Digest": digest_of(content), "Content-Type": MANIFEST_TYPE}
        return Answer(200, content, headers)


class Environments:
    """Execution environments, each with a disk of its own."""

    def __init__(self, folder: Path, registry: CountingRegistry) -> None:
        self._folder = folder
        self._registry = registry
        self._count = 0
        self._lock = threading.Lock()
        self.lines: Lines = []

    def start(self, *, seconds: float = 30.0, finish: bool = True, mirrors: str = "") -> RootFilesystem:
        """A cold start; gives its root when the image is also stored, if it had to be."""
        with self._lock:
            self._count += 1
            store = self._folder / f"disk{self._count}"
        root = prepare_image(
            ImageSource.registry(self._registry.name),
            store=store,
            mirrors=mirrors,
            architecture="amd64",
            deadline=time.monotonic() + seconds,
            log=lambda message, fields: self.lines.append((message, fields)),
        )
        if finish:
            root.finish(time.monotonic() + seconds)
        return root

    def said(self, text: str) -> int:
        """How many lines of the log hold a text."""
        return sum(text in f"{message} {json.dumps(dict(fields))}" for message, fields in self.lines)


def make_old(bucket: ObjectServer, prefix: str) -> None:
    """Let objects have been written long ago."""
    for key in bucket.keys(prefix):
        os.utime(bucket.path(f"cache/{key}"), (1_000_000, 1_000_000))


def tree_of(root: Path) -> dict[str, tuple[object, ...]]:
    """Everything that can be seen of a tree: kinds, modes, owners, times, contents, links."""
    seen: dict[str, tuple[object, ...]] = {}
    first_names: dict[int, str] = {}
    for path in sorted([root, *root.rglob("*")]):
        name = str(path.relative_to(root))
        status = path.lstat()
        content: object = None
        if stat.S_ISLNK(status.st_mode):
            content = str(path.readlink())
        elif stat.S_ISREG(status.st_mode):
            content = digest_of(path.read_bytes())
        same = "" if stat.S_ISDIR(status.st_mode) else first_names.setdefault(status.st_ino, name)
        moment = None if stat.S_ISLNK(status.st_mode) or stat.S_ISFIFO(status.st_mode) else status.st_mtime_ns
        seen[name] = (status.st_mode, status.st_uid, status.st_gid, moment, content, same)
    return seen
