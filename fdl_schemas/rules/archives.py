"""The rule about image archives (`container.image_file`): one holds an image for the function's architecture.

Only headers, `manifest.json` or `index.json`, manifests and the configuration are read. Nothing is extracted.
Digests are checked when the image is assembled.

Sources: OCI image specification 1.1 (image-layout.md, image-index.md, manifest.md, config.md), and the format
of `docker save` (github.com/moby/docker-image-spec, v1.2.md).
"""

from __future__ import annotations

import io
import json
import posixpath
import re
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final, cast

from fdl_schemas.build import FunctionEntry
from fdl_schemas.diagnostics.diagnostic import quoted
from fdl_schemas.reading.findings import Findings

MAX_DOCUMENT_BYTES: Final = 4 << 20
"""Limit for a manifest, as in containerd and Docker."""
MAX_MEMBERS: Final = 10_000
_MAX_HEADER_BYTES: Final = 8 << 20

_ARCHITECTURES: Final = {"x86_64": "amd64", "arm64": "arm64"}
_COMPRESSED: Final = {
    b"\x1f\x8b": ("is compressed with gzip", "decompress it with `gunzip`"),
    b"\x28\xb5\x2f\xfd": ("is compressed with zstd", "decompress it with `unzstd`"),
    b"BZh": ("is compressed with bzip2", "decompress it with `bunzip2`"),
    b"\xfd7zXZ\x00": ("is compressed with xz", "decompress it with `unxz`"),
    b"PK\x03\x04": ("is a zip file", ""),
}
_DIGEST: Final = re.compile(r"(sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128})")
_REF_NAME: Final = "org.opencontainers.image.ref.name"
_EXPECTED: Final = "an archive from `docker save`, `podman save`, `scar image build` or another OCI tool"
_SAVE_AGAIN: Final = "save the image again, for example with `docker save -o FILE IMAGE`"


@dataclass(slots=True)
class _ArchiveError(Exception):
    what: str
    advice: str = _SAVE_AGAIN
    expected: str = _EXPECTED


def check_archive(entry: FunctionEntry, findings: Findings) -> None:
    """Checks the archive of one function, unless the file itself or another key is already wrong."""
    container, architecture = entry.function.container, entry.function.architecture
    steps = ("lambda", "container", "image_file")
    file = container.image_file
    if (
        file is None
        or container.image is not None
        or not findings.is_whole(entry.at("lambda", "architectures"))
        or not file.is_file()
        or not findings.is_first_mention("FDL038", f"{file} {architecture}")
    ):
        return
    try:
        _check(file, _ARCHITECTURES[architecture])
    except _ArchiveError as problem:
        findings.error(
            "FDL038",
            f"`image_file` {quoted(entry.get(*steps))} {problem.what}",
            entry.at(*steps),
            expected=problem.expected,
            help=problem.advice,
        )
    except OSError:
        return  # reported as FDL022


def _check(file: Path, architecture: str) -> None:
    with file.open("rb") as stream:
        head = stream.read(8)
        if not head:
            raise _ArchiveError("is empty")
        for magic, (what, advice) in _COMPRESSED.items():
            if head.startswith(magic):
                raise _ArchiveError(what, advice or _SAVE_AGAIN)
        archive = _Archive(stream, file.stat().st_size)
        # Docker 25 and later write both files; manifest.json is always complete.
        if "manifest.json" in archive:
            config, layers = _of_docker_save(archive)
        elif "index.json" in archive:
            config, layers = _of_layout(archive, architecture)
        else:
            raise _ArchiveError("contains no image: `manifest.json` and `index.json` are missing")
        document = archive.document(config)
        if not isinstance(document, dict):
            raise _damaged(config)
        platform = str(document.get("os") or "linux"), str(document.get("architecture") or architecture)
        if platform != ("linux", architecture):
            raise _wrong_platform(["/".join(platform)], architecture)
        for layer in layers:
            archive.require(layer)


def _of_docker_save(archive: _Archive) -> tuple[str, list[str]]:
    """Names of the configuration and of the layers."""
    name = "manifest.json"
    images = archive.document(name)
    if not isinstance(images, list):
        raise _damaged(name)
    if len(images) != 1:
        raise _ArchiveError(f"contains {len(images)} images", "save exactly one image", "exactly one image")
    image = images[0] if isinstance(images[0], dict) else {}
    config, layers = image.get("Config"), image.get("Layers")
    if not isinstance(config, str) or not isinstance(layers, list):
        raise _damaged(name)
    return config, [str(layer) for layer in layers]


def _of_layout(archive: _Archive, architecture: str) -> tuple[str, list[str]]:
    """Names of the configuration and of the layers."""
    manifests = _manifests(archive, "index.json")
    named = [one for one in manifests if _tag(one) == "latest"]
    if len(manifests) != 1 and not named:
        raise _ArchiveError(
            f"contains {len(manifests)} images",
            "save exactly one image, or tag one as `latest`",
            "exactly one image",
        )
    name = _blob("index.json", (named or manifests)[0])
    manifest = archive.document(name)
    if isinstance(manifest, dict) and "manifests" in manifest and "layers" not in manifest:
        name = _blob(name, _for_platform(_manifests(archive, name), architecture))
        manifest = archive.document(name)
    if not isinstance(manifest, dict) or not isinstance(manifest.get("layers"), list):
        raise _damaged(name)
    return _blob(name, manifest.get("config")), [_blob(name, layer) for layer in manifest["layers"]]


