"""Writes layers as an OCI image layout: a folder that any OCI tool can copy, run or push.

`index.json` names a manifest, the manifest a configuration and compressed layers, all by the SHA-256 of
their bytes (OCI image specification 1.1, image-layout.md, manifest.md, config.md). No build time is written,
so the same layers produce the same digest.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import platform
import shutil
import tarfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from containers.building.layer_files import LayerFiles

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer as Buffer

_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_CONFIG = "application/vnd.oci.image.config.v1+json"
_LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
_COMPRESSION = 5
"""Half the time of gzip's best, for 3 % more bytes."""


@dataclass(frozen=True, slots=True)
class ImageSettings:
    """Configuration of a container of the image."""

    environment: Mapping[str, str]
    command: Sequence[str]
    entrypoint: Sequence[str] = ()
    working_dir: str = "/"
    tag: str = "latest"


@dataclass(frozen=True, slots=True)
class _Blob:
    digest: str
    size: int
    diff_id: str = ""
    """Digest of a layer before compression."""

    def descriptor(self, media_type: str) -> dict[str, object]:
        return {"mediaType": media_type, "digest": self.digest, "size": self.size}


def architecture() -> str:
    """The host's architecture, as images name it."""
    return _ARCHITECTURES.get(platform.machine(), platform.machine())


def write_layout(folder: Path, layers: Sequence[LayerFiles], settings: ImageSettings) -> str:
    """Write the image into `folder`, which must not exist; returns the manifest's digest."""
    unfinished = folder.with_name(f".{folder.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    blobs = unfinished / "blobs" / "sha256"
    blobs.mkdir(parents=True)
    with ThreadPoolExecutor() as pool:  # zlib works without the interpreter's lock
        numbered = [(blobs / f".layer-{number}", layer) for number, layer in enumerate(layers)]
        written = list(pool.map(lambda pair: _write_layer(*pair), numbered))
    config = _write_json(blobs, _configuration(settings, written))
    manifest = _write_json(
        blobs,
        {
            "schemaVersion": 2,
            "mediaType": _MANIFEST,
            "config": config.descriptor(_CONFIG),
            "layers": [layer.descriptor(_LAYER) for layer in written],
        },
    )
    entry = manifest.descriptor(_MANIFEST) | {
        "platform": {"architecture": architecture(), "os": "linux"},
        "annotations": {"org.opencontainers.image.ref.name": settings.tag},
    }
    (unfinished / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [entry]}))
    (unfinished / "oci-layout").write_text(json.dumps({"imageLayoutVersion": "1.0.0"}))
    unfinished.rename(folder)
    return manifest.digest


def write_archive(layout: Path, archive: Path) -> None:
    """Write the layout in a folder as one tar file (an OCI archive), the same bytes for the same layout."""
    with tarfile.open(archive, "w", format=tarfile.PAX_FORMAT) as tar:
        for path in sorted(layout.rglob("*")):
            member = tarfile.TarInfo(path.relative_to(layout).as_posix())
            if path.is_dir():
                member.type, member.mode = tarfile.DIRTYPE, 0o755
                tar.addfile(member)
            else:
                member.size = path.stat().st_size
                with path.open("rb") as file:
                    tar.addfile(member, file)


def _configuration(settings: ImageSettings, layers: Sequence[_Blob]) -> dict[str, object]:
    config = {
        "Env": [f"{name}={value}" for name, value in sorted(settings.environment.items())],
        "Entrypoint": list(settings.entrypoint),
        "Cmd": list(settings.command),
        "WorkingDir": settings.working_dir,
    }
    return {
        "architecture": architecture(),
        "os": "linux",
        "config": {key: value for key, value in config.items() if value},
        "rootfs": {"type": "layers", "diff_ids": [layer.diff_id for layer in layers]},
    }


class _Hashing(io.RawIOBase):
    """Passes bytes on and keeps their count and digest."""

    def __init__(self, target: io.BufferedIOBase) -> None:
        self.target, self.sha256, self.size = target, hashlib.sha256(), 0

    def writable(self) -> bool:
        return True

    def write(self, data: Buffer, /) -> int:
        self.sha256.update(data)
        self.size += memoryview(data).nbytes
        return self.target.write(data)

    @property
    def digest(self) -> str:
        return f"sha256:{self.sha256.hexdigest()}"


def _write_layer(unfinished: Path, layer: LayerFiles) -> _Blob:
    with unfinished.open("wb") as file:
        compressed = _Hashing(file)
        with gzip.GzipFile("", "wb", _COMPRESSION, compressed, mtime=0) as stream:
            plain = _Hashing(stream)
            layer.write_tar(plain)
    unfinished.rename(unfinished.with_name(compressed.sha256.hexdigest()))
    return _Blob(compressed.digest, compressed.size, plain.digest)


def _write_json(blobs: Path, value: Mapping[str, object]) -> _Blob:
    data = json.dumps(value, sort_keys=True, separators=(",", ":")).encode()
    hexadecimal = hashlib.sha256(data).hexdigest()
    (blobs / hexadecimal).write_bytes(data)
    return _Blob(f"sha256:{hexadecimal}", len(data))
