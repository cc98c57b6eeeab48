"""A source and a target registry, images in them, and a second opinion on what was assembled."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import io
import json
import subprocess
import tarfile
import urllib.error
import urllib.request
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from containers.assembly import Assembled, Runner, TargetRepository, Wanted, assemble
from containers.assembly.interpreter import Interpreter
from containers.patience import ServerPatience
from tests import oci_images
from tests.registry_server import Answer, Request, ScriptedServer

QUICK = ServerPatience(timeout_s=10.0, attempts=6, first_pause_s=0.01, longest_pause_s=0.05)
OCI_LAYER = oci_images.LAYER_TYPE
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def small_runner(folder: Path) -> Runner:
    """A runner of two files: what is in it does not matter here, and ours takes seconds to pack."""
    (folder / "python3").write_bytes(b"\x7fELF" + bytes(100))
    (folder / "loader").write_bytes(b"\x7fELF" + bytes(200))
    return Runner(
        lambda: Interpreter({"bin/python3": folder / "python3", "lib/ld.so": folder / "loader"}, "ld.so")
    )


def package(script: str | None = "#!/bin/sh\necho hello\n", **files: str) -> io.BytesIO:
    """A function's package."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("function_config.json", "{}")
        if script is not None:
            archive.writestr("init_script", script)
        for name, text in files.items():
            archive.writestr(name, text)
    return content


@dataclass
class Stored:
    """What is pushed to the source: the blobs, and manifests by tag (the first of them is the image)."""

    manifest: bytes
    media_type: str = oci_images.MANIFEST_TYPE
    blobs: Sequence[bytes] = ()
    more_manifests: Sequence[tuple[bytes, str]] = ()