def _manifests(archive: _Archive, name: str) -> list[dict[str, Any]]:
    index = archive.document(name)
    entries = index.get("manifests") if isinstance(index, dict) else None
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise _damaged(name)
    return entries


def _tag(descriptor: dict[str, Any]) -> str:
    annotations = descriptor.get("annotations")
    name = annotations.get(_REF_NAME) if isinstance(annotations, dict) else None
    return str(name).rpartition(":")[2]


def _for_platform(manifests: list[dict[str, Any]], architecture: str) -> dict[str, Any]:
    available = []
    for manifest in manifests:
        platform = manifest.get("platform")
        if not isinstance(platform, dict):
            if len(manifests) == 1:
                return manifest  # the configuration names the platform
            continue
        found = f"{platform.get('os')}/{platform.get('architecture')}"
        if found == f"linux/{architecture}":
            return manifest
        if platform.get("os") != "unknown":  # attestations
            available.append(found)
    raise _wrong_platform(available, architecture)


def _blob(owner: str, descriptor: object) -> str:
    digest = descriptor.get("digest") if isinstance(descriptor, dict) else None
    if not isinstance(digest, str) or not _DIGEST.fullmatch(digest):
        raise _damaged(owner)
    return f"blobs/{digest.replace(':', '/')}"


def _damaged(name: str) -> _ArchiveError:
    return _ArchiveError(f"is damaged: {quoted(name, 100)} is not valid")


def _wrong_platform(available: list[str], architecture: str) -> _ArchiveError:
    known = ", ".join(sorted(set(available))) or "no platform"
    other = "arm64" if architecture == "amd64" else "x86_64"
    return _ArchiveError(
        f"is built for {known}, but the function runs on linux/{architecture}",
        f"build the image with `--platform linux/{architecture}`, or set `architectures: [{other}]`",
        f"an image for linux/{architecture}",
    )


class _Archive:
    """The members of a tar file, by name."""

    def __init__(self, stream: IO[bytes], size: int) -> None:
        self._stream = stream
        self._members: dict[str, tuple[int, int]] = {}
        links: dict[str, str] = {}
        try:
            for member in self._headers(stream):
                name = posixpath.normpath(member.name)
                if member.isreg():
                    if member.offset_data + member.size > size:
                        raise _ArchiveError("is truncated")
                    self._members[name] = (member.offset_data, member.size)
                elif (
                    member.issym()
                ):  # older versions of Docker link to a layer that is already in the archive
                    links[name] = posixpath.normpath(posixpath.join(posixpath.dirname(name), member.linkname))
                elif member.islnk():
                    links[name] = posixpath.normpath(member.linkname)
        # tarfile recurses for each extended header, and converts the numbers in it.
        except (tarfile.TarError, ValueError, EOFError, RecursionError, OverflowError) as error:
            raise _ArchiveError("is damaged" if self._members else "is not a tar file") from error
        if not self._members:
            raise _ArchiveError("is not a tar file")
        for name, target in links.items():
            if target in self._members:
                self._members.setdefault(name, self._members[target])

    def __contains__(self, name: str) -> bool:
        return name in self._members

    def require(self, name: str) -> tuple[int, int]:
        """The offset of a file in the archive, and its size."""
        place = self._members.get(posixpath.normpath(name))
        if place is None:
            raise _ArchiveError(f"is incomplete: {quoted(name, 100)} is missing")
        return place

    def document(self, name: str) -> Any:
        """The JSON document in a file."""
        offset, size = self.require(name)
        # Stops an archive from filling the memory with an endless document.
        if size > MAX_DOCUMENT_BYTES:
            raise _ArchiveError(f"is damaged: {quoted(name, 100)} has more than {MAX_DOCUMENT_BYTES} bytes")
        self._stream.seek(offset)
        try:
            return json.loads(self._stream.read(size))
        except (ValueError, RecursionError) as error:
            raise _damaged(name) from error

    @staticmethod
    def _headers(stream: IO[bytes]) -> Iterator[tarfile.TarInfo]:
        with tarfile.open(fileobj=cast(IO[bytes], _BoundedReads(stream)), mode="r:") as tar:
            for count, member in enumerate(tar):
                if count >= MAX_MEMBERS:
                    raise _ArchiveError(f"contains more than {MAX_MEMBERS} files")
                if member.size < 0:
                    raise ValueError("a file of negative size")
                tar.members = []  # type: ignore[attr-defined] # tarfile keeps each member
                yield member


class _BoundedReads:
    """The archive for `tarfile`, which reads an extended header as a whole, whatever size it declares."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._left = _MAX_HEADER_BYTES
        self.tell = stream.tell
        stream.seek(0)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return self._stream.seek(offset, whence)

    def read(self, size: int = -1) -> bytes:
        self._left -= size
        if not 0 <= size <= MAX_DOCUMENT_BYTES or self._left < 0:
            raise ValueError("the headers are too large")
        return self._stream.read(size)