@dataclass
class World:
    """One test's repositories."""

    source: str
    target: str
    name: str
    runner: Runner
    folder: Path
    proxy: str | None = None
    tag: str = field(default="1")

    @property
    def reference(self) -> str:
        return f"{self.source.removeprefix('http://')}/{self.name}:{self.tag}"

    def push(self, image: oci_images.Image) -> str:
        return oci_images.push(self.source, self.name, self.tag, image)

    def store(self, stored: Stored) -> None:
        for blob in stored.blobs:
            oci_images.push_blob(self.source, self.name, blob)
        for manifest, media_type in stored.more_manifests:
            digest = oci_images.digest_of(manifest)
            oci_images.push_manifest(self.source, self.name, digest, manifest, media_type)
        oci_images.push_manifest(self.source, self.name, self.tag, stored.manifest, stored.media_type)

    @contextlib.contextmanager
    def lenient_source(self, stored: Stored) -> Iterator[dict[str, bytes]]:
        """A registry that holds whatever it is given, and may be changed."""
        documents = dict([(stored.manifest, stored.media_type), *stored.more_manifests])
        content = {oci_images.digest_of(blob): blob for blob in (*documents, *stored.blobs)}
        content[self.tag] = stored.manifest

        def answer(request: Request) -> Answer:
            blob = content[request.path.rpartition("/")[2]]
            return Answer(body=blob, headers={"Content-Type": documents.get(blob, "text/plain")})

        with ScriptedServer(answer) as server:
            self.source = server.address
            yield content

    def repository(self) -> TargetRepository:
        return TargetRepository(self.proxy or self.target, self.name, patience=QUICK)

    def wanted(self, **changes: Any) -> Wanted:
        given: dict[str, Any] = {"function": "resize", "package": package(), "architecture": "amd64"}
        if "archive" not in changes:
            given["image"] = self.reference
        return Wanted(**{**given, **changes})

    def assemble(self, deadline: float | None = None, **changes: Any) -> Assembled:
        return assemble(self.wanted(**changes), self.repository(), self.runner, deadline=deadline)

    # -- a second opinion

    def tags(self) -> list[str]:
        try:
            with _OPENER.open(f"{self.target}/v2/{self.name}/tags/list", timeout=10) as answer:
                return sorted(json.load(answer)["tags"] or [])
        except urllib.error.HTTPError as error:
            assert error.code == 404
            return []

    def manifest(self, digest: str) -> dict[str, Any]:
        return dict(json.loads(self._get(f"manifests/{digest}", oci_images.MANIFEST_TYPE)))

    def blob(self, digest: str) -> bytes:
        content = self._get(f"blobs/{digest}")
        assert oci_images.digest_of(content) == digest
        return content

    def config(self, digest: str) -> dict[str, Any]:
        return dict(json.loads(self.blob(self.manifest(digest)["config"]["digest"])))

    def files(self, digest: str) -> dict[str, tarfile.TarInfo]:
        """The image's files as Lambda would unpack them, strictly: see `check`."""
        return self.check(digest)[0]

    def check(self, digest: str) -> tuple[dict[str, tarfile.TarInfo], dict[str, bytes]]:
        """That the image is one that Lambda takes, by what AWS and others report of it; its files and their
        contents, unpacked layer by layer without making any folder that no layer has."""
        manifest, config = self.manifest(digest), self.config(digest)
        assert manifest["mediaType"] == oci_images.MANIFEST_TYPE
        assert manifest["config"]["mediaType"] == oci_images.CONFIG_TYPE
        assert config["os"] == "linux"
        assert config["architecture"] == "amd64"
        assert len(manifest["layers"]) == len(config["rootfs"]["diff_ids"]) <= 127
        if "history" in config:
            filled = [entry for entry in config["history"] if not entry.get("empty_layer")]
            assert len(filled) == len(manifest["layers"])
        files: dict[str, tarfile.TarInfo] = {}
        contents: dict[str, bytes] = {}
        for layer, diff_id in zip(manifest["layers"], config["rootfs"]["diff_ids"], strict=True):
            assert layer["mediaType"] == OCI_LAYER
            content = self.blob(layer["digest"])
            assert len(content) == layer["size"]
            assert content.startswith(b"\x1f\x8b")
            plain = gzip.decompress(content)
            assert f"sha256:{hashlib.sha256(plain).hexdigest()}" == diff_id
            _unpack_strictly(plain, files, contents)
        return files, contents

    def accepted_by_tools(self, digest: str) -> None:
        """That skopeo and umoci take the image as it is."""
        image = f"docker://{self.target.removeprefix('http://')}/{self.name}@{digest}"
        layout, bundle = self.folder / "layout", self.folder / "bundle"
        _run("skopeo", "copy", "-q", "--src-tls-verify=false", image, f"oci:{layout}:image")
        _run("umoci", "unpack", "--rootless", "--image", f"{layout}:image", str(bundle))
        assert (bundle / "rootfs/.scar/function/image_config.json").is_file()

    def _get(self, path: str, accept: str = "*/*") -> bytes:
        request = urllib.request.Request(f"{self.target}/v2/{self.name}/{path}", headers={"Accept": accept})
        with _OPENER.open(request, timeout=30) as answer:
            content: bytes = answer.read()
            return content


def _unpack_strictly(plain: bytes, files: dict[str, tarfile.TarInfo], contents: dict[str, bytes]) -> None:
    with tarfile.open(fileobj=io.BytesIO(plain), mode="r:") as tar:
        for member in tar:
            name = member.name.strip("/").removeprefix("./")
            if name in ("", "."):
                continue
            folder, _, base = name.rpartition("/")
            assert ".." not in name.split("/")
            if base.startswith(".wh."):
                hidden = f"{folder}/{base.removeprefix('.wh.')}".strip("/")
                inside = f"{folder}/" if base == ".wh..wh..opq" else f"{hidden}/"
                for path in [path for path in files if path == hidden or path.startswith(inside)]:
                    del files[path]
                continue
            assert not folder or folder in files, f"parent directory does not exist for {name}"
            files[name] = member
            if member.isreg():
                data = tar.extractfile(member)
                contents[name] = data.read() if data else b""


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def image_of(*layers: bytes, config: Mapping[str, object] | None = None, **more: object) -> oci_images.Image:
    return oci_images.Image(layers, config or {"Cmd": ["/bin/sh"]}, **more)  # type: ignore[arg-type]
